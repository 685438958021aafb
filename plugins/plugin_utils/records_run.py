# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run is to the records: the lines of its file, read back as one run with its plays, tasks and results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Labels are short in ARA, and there are only so many of one kind.
MAX_LABEL = 254
MAX_LABELS = 20
UNSET_LOGIN = 2**32 - 1

FIELDS: dict[str, dict[str, type]] = {
    "run": {"uuid": str, "started": str, "path": str, "ansible_version": str, "python_version": str}
    | {"controller": str, "person": str, "arguments": dict},
    "play": {"uuid": str, "name": str, "at": str},
    "file": {"path": str},
    "task": {
        "uuid": str,
        "name": str,
        "action": str,
        "path": str,
        "lineno": int,
        "tags": list,
        "handler": bool,
        "at": str,
    },
    "result": {"task": str, "host": str, "status": str, "changed": bool, "ignore_errors": bool}
    | {"at": str, "ended": str, "delegated_to": list},
    "label": {"name": str},
    "end": {"outcome": str, "at": str, "hosts": dict},
}
STATUS = {"ok": "completed", "failed": "failed", "unreachable": "failed", "interrupted": "expired"}


class RunError(ValueError):
    """A file that holds no run."""


@dataclass
class TaskRecord:
    """A task, and what it did on each host."""

    told: Mapping[str, Any]
    ended: str
    results: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Failed, as ARA has it, where one of its hosts did and nothing forgave it."""
        lost = any(one["status"] in ("failed", "unreachable") and not one["ignore_errors"] for one in self.results)
        return "failed" if lost else "completed"


@dataclass
class PlayRecord:
    """A play and its tasks in their order."""

    told: Mapping[str, Any]
    ended: str
    tasks: list[TaskRecord] = field(default_factory=list)


@dataclass
class RunRecord:
    """A run. Without a last line its process was killed: its outcome is `interrupted`."""

    told: Mapping[str, Any]
    ended: str
    outcome: str = "interrupted"
    labels: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, Mapping[str, int]] = field(default_factory=dict)
    plays: list[PlayRecord] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What this run alone is labelled with."""
        return f"run:{self.told['uuid']}"

    @property
    def status(self) -> str:
        return STATUS.get(self.outcome, "unknown")


def read_run(data: bytes) -> RunRecord:
    """Read the file of a run. A last line without an end is what a killed process left, and not an error."""
    events = [_read_event(number, line) for number, line in enumerate(data.split(b"\n")[:-1], 1)]
    if not events or events[0]["event"] != "run":
        raise RunError("line 1: expected the event run; there is nothing to post")
    run = RunRecord(events[0], events[0]["started"])
    tasks: dict[str, TaskRecord] = {}
    for number, event in enumerate(events[1:], 2):
        try:
            _READERS[event["event"]](run, tasks, event)
        except (LookupError, TypeError, AttributeError) as error:
            raise RunError(f"line {number}: the event {event['event']} fits none before it ({error!r})") from error
    return run


def _read_event(number: int, line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise RunError(f"line {number}: expected JSON: {error}") from error
    fields = FIELDS.get(str(event.get("event"))) if isinstance(event, dict) else None
    if fields is None:
        raise RunError(f"line {number}: expected an event, one of {', '.join(FIELDS)}")
    for name, kind in fields.items():
        if not isinstance(event.get(name), kind):
            raise RunError(f"line {number}: {name}: found {event.get(name)!r}, expected {kind.__name__}")
    return dict(event)


def _read_play(run: RunRecord, tasks: dict[str, TaskRecord], event: Mapping[str, Any]) -> None:
    run.plays.append(PlayRecord(event, event["at"]))
    _read_time(run, event["at"])


def _read_file(run: RunRecord, tasks: dict[str, TaskRecord], event: Mapping[str, Any]) -> None:
    content = event.get("content")
    run.files[event["path"]] = content if isinstance(content, str) and content.strip() else "(not recorded)"


def _read_task(run: RunRecord, tasks: dict[str, TaskRecord], event: Mapping[str, Any]) -> None:
    task = tasks[event["uuid"]] = TaskRecord(event, event["at"])
    run.plays[-1].tasks.append(task)
    run.files.setdefault(event["path"], "(not recorded)")
    _read_time(run, event["at"])


def _read_result(run: RunRecord, tasks: dict[str, TaskRecord], event: Mapping[str, Any]) -> None:
    task = tasks[event["task"]]
    task.results.append(event)
    task.ended = max(task.ended, event["ended"])
    for host in (event["host"], *event["delegated_to"]):
        run.hosts.setdefault(host, {})
    _read_time(run, event["ended"])


def _read_label(run: RunRecord, tasks: dict[str, TaskRecord], event: Mapping[str, Any]) -> None:
    run.labels.append(event["name"])


def _read_end(run: RunRecord, tasks: dict[str, TaskRecord], event: Mapping[str, Any]) -> None:
    run.outcome = event["outcome"]
    run.hosts.update(event["hosts"])
    _read_time(run, event["at"])


def _read_time(run: RunRecord, at: str) -> None:
    """A run, and its play, end with the last that is known of them; times of one form sort as texts."""
    run.ended = max(run.ended, at)
    if run.plays:
        run.plays[-1].ended = run.ended


_READERS: dict[str, Callable[[RunRecord, dict[str, TaskRecord], Mapping[str, Any]], None]] = {
    "play": _read_play,
    "file": _read_file,
    "task": _read_task,
    "result": _read_result,
    "label": _read_label,
    "end": _read_end,
}


class Labels:
    """The labels of a run, each once, in the order in which they became known."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def add(self, kind: str, values: Iterable[object]) -> list[str]:
        """Add `kind:value` for each value, and return those that are new; beyond a number of one kind the rest is left out."""
        new: list[str] = []
        for value in values:
            label = f"{kind}:{value}"[:MAX_LABEL]
            if value in (None, "") or label in self.known:
                continue
            if sum(name.startswith(f"{kind}:") for name in self.known) >= MAX_LABELS:
                break
            self.known.append(label)
            new.append(label)
        return new


def named(value: object) -> list[str]:
    """The names in an extra variable, as playbooks/deploy.yml reads it: a text, split at its commas."""
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


def address_of(variables: Mapping[str, Any]) -> str | None:
    """Where a host was reached in this run, as its variables say it."""
    server = variables.get("server")
    known = server.get("connect") if isinstance(server, Mapping) else None
    found = variables.get("ansible_host") or (known[0] if isinstance(known, list) and known else None)
    return None if found is None else str(found)


def login_of(login: str, user: int, sudo: str | None) -> int:
    """Whose login a process descends from, by number: what the kernel keeps of it, then who called sudo, then the user.

    The kernel's note can't be changed by sudo or su; where it keeps none, sudo's variable is believed of root alone.
    """
    if login.isdecimal() and int(login) != UNSET_LOGIN:
        return int(login)
    return int(sudo) if user == 0 and sudo and sudo.isdecimal() else user
