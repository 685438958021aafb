# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is made of requests, logs and playbooks that were seen; tests/unit/bench/test_constant.py has the load itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import deploys, place, playing, rollouts
from bench.constant import STATUS, TRUNCATED, UNANSWERED, Failure, Result
from bench.harness import ROOT, BenchError
from bench.playing import Played
from bench.rollouts import Answered, Withdrawal

BEGAN = 1000.0


def event(second: float, task: str, kind: str = "v2_runner_on_ok", **hosts: Any) -> dict[str, Any]:
    moment = f"2026-01-31T15:45:{second:09.6f}Z"
    return {"_event": kind, "_timestamp": moment, "task": {"name": f"nectar.backend.rollout : {task}"}, "hosts": hosts}


def start(second: float, task: str) -> dict[str, Any]:
    return event(second, task, playing.TASK_START)


def played(*events: dict[str, Any], code: int = 0, began: float = BEGAN, ended: float = BEGAN + 60) -> Played:
    return Played(code, began, ended, events)


# Rate and idle time


@pytest.mark.parametrize(
    ("idle", "tried", "rate"),
    [
        pytest.param(0.70, 0.58, 150, id="as much as leaves 40 %"),
        pytest.param(0.70, 0.583, 155, id="in steps of 5"),
        pytest.param(0.45, 0.10, rollouts.SLOWEST, id="a machine with too little to spare"),
        pytest.param(0.30, 0.20, rollouts.SLOWEST, id="a machine that is busy already"),
        pytest.param(0.90, 0.89, rollouts.FASTEST, id="more than is of use"),
        pytest.param(0.70, 0.71, rollouts.FASTEST, id="a trial that cost nothing"),
    ],
)
def test_the_rate_follows_from_a_trial(idle: float, tried: float, rate: int) -> None:
    assert rollouts.choose_rate(idle, tried) == rate


def test_idle_is_what_no_process_took() -> None:
    before = rollouts.read_idle("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 1 1 1\n")
    after = rollouts.read_idle("cpu  160 0 120 740 110 5 5 10 99 0\n")
    assert before == (800, 1000)
    assert rollouts.idle_part(before, after) == pytest.approx(50 / 150)


# Requests

RESULT = Result(
    began=BEGAN,
    rate=10,
    milliseconds=[float(number) for number in range(100)],
    failures=[
        Failure(12, STATUS, 500, "bad-1", ""),
        Failure(13, STATUS, 500, "good-1", ""),
        Failure(14, STATUS, 503, "bad-2", ""),
        Failure(15, TRUNCATED, 0, "", ""),
        Failure(16, UNANSWERED, 0, "", ""),
        Failure(70, STATUS, 500, "bad-1", ""),
    ],
)


def test_what_the_bad_revision_answered_itself_is_no_failure_and_all_else_is() -> None:
    counted = rollouts.count(RESULT, [(BEGAN + 1, BEGAN + 5)], {"bad-1": 500, "bad-2": 500})
    assert counted.requests == 40
    assert counted.by_bad == 1
    assert counted.truncated == 1
    assert counted.failed == {"status 500": 1, "status 503": 1, "unanswered": 1}
    assert counted.stalled == 0


def test_a_stall_is_a_request_that_took_over_a_second() -> None:
    result = Result(BEGAN, 10, [1.0, 1000.0, 1000.1, None])
    assert rollouts.count(result, [(BEGAN, BEGAN + 1)], {}).stalled == 1


@pytest.mark.parametrize(
    ("span", "numbers"),
    [
        pytest.param((BEGAN, BEGAN + 1), range(10), id="from the start"),
        pytest.param((BEGAN + 0.95, BEGAN + 1.15), range(10, 12), id="due within"),
        pytest.param((BEGAN - 5, BEGAN + 0.3), range(3), id="begins before the load"),
        pytest.param((BEGAN + 9.5, BEGAN + 99), range(95, 100), id="ends after it"),
        pytest.param((BEGAN + 50, BEGAN + 99), range(0), id="after it"),
    ],
)
def test_requests_belong_to_the_time_in_which_they_were_due(span: tuple[float, float], numbers: range) -> None:
    assert list(rollouts.numbers_in(RESULT, span)) == list(numbers)


def test_a_percentile_is_of_all_spans_together() -> None:
    spans = [(BEGAN, BEGAN + 1), (BEGAN + 5, BEGAN + 6)]
    assert rollouts.percentile(RESULT, spans, 50) == 9
    assert rollouts.percentile(RESULT, spans, 99) == 59
    with pytest.raises(BenchError, match="ROUNDS"):
        rollouts.percentile(RESULT, [], 99)


# The bad revision's end


