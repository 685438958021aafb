# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From ansible-runner's events to what a display shows; no clock, no terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nectar_backend.failures import Failure, group_failures, read_failure

TAIL_LINES = 12
RESULTS = {
    "runner_on_ok": "ok",
    "runner_on_skipped": "skipped",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
}
TASK_STARTS = ("playbook_on_task_start", "playbook_on_handler_task_start")


@dataclass(frozen=True)
class Progress:
    """One playbook's run so far."""

    play: str = ""
    role: str = ""
    task: str = ""
    running: frozenset[str] = frozenset()
    done: int = 0
    executions: int = 0
    changed: int = 0
    failures: tuple[Failure, ...] = ()
    # What Ansible says outside of any task: the cause, when no task failed.
    tail: tuple[str, ...] = field(default=())

    @property
    def step(self) -> str:
        """The role at work, or the task where there is none."""
        return self.role or self.task


def advance(progress: Progress, event: Mapping[str, Any], root: str) -> Progress:
    """Say what is shown after `event`."""
    kind = event["event"]
    data = event.get("event_data") or {}
    if kind == "playbook_on_play_start":
        return replace(progress, play=data.get("name", ""), role="", task="", running=frozenset(), done=0)
    if kind in TASK_STARTS:
        role = data.get("role", "").rpartition(".")[2]
        return replace(progress, role=role, task=data.get("task", ""), running=frozenset(), done=0)
    if kind == "runner_on_start":
        return replace(progress, running=progress.running | {data["host"]})
    if kind in RESULTS:
        return _count(progress, event, root)
    if kind == "playbook_on_stats":
        return _settle(progress, data)
    return replace(progress, tail=_tail(progress.tail, event.get("stdout", "")))


def _count(progress: Progress, event: Mapping[str, Any], root: str) -> Progress:
    data = event["event_data"]
    failed = RESULTS[event["event"]] in ("failed", "unreachable") and not data.get("ignore_errors")
    return replace(
        progress,
        running=progress.running - {data["host"]},
        done=progress.done + 1,
        executions=progress.executions + 1,
        changed=progress.changed + _is_changed(event),
        failures=progress.failures + ((read_failure(event, root),) if failed else ()),
    )


def _is_changed(event: Mapping[str, Any]) -> bool:
    """A task with `no_log` hides even this in its result, yet prints it."""
    result = event["event_data"].get("res") or {}
    printed = str(event.get("stdout", ""))
    return event["event"] == "runner_on_ok" and (bool(result.get("changed")) or printed.startswith("changed:"))


def _settle(progress: Progress, stats: Mapping[str, Any]) -> Progress:
    """Ansible's own sums are right where events hide something: secrets, and failures that were rescued."""
    ended = {**stats.get("failures", {}), **stats.get("dark", {})}
    last = {failure.hosts[0]: failure for failure in progress.failures if failure.hosts[0] in ended}
    return replace(
        progress,
        running=frozenset(),
        changed=sum(stats.get("changed", {}).values()),
        failures=tuple(group_failures(last.values())),
    )


def _tail(tail: tuple[str, ...], text: str) -> tuple[str, ...]:
    lines = tuple(line.rstrip() for line in text.splitlines() if line.strip())
    return (tail + lines)[-TAIL_LINES:]
