# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rollout does in which step, and what came of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.access_log import Counts
from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import (
    add_baselines,
    blamed_releases,
    explain,
    former_slots,
    plan_lines,
    planned_steps,
    rollout_outcomes,
    steps_at,
    summed_failures,
    verdict_failures,
    verdict_lines,
    watch_entries,
)

CANARY = {"index": 0, "hosts": ["app1"], "share": 10, "bake": 30}
ALL = {"index": 1, "hosts": ["app1", "app2"], "share": 100, "bake": 60}


@pytest.mark.parametrize(
    ("hosts", "resolved", "is_replacement", "opened"),
    [
        pytest.param(
            ["app1", "app2"], [CANARY, ALL], True, [(["app1"], True), (["app2"], True)], id="a canary, then all"
        ),
        pytest.param(
            ["app1"], [CANARY, {**ALL, "hosts": ["app1"]}], True, [(["app1"], True), ([], True)], id="one server"
        ),
        pytest.param(
            ["app1", "app2"], [CANARY, ALL], False, [(["app1", "app2"], False)], id="the first release, unwatched"
        ),
        pytest.param([], [CANARY], True, [], id="nothing to do"),
    ],
)
def test_a_host_starts_in_the_first_step_that_names_it(
    hosts: list[str], resolved: list[dict[str, Any]], is_replacement: bool, opened: list[tuple[list[str], bool]]
) -> None:
    steps = planned_steps(hosts, resolved, is_replacement)
    assert [(step["opens"], step["watched"]) for step in steps] == opened
    assert [step["index"] for step in steps] == list(range(len(steps)))


def test_only_deployments_that_have_the_step_take_it() -> None:
    short = {"name": "alice", "rollout": {"gates": {}}, "steps": planned_steps(["app1"], [], False)}
    long = {"name": "bob", "rollout": {}, "steps": planned_steps(["app1", "app2"], [CANARY, ALL], True)}
    held = {"alice": {"token": 7, "person": "erin", "since": "2026-11-25T17:30:00Z"}, "bob": {"error": "carol has it"}}
    first, second = steps_at([short, long], 0, held)
    assert (first["policy"], first["token"], first["person"], first["began"]) == (
        {"gates": {}},
        7,
        "erin",
        "2026-11-25T17:30:00Z",
    )
    assert "token" not in second
    assert [(entry["name"], entry["opens"], entry["step"]["share"]) for entry in steps_at([short, long], 1)] == [
        ("bob", ["app2"], 100)
    ]


def test_before_a_migration_its_own_gates_are_meant() -> None:
    entry = {"name": "alice", "rollout": {"gates": {}}, "migration": {"gates": {"database": {}}}}
    (taken,) = steps_at([{**entry, "steps": planned_steps(["app1"], [], False)}], 0, policy="migration")
    assert taken["policy"] == {"gates": {"database": {}}}


def test_load_balancers_are_told_of_the_gates_that_are_theirs() -> None:
    policy = {"steps": [], "gates": {"lease": {}, "compare": {"alpha": 0.01}}, "shadow": ["compare"]}
    (told,) = watch_entries([{"name": "alice", "policy": policy, "step": CANARY}], 40)
    assert told["policy"] == {"compare": {"alpha": 0.01}, "shadow": ["compare"]}
    assert told["synthetic"] == {"requests": 40, "seconds": 30}


def test_the_former_release_is_counted_over_all_steps_and_load_balancers() -> None:
    counts = {"arms": {"baseline": Counts(requests=100, errors=1).to_data()}}
    first = add_baselines({}, {"lb1": {"results": {"alice": counts}}, "lb2": {"results": {"alice": counts}}})
    both = add_baselines(first, {"lb1": {"results": {"alice": counts, "bob": {"error": "refused"}}}, "lb2": {}})
    assert {name: Counts.from_data(found) for name, found in both.items()} == {"alice": Counts(requests=300, errors=3)}
    policy = {"gates": {}, "shadow": []}
    (told,) = watch_entries([{"name": "alice", "policy": policy, "step": CANARY}], 0, both)
    assert told["before"] == both["alice"]


def arms(errors: int, requests: int = 60) -> dict[str, Any]:
    """Return what a load balancer counted: a new release's errors beside an old one that has none."""
    return {
        "canary": Counts(requests=requests, errors=errors, run_squares=errors).to_data(),
        "baseline": Counts(requests=4 * requests).to_data(),
    }


def counted(*errors: int) -> dict[str, Any]:
    """Return load balancers' answers about alice."""
    return {f"lb{number}": {"results": {"alice": {"arms": arms(found)}}} for number, found in enumerate(errors, 1)}