def test_the_log_says_when_a_request_was_handed_over() -> None:
    line = {
        "time": 50.25, "deployment": place.DEPLOYMENT, "slot": "green", "status": 500, "request_id": "a",
        "request_time": 500, "queue_time": -1, "connect_time": 1,
    }  # fmt: skip
    others = {**line, "deployment": "production"}
    text = "\n".join(
        ["HAProxy says something", json.dumps(line), json.dumps(others), json.dumps({**line, "queue_time": 250})]
    )
    assert rollouts.read_answers(text) == [Answered(50.75, 500, "a"), Answered(51.0, 500, "a")]


@pytest.mark.parametrize(
    ("last", "seconds"),
    [
        pytest.param({"lb1": 10.4, "lb2": 10.1}, 0.4, id="the slowest load balancer counts"),
        pytest.param({"lb1": 9.0, "lb2": None}, 0, id="none came after the verdict"),
        pytest.param({"lb1": None, "lb2": None}, 0, id="none came at all"),
    ],
)
def test_the_last_request_counts_from_the_verdict(last: dict[str, float | None], seconds: float) -> None:
    assert Withdrawal(10.0, last, {}).seconds == pytest.approx(seconds)


def test_a_reload_counts_if_it_was_right_before_the_verdict() -> None:
    answered = {"lb1": [Answered(9.5, 500, "a"), Answered(9.0, 200, "b")], "lb2": []}
    found = rollouts.withdrawal_of(10.0, answered, [("lb1", 4.0), ("lb1", 8.0), ("lb1", 11.0), ("lb2", 5.0)])
    assert found.last == {"lb1": 9.5, "lb2": None}
    assert found.reloads == {"lb1": 8.0, "lb2": 5.0}
    assert found.is_right_after_reload
    assert not rollouts.withdrawal_of(12.0, answered, [("lb1", 8.0)]).is_right_after_reload
    assert not rollouts.withdrawal_of(12.0, answered, []).is_right_after_reload


def watched(**judged: float | None) -> dict[str, Any]:
    items = [
        {
            "item": {"item": host},
            "results": {place.DEPLOYMENT: {"verdict": "fail" if moment else "pass", "judged": moment or 1.0}},
        }
        for host, moment in judged.items()
    ]
    return event(5, rollouts.WATCHED, app1={"results": items})


def test_the_first_verdict_of_any_load_balancer_counts() -> None:
    assert rollouts.first_verdict(played(watched(lb1=None, lb2=None), watched(lb1=20.5, lb2=20.25))) == 20.25
    assert rollouts.first_verdict(played(watched(lb1=None, lb2=None))) is None
    assert rollouts.first_verdict(played()) is None


def test_the_plan_says_slot_and_release() -> None:
    plan = event(1, playing.PLANNED, app1={"steps": {place.DEPLOYMENT: {"slot": "green", "release": "orders-1"}}})
    assert rollouts.slot_of(played(plan)) == "green"
    assert deploys.release_of(played(plan)) == "orders-1"
    with pytest.raises(BenchError, match="expected one"):
        rollouts.slot_of(played())


@pytest.mark.parametrize("task", [playing.PLANNED, rollouts.WATCHED, rollouts.STARTED, rollouts.GIVEN_BACK])
def test_the_tasks_that_are_looked_for_are_there(task: str) -> None:
    files = (ROOT / "roles/rollout/tasks").glob("*.yml")
    names = {entry.get("name") for file in files for entry in yaml.safe_load(file.read_text(encoding="utf-8"))}
    assert task in names


def test_figures_tell_failures_by_kind() -> None:
    seen = rollouts.Seen(
        plays=[(rollouts.PROMOTION, played(began=BEGAN + 1, ended=BEGAN + 5))],
        withdrawals=[Withdrawal(10.0, {"lb1": 10.5}, {"lb1": 9.0}), Withdrawal(10.0, {"lb1": 11.5}, {"lb1": None})],
        bad_answers={"bad-1": 500},
        reloads=2,
    )
    unchanging = played(began=BEGAN + 5, ended=BEGAN + 6)
    loaded = rollouts.Loaded(150, 0.42, (BEGAN, BEGAN + 1), unchanging, RESULT, seen)
    figures = {item.figure: item for item in rollouts.describe_load(loaded)}
    assert {name: (item.value, item.meets_goal) for name, item in figures.items() if item.goal is not None} == {
        "processors idle before": (42, True),
        "requests counted": (40, False),
        "failed requests": (3, False),
        "truncated answers": (1, False),
        "stalls over 1 s": (0, True),
        "p99 during rollouts, times before": (49 / 9, False),
        "verdict to last request at the bad revision": (1.5, False),
        "the same, within 3 s of a reload": (0.5, True),
    }
    assert figures["answered 500 by the bad revision itself"].value == 1
    assert "1 x status 503" in figures["failed requests"].how
    assert figures["p99 during rollouts, times before"].peer_value == pytest.approx(59 / 9)


# Playbooks


def test_a_task_lasts_until_the_next_one() -> None:
    events = [start(1, "one"), event(2, "one"), start(4, "two"), event(5, "two"), start(5.5, "one"), event(6, "one")]
    assert playing.seconds_by_task(events) == {"one": 3.5, "two": 1.5}


