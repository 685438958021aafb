# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
import io
from pathlib import Path

import pytest
from rich.console import Console

from nectar_backend.display import PlainDisplay, choose_display, describe, show_hosts, show_seconds, summarise
from nectar_backend.failures import Failure
from nectar_backend.progress import Progress
from nectar_backend.runs import Job, Outcome

JOB = Job("playbooks/site.yml", ("inventory",), {})


def outcome(ok: bool = True, interrupted: bool = False, progress: Progress | None = None) -> Outcome:
    return Outcome(JOB, ok, interrupted, 83.2, progress or Progress(executions=1234), Path("/state/logs/site.log"))


def shown(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=60, highlight=False)


def test_a_step_is_shown_once(console: Console) -> None:
    display = choose_display(console)
    assert isinstance(display, PlainDisplay)
    display.begin(JOB)
    for task in ("Install it", "Configure it", "Run it"):
        display.update(Progress(play="Converge the databases", role="postgresql", task=task))
    display.update(Progress(play="Converge the databases", task="Say who leads"))
    display.end(outcome())
    lines = shown(console)
    assert [line.partition("site.yml  ")[2] for line in lines[:3]] == [
        "begins",
        "Converge the databases › postgresql",
        "Converge the databases › Say who leads",
    ]
    assert lines[3].split() == ["done", "site.yml", "1:23", "1,234", "tasks,", "changed=0"]
    assert len(lines) == 4


def test_a_failure_says_where_what_why_and_what_to_do(console: Console) -> None:
    failure = Failure(
        ("db1", "db2"), "etcd : Start etcd", "roles/etcd/tasks/run.yml:7", "no quorum", ("first", "second")
    )
    PlainDisplay(console).end(outcome(ok=False, progress=Progress(failures=(failure,))))
    labels = {line[2:11].strip(): line[11:] for line in shown(console)[1:] if line[2:11].strip()}
    assert list(labels) == ["task", "on", "message", "output", "remedy", "log"]
    assert labels["task"] == "etcd : Start etcd (roles/etcd/tasks/run.yml:7)"
    assert labels["on"] == "db1, db2"
    assert labels["log"] == "/state/logs/site.log"
    assert "           second" in shown(console)


def test_a_run_without_a_failed_task_shows_what_ansible_said(console: Console) -> None:
    PlainDisplay(console).end(outcome(ok=False, progress=Progress(tail=("[ERROR]: no such playbook",))))
    assert "  message  [ERROR]: no such playbook" in shown(console)


def test_an_interrupted_run_blames_nobody(console: Console) -> None:
    PlainDisplay(console).end(outcome(ok=False, interrupted=True, progress=Progress(tail=("odd",))))
    assert shown(console)[0].startswith("interrupted")
    assert not any("odd" in line for line in shown(console))


def test_long_lines_are_not_folded(console: Console) -> None:
    PlainDisplay(console).end(outcome(ok=False, progress=Progress(tail=("x" * 200,))))
    assert f"  message  {'x' * 200}" in shown(console)


@pytest.mark.parametrize(
    ("progress", "lines"),
    [
        pytest.param(Progress(), ["reading the inventory and the playbook"], id="before the first play"),
        pytest.param(Progress(play="P", task="T"), ["P", "T"], id="before the first host"),
        pytest.param(
            Progress(play="P", role="r", task="T", running=frozenset({"db3"}), done=2),
            ["P › r", "T (2 of 3 done, waiting for db3)"],
            id="one host is slow",
        ),
        pytest.param(Progress(play="P", task="T", done=2), ["P", "T (2 of 2 done)"], id="all are done"),
    ],
)
def test_live_lines(progress: Progress, lines: list[str]) -> None:
    assert describe(progress) == lines


def test_many_hosts_are_counted() -> None:
    assert show_hosts([f"db{number}" for number in range(6)]) == "db0, db1, db2, db3 and 2 more"


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1:00"), (605.5, "10:05")])
def test_seconds(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(
    ("changed", "summary"),
    [
        pytest.param([0, 0], "nothing changed (changed=0), 20 tasks in 2:46", id="nothing changed"),
        pytest.param([3, 4], "changed=7, 20 tasks in 2:46", id="sums"),
    ],
)
def test_summary(changed: list[int], summary: str) -> None:
    assert summarise(outcome(progress=Progress(executions=10, changed=number)) for number in changed) == summary
