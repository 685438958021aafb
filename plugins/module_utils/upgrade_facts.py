# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server has of the components that upgrade by hand: their packages, their candidates, and what runs of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.host_state import read_stanzas

# What dpkg says of a package of which nothing but settings may be left.
GONE = ("not-installed", "config-files")
NONE = "(none)"
# What the kernel appends to the path of a program that was replaced or removed while it ran.
DELETED = " (deleted)"


@dataclass(frozen=True)
class Component:
    """What is upgraded and restarted as one.

    `package` and `companions` are patterns for whole names. `depth` says how many numbers of a version make the line within which an
    upgrade is a minor one. `program` is where the running program's path begins; empty where that is an interpreter's.
    """

    name: str
    package: str
    companions: tuple[str, ...]
    unit: str
    program: str
    depth: int


COMPONENTS = (
    Component("haproxy", r"haproxy", (), "haproxy.service", "/usr/sbin/haproxy", 2),
    Component("keepalived", r"keepalived", (), "keepalived.service", "/usr/sbin/keepalived", 2),
    Component(
        "pgbouncer",
        r"pgbouncer",
        (r"postgresql-client(-.*)?", r"libpq5"),
        "pgbouncer.service",
        "/usr/sbin/pgbouncer",
        2,
    ),
    Component("etcd", r"etcd-server", (r"etcd-client",), "etcd.service", "/usr/bin/etcd", 2),
    Component("patroni", r"patroni", (r"python3-etcd",), "patroni.service", "", 2),
    # The major version is part of the name, so no candidate of the same name leaves it.
    Component(
        "postgresql",
        r"postgresql-[0-9]+",
        (r"postgresql-.*", r"libpq5"),
        "patroni.service",
        "/usr/lib/postgresql/",
        1,
    ),
)


@dataclass(frozen=True)
class Package:
    """A package as apt knows it; no candidate means that no archive has it any more."""

    name: str
    installed: str
    candidate: str


@dataclass(frozen=True)
class Process:
    """What runs of a component: the path of its program as the kernel has it, and when it began, in seconds since 1970."""

    program: str
    began: float


def present_packages(status: str) -> dict[str, bool]:
    """Of dpkg's status, the packages that are there, and whether each is installed in full."""
    found = {}
    for stanza in read_stanzas(status, ": "):
        words = stanza.get("Status", "").split()
        if len(words) == 3 and words[2] not in GONE:
            found[stanza["Package"]] = words[1:] == ["ok", "installed"]
    return found


def choose_packages(component: Component, present: Iterable[str]) -> tuple[str, list[str]]:
    """The component's own package, empty where it isn't there, and its companions; of several majors the newest counts."""
    names = list(present)
    own = [name for name in names if re.fullmatch(component.package, name)]
    if not own:
        return "", []
    chosen = max(own, key=lambda name: [int(number) for number in re.findall(r"[0-9]+", name)])
    companions = [name for name in names if any(re.fullmatch(pattern, name) for pattern in component.companions)]
    return chosen, sorted(set(companions) - {chosen})


def parse_policy(text: str) -> dict[str, Package]:
    """Read what `apt-cache policy` prints of several packages."""
    found: dict[str, Package] = {}
    name = ""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            name, values = line[:-1].split(":")[0], {}
        elif name and (match := re.fullmatch(r"  (Installed|Candidate): (\S+)", line)):
            values[match[1]] = "" if match[2] == NONE else match[2]
            if len(values) == 2:
                found[name] = Package(name, values["Installed"], values["Candidate"])
    return found


def version_line(version: str, depth: int) -> str:
    """The numbers that must stay as they are for an upgrade to be a minor one, without Debian's epoch and revision."""
    upstream = version.partition(":")[2] if ":" in version else version
    return ".".join(re.findall(r"[0-9]+", upstream.rpartition("-")[0] or upstream)[:depth])


def parse_units(shown: str) -> dict[str, int]:
    """Of what `systemctl show` prints, each unit that runs with the number of its main process."""
    units = {}
    for stanza in read_stanzas(shown, "="):
        if stanza.get("ActiveState") in ("active", "reloading") and stanza.get("MainPID", "0") != "0":
            units[stanza["Id"]] = int(stanza["MainPID"])
    return units


def why_stale(component: Component, process: Process | None, unpacked: float | None) -> str:
    """Say why what runs is not what is installed; nothing where it is."""
    if process is None:
        return "does not run"
    if component.program:
        return "runs a program that was replaced" if process.program.endswith(DELETED) else ""
    if unpacked is not None and process.began < unpacked:
        return "runs since before its package was unpacked"
    return ""


def pick_postmaster(component: Component, processes: Mapping[int, tuple[str, int]]) -> int | None:
    """Of a unit's processes, each with its program and its parent, the database server that the others come from."""
    servers = {pid for pid, (program, _parent) in processes.items() if is_of(component, program)}
    first = [pid for pid in servers if processes[pid][1] not in servers]
    return min(first) if first else None


def is_of(component: Component, program: str) -> bool:
    """Say whether a program's path is the component's."""
    return program.startswith(component.program) and program.removesuffix(DELETED).rpartition("/")[2] == "postgres"


def read_etcd(reply: Mapping[str, Any]) -> tuple[bool, bool]:
    """Of etcd's answer about itself, whether it knows a leader, and whether it is that leader."""
    leader = str(reply.get("leader", "0"))
    return leader != "0", leader == str(reply.get("header", {}).get("member_id"))


def read_patroni(reply: Mapping[str, Any]) -> tuple[bool, bool]:
    """Of Patroni's answer about its member, whether that does its part, and whether it leads."""
    leads = reply.get("role") in ("primary", "master")
    # Patroni 3.0 doesn't tell whether a standby streams.
    streams = reply.get("replication_state", "streaming") == "streaming"
    return reply.get("state") in ("running", "streaming") and (leads or streams), leads