def test_a_deploy_begins_with_what_passes_before_its_first_task() -> None:
    first = 1769874300.0
    assert deploys.profile(played(start(2, "one"), event(3, "one"), began=first)) == {"Ansible starts": 2, "one": 1}


def test_answers_come_by_host_and_by_item() -> None:
    events = [
        start(1, "ask"),
        event(2, "ask", app1={"a": 1}),
        event(3, "ask", app2={"results": [{"a": 2}, {"a": 3}]}),
        event(4, "ask", app2={"results": {"staging": {}}, "a": 4}),
        event(5, "other", app1={"a": 5}),
    ]
    assert [result["a"] for result in playing.results_of(events, "ask")] == [1, 2, 3, 4]


def test_a_failure_is_told_in_the_playbooks_own_words() -> None:
    failed = event(1, "try", playing.FAILED, app1={"msg": "no space left"})
    lost = event(1, "ask", playing.UNREACHABLE, app1={"msg": "no route to host"})
    assert playing.why_failed(played(failed, lost, code=2)) == "try: no space left\nask: no route to host"
    assert "250" in playing.why_failed(played(code=250))
    assert playing.why_failed(Played(1, 0, 1, (), "no such file")) == "no such file"


def test_the_registrys_copy_is_changed_and_the_own_one_left(tmp_path: Path) -> None:
    own = (ROOT / "inventories/lab/members.yml").read_text(encoding="utf-8")
    registry = playing.Registry(tmp_path)
    registry.change(place.DEPLOYMENT, {"ORDERS_NAME": "one"}, {"steps": []})
    registry.change(place.DEPLOYMENT, {"ORDERS_NAME": "two"})
    found = yaml.safe_load(registry.path.read_text(encoding="utf-8"))
    assert found["deployments"][place.DEPLOYMENT]["environment"] == {"ORDERS_NAME": "two"}
    assert "rollout" not in found["deployments"][place.DEPLOYMENT]
    assert Path(found["applications"][place.APPLICATION]["source"]["directory"]).is_dir()
    assert (tmp_path / "group_vars/all/lab.yml").exists()
    assert (ROOT / "inventories/lab/members.yml").read_text(encoding="utf-8") == own


class Playbook:
    """A playbook of one task, on this machine."""

    def __init__(self, folder: Path) -> None:
        self.path, self.hosts = folder / "play.yml", folder / "hosts.yml"
        self.hosts.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}))

    def play(self, task: dict[str, Any], variables: dict[str, Any], **options: Any) -> Played:
        self.path.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        return playing.play(str(self.path), [str(self.hosts)], variables, **options)


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    return Playbook(tmp_path)


def test_a_playbook_is_followed_to_its_end(playbook: Playbook) -> None:
    task = {"name": "Fail as told", "ansible.builtin.fail": {"msg": "{{ words }}"}}
    heard: list[str] = []
    done = playbook.play(task, {"words": "so it is"}, limit=60, on_task=heard.append)
    assert (done.code, heard) == (2, ["Fail as told"])
    assert playing.why_failed(done) == "Fail as told: so it is"
    assert 0 < done.seconds < 60


def test_what_is_no_playbook_says_why(playbook: Playbook) -> None:
    done = playbook.play({"nectar.backend.nothing": {}}, {}, limit=60)
    assert done.code
    assert "nectar.backend.nothing" in playing.why_failed(done)


def test_a_playbook_that_does_not_end_is_ended(playbook: Playbook) -> None:
    with pytest.raises(BenchError, match=r"took over 5 s.* It was at: "):
        playbook.play({"name": "Wait", "ansible.builtin.pause": {"seconds": 600}}, {}, limit=5)
    running = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout
    assert str(playbook.path) not in running


# The bare way


def test_the_other_release_differs_in_a_remark_alone(tmp_path: Path) -> None:
    source = ROOT / "examples/orders"
    for name in ("one", "two"):
        deploys.copy_source(source, tmp_path / name)
    changed = [
        path
        for path in source.rglob("*")
        if path.is_file() and path.read_bytes() != (tmp_path / "one" / path.relative_to(source)).read_bytes()
    ]
    assert [path.name for path in changed] == ["__init__.py"]
    package = changed[0].relative_to(source)
    assert (tmp_path / "one" / package).read_bytes() == (tmp_path / "two" / package).read_bytes()


def test_deploys_are_compared_pair_by_pair() -> None:
    def took(seconds: float) -> Played:
        return played(start(0, "Ship"), event(seconds, "Ship"), began=1769874300.0, ended=1769874300.0 + seconds)

    figures = deploys.describe_deploys({deploys.OURS: [took(20), took(36)], deploys.PEER: [took(10), took(12)]})
    assert (figures[0].value, figures[0].meets_goal) == (2.5, False)
    assert (figures[1].value, figures[1].peer_value) == (28, 11)
    assert figures[2].figure == "of it: Ship"