@pytest.mark.parametrize(
    ("answers", "gates", "shadow", "failed"),
    [
        pytest.param(counted(3, 3), {"compare": {}}, [], ["alice"], id="worse together"),
        pytest.param(counted(3), {"compare": {}}, [], [], id="one alone isn't sure"),
        pytest.param(counted(0, 0), {"compare": {}}, [], [], id="no errors"),
        pytest.param(counted(3, 3), {"compare": {}}, ["compare"], [], id="in shadow"),
        pytest.param(counted(3, 3), {}, [], [], id="left out"),
        pytest.param(
            counted(0, 0), {"compare": {"not_enough": "fail"}}, [], [], id="too little is for whoever watched"
        ),
        pytest.param({"lb1": {"unreachable": True}, "lb2": {"msg": "no"}}, {"compare": {}}, [], [], id="nobody"),
    ],
)
def test_all_load_balancers_together(
    answers: dict[str, Any], gates: dict[str, Any], shadow: list[str], failed: list[str]
) -> None:
    step = {"name": "alice", "policy": {"gates": gates, "shadow": shadow}}
    found = summed_failures([step], answers)
    assert list(found) == failed
    assert all("6 errors in 120 requests (5.0%) against 0 in 480" in reason for reason in found.values())


def test_without_requests_left_the_former_release_is_what_it_was_before() -> None:
    alone = {"lb1": {"results": {"alice": {"arms": {"canary": arms(12, 120)["canary"]}}}}}
    step = {"name": "alice", "policy": {"gates": {"compare": {}}, "shadow": []}}
    assert "with none beside it" in summed_failures([step], alone)["alice"]
    assert summed_failures([step], alone, {"alice": Counts(requests=500, errors=25).to_data()}) == {}


def test_a_slot_that_runs_already_takes_no_more_memory() -> None:
    room = {"serving": True, "free": 200, "takes": 48}
    steps = planned_steps(["app1", "app2"], [CANARY, ALL], True)
    alice = {"name": "alice", "rollout": {}, "steps": steps, "capacity": {"app1": room, "app2": room}}
    first, second = steps_at([alice], 0)[0], steps_at([alice], 1)[0]
    assert [first["capacity"][host]["takes"] for host in ("app1", "app2")] == [48, 0]
    assert [second["capacity"][host]["takes"] for host in ("app1", "app2")] == [0, 48]


def test_only_a_slot_that_serves_on_a_migrated_schema_is_asked_again() -> None:
    migrating = {"name": "alice", "slot": "green", "former": "blue", "migrate": ["migrate"], "switches": True}
    others = [{**migrating, "former": None}, {**migrating, "migrate": []}, {**migrating, "backward_compatible": False}]
    assert former_slots([migrating, *others]) == [{**migrating, "slot": "blue", "switches": False}]


def verdict(gate: str, outcome: str, *, shadow: bool = False) -> dict[str, Any]:
    return {"gate": gate, "verdict": outcome, "reason": f"{gate} has its reason", "evidence": {}, "shadow": shadow}


@pytest.mark.parametrize(
    ("answers", "failures"),
    [
        pytest.param({"db1": {"results": {"alice": {"verdict": "pass", "verdicts": []}}}}, {}, id="passed"),
        pytest.param(
            {"db1": {"results": {"alice": {"verdict": "hold", "verdicts": [verdict("window", "hold"), verdict("http", "pass")]}}}},
            {"alice": "db1: gate window says hold: window has its reason"},
            id="held until the deadline",
        ),
        pytest.param(
            {"lb1": {"results": {"alice": {"verdict": "fail", "verdicts": [verdict("compare", "fail"), verdict("http", "fail", shadow=True)]}}}},
            {"alice": "lb1: gate compare says fail: compare has its reason"},
            id="a shadow is no reason",
        ),
        pytest.param({"lb1": {"unreachable": True}, "lb2": {"results": {}}}, {}, id="who says nothing stops nothing here"),
        pytest.param(
            {"lb1": {"results": {"alice": {"verdict": "fail", "verdicts": [], "reason": "told by lb2"}}}},
            {"alice": "lb1: told by lb2"},
            id="the reason without a gate",
        ),
    ],
)  # fmt: skip
def test_a_gate_stops_what_did_not_pass(answers: dict[str, Any], failures: dict[str, str]) -> None:
    assert verdict_failures([{"name": "alice"}], answers) == failures


def test_each_verdict_is_told_and_what_was_not_asked() -> None:
    result = {
        "verdicts": [verdict("freeze", "pass"), verdict("http", "fail", shadow=True)],
        "later": ["compare: not yet measurable"],
        "left_out": ["prometheus: the environment declares none"],
    }
    assert verdict_lines({"db1": {"results": {"alice": result}}, "db2": {"unreachable": True}}) == [
        "alice: freeze pass on db1: freeze has its reason",
        "alice: http fail (shadow) on db1: http has its reason",
        "alice: compare: not yet measurable",
        "alice: prometheus: the environment declares none",
    ]


def test_silence_stops_where_an_answer_is_owed() -> None:
    assert verdict_failures([{"name": "alice"}], {"db1": {"unreachable": True}}, "nobody answered") == {
        "alice": "nobody answered"
    }


def test_a_module_that_failed_failed_for_each() -> None:
    answers = {"lb1": {"msg": "HAProxy is away"}, "lb2": {"unreachable": True, "msg": "no route"}}
    assert verdict_failures([{"name": "alice"}, {"name": "bob"}], answers) == {
        "alice": "lb1: HAProxy is away",
        "bob": "lb1: HAProxy is away",
    }


