# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest

from nectar_backend.progress import TAIL_LINES, Progress, advance

Events = list[dict[str, Any]]


def follow(events: Events) -> Progress:
    return reduce(lambda progress, event: advance(progress, event, "/project"), events, Progress())


def until(events: Events, task: str, kind: str, host: str) -> Events:
    """The events up to the one in which `host` ends or starts `task`."""
    for number, event in enumerate(events, 1):
        data = event.get("event_data", {})
        if (event["event"], data.get("task"), data.get("host")) == (kind, task, host):
            return events[:number]
    raise LookupError(task)


@pytest.mark.parametrize(
    ("task", "kind", "host", "step", "running", "done"),
    [
        pytest.param("Greet", "runner_on_start", "app1", "greeting", {"app1"}, 0, id="a role's first host starts"),
        pytest.param("Greet", "runner_on_start", "app2", "greeting", {"app1", "app2"}, 0, id="two hosts run"),
        pytest.param("Skip on one host", "runner_on_skipped", "app2", "Skip on one host", set(), 2, id="both are done"),
    ],
)
def test_a_task_in_progress(
    recorded: Callable[[str], Events], task: str, kind: str, host: str, step: str, running: set[str], done: int
) -> None:
    progress = follow(until(recorded("results"), task, kind, host))
    assert (progress.play, progress.task, progress.step) == ("Try every kind of result", task, step)
    assert (set(progress.running), progress.done) == (running, done)


def test_a_finished_run(recorded: Callable[[str], Events]) -> None:
    events = recorded("results")
    progress = follow(events)
    stats = events[-1]["event_data"]
    # An ignored failure is `ok` and a rescued one is in no sum but its own.
    sums = [sum(stats[kind].values()) for kind in ("ok", "skipped", "failures", "dark", "rescued")]
    assert progress.executions == sum(sums)
    assert progress.changed == sum(stats["changed"].values())
    assert progress.running == frozenset()


def test_hidden_changes_are_counted_while_it_runs(recorded: Callable[[str], Events]) -> None:
    events = recorded("results")
    before = follow(until(events, "Keep a secret", "runner_on_start", "app1"))
    after = follow(until(events, "Refuse the second host", "runner_on_start", "app1"))
    assert after.changed - before.changed == 2


def test_only_failures_that_ended_a_host_are_kept(recorded: Callable[[str], Events]) -> None:
    failures = {failure.task: failure.hosts for failure in follow(recorded("results")).failures}
    assert set(failures) == {"Run a command that fails", "Refuse the second host", "greeting : Greet"}
    assert failures["Refuse the second host"] == ("app2",)


def test_what_is_said_outside_of_tasks_is_kept(recorded: Callable[[str], Events]) -> None:
    progress = follow(recorded("unreadable"))
    assert progress.executions == 0
    assert progress.failures == ()
    assert progress.tail[0].startswith("[ERROR]: couldn't resolve module/action 'bogus.module.x'")


def test_the_tail_is_short() -> None:
    progress = follow([{"event": "verbose", "stdout": f"line {number}"} for number in range(100)])
    assert len(progress.tail) == TAIL_LINES
    assert progress.tail[-1] == "line 99"
