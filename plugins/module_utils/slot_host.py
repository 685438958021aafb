# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What modules read and write on an application server: records, slots, units. Decisions are elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.slots import (
    SLOTS,
    Content,
    Record,
    parse_record,
    read_content,
    record_text,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text

HOST_ARGUMENTS: dict[str, Any] = {
    "state_directory": {"type": "path", "default": "/var/lib/nectar"},
    "configuration_directory": {"type": "path", "default": "/etc/nectar/deployments"},
    "unit_directory": {"type": "path", "default": "/etc/systemd/system"},
    "releases_directory": {"type": "path", "default": "/opt/nectar/releases"},
}
DEPLOYMENTS_ARGUMENT: dict[str, Any] = {"type": "list", "elements": "dict", "required": True}

RUNNING = ("active", "activating", "reloading")
TAIL_LINES = 30


@dataclass(frozen=True)
class Layout:
    """Where things lie on the host."""

    state: str
    configuration: str
    units: str
    releases: str

    def deployment(self, name: str) -> str:
        """Return the folder of a deployment."""
        return os.path.join(self.state, "deployments", name)

    def record(self, name: str) -> str:
        """Return the file of a deployment's record."""
        return os.path.join(self.deployment(name), "record.json")

    def shared(self, name: str) -> str:
        """Return the folder that all releases of a deployment share."""
        return os.path.join(self.deployment(name), "shared")

    def identity(self, name: str, slot: str) -> str:
        """Return what a slot says of itself."""
        return os.path.join(self.deployment(name), f"{slot}.identity.json")

    def slot_units(self, name: str, slot: str) -> str:
        """Return the file that names the units of a slot."""
        return os.path.join(self.deployment(name), f"{slot}.units.json")

    def revisions(self, name: str) -> str:
        """Return the folder of what is kept of a deployment's revisions, secrets included."""
        return os.path.join(self.deployment(name), "revisions")

    def revision(self, name: str, revision: str) -> str:
        """Return the file from which a slot can be made to hold a revision again."""
        return os.path.join(self.revisions(name), f"{revision}.json")

    def outcomes(self, name: str) -> str:
        """Return the copy of what etcd remembers of a deployment's rollouts."""
        return os.path.join(self.deployment(name), "outcomes.json")

    def environment(self, name: str, stem: str) -> str:
        """Return an environment file: a slot's, or that of the migrations."""
        return os.path.join(self.configuration, name, f"{stem}.env")


def layout_from(params: Mapping[str, Any]) -> Layout:
    """Return the layout that a module's arguments describe."""
    return Layout(
        params["state_directory"],
        params["configuration_directory"],
        params["unit_directory"],
        params["releases_directory"],
    )


def read_record(layout: Layout, name: str) -> Record:
    """Return what the host remembers about a deployment; a new one remembers nothing."""
    text = read_text(layout.record(name))
    return Record(name) if text is None else parse_record(text, name)


def write_record(layout: Layout, record: Record) -> None:
    """Remember, in one move."""
    replace_text(layout.record(record.deployment), record_text(record))


def read_slot_units(layout: Layout, name: str, slot: str) -> dict[str, list[str]]:
    """Return the units that were written for a slot, by what they are: target, services, timers, jobs."""
    text = read_text(layout.slot_units(name, slot))
    return json.loads(text) if text else {}


def all_units(units: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the units of a slot, its target first."""
    return [unit for kind in ("target", "services", "timers", "jobs") for unit in units.get(kind, ())]


def read_kept(layout: Layout, name: str) -> list[Content]:
    """Return the revisions that are kept with their releases, the newest first. What can't be read isn't kept."""
    found: list[tuple[float, Content]] = []
    for path in glob(os.path.join(layout.revisions(name), "*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = read_content(json.loads(read_text(path) or "")["content"])
            if os.path.isdir(os.path.join(layout.releases, content.release)):
                found.append((os.stat(path).st_mtime, content))
    return [content for _time, content in sorted(found, key=lambda entry: entry[0], reverse=True)]


def read_outcomes(layout: Layout, name: str) -> dict[str, Any]:
    """Return the copy of what etcd remembers of a deployment's rollouts; none, where it can't be read, hinders no way back."""
    with suppress(ValueError):
        data = json.loads(read_text(layout.outcomes(name)) or "{}")
        return data if isinstance(data, dict) else {}
    return {}


def recorded_deployments(layout: Layout) -> list[str]:
    """Return the deployments that have a folder on this host."""
    try:
        return sorted(os.listdir(os.path.join(layout.state, "deployments")))
    except FileNotFoundError:
        return []


def installed_releases(layout: Layout) -> list[str]:
    """Return the releases on this host, the newest first. What begins with a dot isn't finished."""
    try:
        names = [name for name in os.listdir(layout.releases) if not name.startswith(".")]
    except FileNotFoundError:
        return []
    return sorted(names, key=lambda name: os.stat(os.path.join(layout.releases, name)).st_ctime, reverse=True)


def show_units(module: Any, units: Iterable[str], *properties: str) -> dict[str, dict[str, str]]:
    """Ask systemd about units, all in one call."""
    names = list(units)
    if not names:
        return {}
    options = [f"--property={name}" for name in ("Id", *properties)]
    _code, out, _error = module.run_command(["systemctl", "show", *options, "--", *names], check_rc=True)
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in out.split("\n\n"))
    return {block["Id"]: block for block in blocks if "Id" in block}


def systemctl(module: Any, verb: str, units: Sequence[str], *options: str) -> tuple[int, str]:
    """Tell systemd to do something with units; return its code and what it says of a failure."""
    if not units:
        return 0, ""
    code, _out, error = module.run_command(["systemctl", verb, *options, "--", *units])
    return code, error.strip()


def reload_units(module: Any) -> None:
    """Let systemd read its units anew."""
    module.run_command(["systemctl", "daemon-reload"], check_rc=True)


def is_serving(units: Mapping[str, Sequence[str]], states: Mapping[str, Mapping[str, str]]) -> bool:
    """Say whether a slot runs as it was prepared, and will after a reboot."""
    target = list(units.get("target", ()))
    running = [*target, *units.get("services", ()), *units.get("timers", ())]
    enabled = [*target, *units.get("timers", ())]
    return (
        bool(target)
        and all(states.get(unit, {}).get("ActiveState") in RUNNING for unit in running)
        and all(states.get(unit, {}).get("UnitFileState") == "enabled" for unit in enabled)
    )


def journal_tail(module: Any, unit: str, since: float) -> str:
    """Return the last lines that a unit's processes wrote since a moment."""
    module.run_command(["journalctl", "--sync"])
    options = ["--quiet", "--output=cat", "--no-pager", f"--lines={TAIL_LINES}", f"--since=@{int(since)}"]
    _code, out, _error = module.run_command(["journalctl", *options, f"_SYSTEMD_UNIT={unit}"])
    return out.strip() or "(it wrote nothing)"


def read_slots(module: Any, layout: Layout, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the units of the active slots and whether they serve, by deployment."""
    records = {name: read_record(layout, name) for name in names}
    units = {
        name: read_slot_units(layout, name, record.active) for name, record in records.items() if record.active in SLOTS
    }
    states = show_units(
        module, [unit for entry in units.values() for unit in all_units(entry)], "ActiveState", "UnitFileState"
    )
    return {
        name: {"record": record, "serves": name in units and is_serving(units[name], states)}
        for name, record in records.items()
    }