def test_a_module_that_was_ended_is_told_without_its_traceback() -> None:
    told = 'Traceback (most recent call last):\n  File "async_wrapper.py", line 94\nValueError: No start of json char found\n'
    assert verdict_failures([{"name": "alice"}], {"lb2": {"msg": told}}) == {
        "alice": "lb2: the module ended without an answer (ValueError: No start of json char found); "
        "`journalctl --dmesg` there says whether memory ran out"
    }


@pytest.mark.parametrize(
    ("answers", "blamed"),
    [
        pytest.param({"lb1": {"results": {"alice": {"verdict": "fail"}}}}, ["alice"], id="a gate said fail"),
        pytest.param({"lb1": {"results": {"alice": {"verdict": "pass"}}}}, [], id="all is well"),
        pytest.param({"lb1": {"results": {"alice": {"verdict": "hold"}}}}, [], id="not enough was seen"),
        pytest.param({"lb1": {"results": {"alice": {"verdict": "fail", "error": "no such slot"}}}}, [], id="no slot"),
        pytest.param({"lb1": {"msg": "killed"}, "lb2": {"results": {"alice": {"verdict": "pass"}}}}, [], id="killed"),
        pytest.param(
            {"lb1": {"msg": "killed"}, "lb2": {"results": {"alice": {"verdict": "fail"}}}},
            ["alice"],
            id="one was killed, and the other saw it fail",
        ),
        pytest.param({"lb1": {"unreachable": True}}, [], id="nobody answered"),
    ],
)
def test_a_release_is_blamed_for_what_a_gate_said(answers: dict[str, Any], blamed: list[str]) -> None:
    watched = [{"name": "alice", "policy": {"shadow": [], "gates": {"compare": {}}}}]
    assert blamed_releases(watched, answers) == blamed


def test_an_error_is_said_as_it_is() -> None:
    answers = {"lb1": {"results": {"alice": {"verdict": "fail", "verdicts": [], "error": "no such slot"}}}}
    assert verdict_failures([{"name": "alice"}], answers, "nobody answered") == {"alice": "lb1: no such slot"}


def test_a_verdict_without_any_reason_is_named() -> None:
    assert explain({"verdict": "hold"}) == "the verdict was hold"


STEP = {
    "name": "alice",
    "hosts": ["app1", "app2"],
    "release": "orders-1",
    "revision": "r2",
    "slot": "green",
    "former": "blue",
    "steps": planned_steps(["app1", "app2"], [CANARY, ALL], True),
}


def test_the_plan_names_each_step() -> None:
    idle = {**STEP, "name": "bob", "hosts": []}
    first = {**STEP, "name": "carol", "former": None, "steps": planned_steps(["app1"], [], False)}
    assert plan_lines([STEP, idle, first]) == [
        "alice: orders-1, revision r2, into slot green",
        "  1. 10 % of the requests on app1, watched for 30 s",
        "  2. 100 % of the requests on app1 and app2, watched for 60 s",
        "carol: orders-1, revision r2, into slot green",
        "  1. all requests at once on app1",
    ]


LEASE = {"alice": {"token": 7, "since": "2026-11-25T17:30:00Z"}}
NOW = "2026-11-25T17:30:41+00:00"
WHAT = {"release": "orders-1", "revision": "r2"}


@pytest.mark.parametrize(
    ("step", "failed", "blamed", "line", "marks"),
    [
        pytest.param(
            STEP, {}, [], "alice: promoted orders-1, revision r2, slot green in 41 s", {"good": WHAT}, id="promoted"
        ),
        pytest.param(
            STEP,
            {"alice": "lb1: worse\nmore"},
            ["alice"],
            "alice: fallen back to slot blue in 41 s, for lb1: worse",
            {"bad": {**WHAT, "reason": "lb1: worse"}},
            id="its own fault",
        ),
        pytest.param(
            STEP,
            {"alice": "db1: the window shut"},
            [],
            "alice: fallen back to slot blue in 41 s, for db1: the window shut",
            {},
            id="nobody's fault",
        ),
        pytest.param(
            {**STEP, "former": None},
            {"alice": "no"},
            ["alice"],
            "alice: nothing was released in 41 s, for no",
            {"bad": {**WHAT, "reason": "no"}},
            id="a first release that failed",
        ),
    ],
)
def test_the_end_is_told_in_one_line_and_remembered(
    step: dict[str, Any], failed: dict[str, str], blamed: list[str], line: str, marks: dict[str, Any]
) -> None:
    (outcome,) = rollout_outcomes([step, {**STEP, "name": "idle", "hosts": []}], failed, blamed, LEASE, NOW)
    assert outcome["line"] == line
    assert {key: outcome[key] for key in ("good", "bad") if key in outcome} == marks
    assert (outcome["token"], outcome["finished"]["seconds"]) == (7, 41.0)
    assert outcome["finished"]["result"] == ("fallen back" if failed else "promoted")


def test_without_a_lease_nothing_is_said_of_time() -> None:
    (outcome,) = rollout_outcomes([STEP], {}, [], {}, NOW)
    assert outcome["line"] == "alice: promoted orders-1, revision r2, slot green"
