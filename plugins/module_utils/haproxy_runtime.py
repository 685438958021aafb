# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What HAProxy's workers say of their servers, and the commands that make them what the files say."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.nectar.backend.plugins.module_utils.traffic import Files, Server, parse_pairs, read_servers

# A server's counters of attempts that failed there: tried again, and given to another.
RETRY_COUNTERS = ("wretr", "wredis")
# Bits of srv_admin_state: maintenance that was ordered, inherited, or that came from a name; and draining.
MAINTENANCE, DRAINING = 0x01 | 0x02 | 0x20 | 0x40, 0x08 | 0x10


@dataclass(frozen=True)
class Worker:
    """A process that serves requests: the current one, or one that ends its last connections after a reload."""

    pid: int
    current: bool


@dataclass(frozen=True)
class Runtime:
    """Servers by backend, and the slots by server name; for a worker without that map, none."""

    servers: Mapping[str, Mapping[str, Server]] = field(default_factory=dict)
    slots: Mapping[str, str] | None = field(default_factory=dict)


def parse_workers(text: str) -> list[Worker]:
    """Read `show proc`: the workers that live."""
    rows = (line.split() for line in text.splitlines())
    return [
        Worker(int(row[0]), row[2] == "0")
        for row in rows
        if len(row) > 2 and row[0].isdigit() and row[1] == "worker" and row[2].isdigit()
    ]


def parse_servers(text: str) -> dict[str, dict[str, Server]] | None:
    """Read `show servers state`; nothing where the worker gave no such answer, for it is gone."""
    columns: list[str] = []
    found: dict[str, dict[str, Server]] = {}
    for line in text.splitlines():
        if line.startswith("# be_id"):
            columns = line[2:].split()
        elif columns and len(row := line.split()) >= len(columns):
            values = dict(zip(columns, row, strict=False))
            server = Server(int(values["srv_uweight"]), _state(int(values["srv_admin_state"])))
            found.setdefault(values["be_name"], {})[values["srv_name"]] = server
    return found if columns else None


def _state(admin: int) -> str:
    return "maint" if admin & MAINTENANCE else "drain" if admin & DRAINING else "ready"


def parse_slots(text: str) -> dict[str, str] | None:
    """Read `show map`; nothing where the worker has no such map."""
    if "Unknown map" in text:
        return None
    rows = (line.split() for line in text.splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0].startswith("0x")}


def wanted_runtime(files: Files) -> Runtime:
    """Return what the files ask of every worker."""
    servers = {f"be_{name}": read_servers(text) for name, text in files.fragments.items() if text is not None}
    routes = parse_pairs(files.map_text)
    slots = {name: slot for name, slot in parse_pairs(files.slots_text).items() if routes.get(name) in servers}
    return Runtime(servers, slots)


def find_lacking(wanted: Runtime, found: Runtime) -> list[str]:
    """Name what a worker doesn't know, and what only a reload can bring."""
    return [
        f"{backend}/{name}"
        for backend, servers in wanted.servers.items()
        for name in servers
        if name not in found.servers.get(backend, {})
    ] + (["slots.map"] if wanted.slots and found.slots is None else [])


def plan_commands(wanted: Runtime, found: Runtime, slots_file: str) -> list[str]:
    """Return the commands that make a worker's servers as wanted, as far as it has them.

    Servers that get more come first, so that there is always one to take a request.
    """
    more: list[str] = []
    less: list[str] = []
    for backend, servers in wanted.servers.items():
        for name, server in servers.items():
            present = found.servers.get(backend, {}).get(name)
            if present is not None:
                gains = server.state == "ready" and server.weight >= present.weight
                (more if gains else less).extend(_commands(f"{backend}/{name}", server, present))
    return more + plan_slot_commands(wanted, found, slots_file) + less


def _commands(name: str, server: Server, present: Server) -> list[str]:
    commands = [f"set server {name} weight {server.weight}"] if server.weight != present.weight else []
    return commands + ([f"set server {name} state {server.state}"] if server.state != present.state else [])


def plan_slot_commands(wanted: Runtime, found: Runtime, slots_file: str) -> list[str]:
    """Return the commands that even a worker obeys that is stopping."""
    if wanted.slots is None or found.slots is None:
        return []
    present = found.slots
    return [
        f"{'set' if name in present else 'add'} map {slots_file} {name} {slot}"
        for name, slot in wanted.slots.items()
        if present.get(name) != slot
    ]


def parse_counters(text: str) -> dict[str, dict[str, int]]:
    """Read `show stat` of one backend's servers: the attempts that failed there and were made again, by server."""
    lines = text.lstrip("# \n").splitlines()
    rows = csv.DictReader(lines)
    return {
        row["svname"]: {name: int(row[name] or 0) for name in RETRY_COUNTERS}
        for row in rows
        if row.get("svname") and all(name in row for name in RETRY_COUNTERS)
    }


def parse_down(text: str) -> set[str]:
    """Read `show stat` of one backend's servers: those that health checks have found down."""
    rows = csv.DictReader(text.lstrip("# \n").splitlines())
    return {row["svname"] for row in rows if row.get("svname") and (row.get("status") or "").startswith("DOWN")}


def parse_sessions(text: str) -> dict[str, dict[str, int]]:
    """Read `show stat`: the requests that each server has in hand, by section."""
    rows = csv.DictReader(text.lstrip("# \n").splitlines())
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row.get("svname") not in (None, "FRONTEND", "BACKEND"):
            found.setdefault(row["pxname"], {})[row["svname"]] = int(row.get("scur") or 0)
    return found
