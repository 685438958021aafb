# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The registry's field `rollout`: what is refused, what is filled in, and what steps become on hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gates import GATES, GateError
from ansible_collections.nectar.backend.plugins.module_utils.rollout_policy import (
    careful_policy,
    check_policy,
    full_policy,
    merge_levels,
    migration_policy,
    resolve_steps,
)

WHOLE = {"hosts": "100%", "share": 100}
WINDOW = {"allow": [{"cron": "0 2 * * *", "duration": "2h"}]}


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(None, id="nothing said"),
        pytest.param({}, id="empty"),
        pytest.param({"steps": [WHOLE]}, id="at once"),
        pytest.param(
            {"steps": [{"hosts": 1, "share": 5, "bake": 0}, {"hosts": "50%", "share": 50}, WHOLE]}, id="three"
        ),
        pytest.param({"gates": {"http": None, "compare": False, "freeze": {"deadline": 5}}}, id="gates"),
        pytest.param({"shadow": True}, id="all in shadow"),
        pytest.param({"shadow": ["compare"]}, id="one in shadow"),
    ],
)
def test_what_is_sound(entry: object) -> None:
    assert check_policy(entry) == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param([], "rollout: is []; expected a mapping of fields", id="a list"),
        pytest.param({"stepps": []}, "Did you mean steps?", id="an unknown field"),
        pytest.param({"steps": []}, "steps is []; expected a list of 1 to 20 steps", id="no steps"),
        pytest.param({"steps": [3, WHOLE]}, "rollout.steps[0]: is 3", id="a step that is none"),
        pytest.param({"steps": [{"share": 5}, WHOLE]}, "rollout.steps[0]: hosts is missing", id="a field is missing"),
        pytest.param({"steps": [{"hosts": "0%", "share": 5}, WHOLE]}, 'hosts is "0%"', id="no hosts"),
        pytest.param({"steps": [{"hosts": 0, "share": 5}, WHOLE]}, "hosts is 0", id="none"),
        pytest.param({"steps": [{"hosts": True, "share": 5}, WHOLE]}, "hosts is true", id="a switch for a count"),
        pytest.param({"steps": [{"hosts": 1, "share": 0}, WHOLE]}, "share is 0", id="no share"),
        pytest.param({"steps": [{"hosts": 1, "share": "10%"}, WHOLE]}, "share is", id="a sign"),
        pytest.param({"steps": [{**WHOLE, "bake": -1}]}, "bake is -1", id="a bake in the past"),
        pytest.param(
            {"steps": [{"hosts": 2, "share": 100}]}, "all hosts and all requests in the last step", id="the end"
        ),
        pytest.param({"steps": [{"hosts": 2, "share": 5}, {"hosts": 1, "share": 9}, WHOLE]}, "hosts falls", id="fewer"),
        pytest.param({"steps": [{"hosts": 1, "share": 9}, {"hosts": 2, "share": 5}, WHOLE]}, "share falls", id="less"),
        pytest.param({"gates": {"widow": {}}}, "Did you mean window?", id="an unknown gate"),
        pytest.param({"gates": {1: {}}}, "has the unknown gate 1", id="a number for a gate"),
        pytest.param({"gates": {"http": True}}, "http is true; expected a mapping, or false", id="a switch for a gate"),
        pytest.param({"gates": {"lease": False}}, "it always counts", id="the lease can't be left out"),
        pytest.param(
            {"gates": {"lease": {"ttl": 3}}}, 'rollout.gates.lease: has the unknown field "ttl"', id="its field"
        ),
        pytest.param({"shadow": "compare"}, 'shadow is "compare"', id="a text for a list"),
        pytest.param({"shadow": ["compar"]}, "Did you mean compare?", id="a slip in shadow"),
        pytest.param({"shadow": ["freeze"]}, "the gate freeze always counts", id="a freeze is never in shadow"),
    ],
)
def test_what_is_refused(entry: object, said: str) -> None:
    problems = check_policy(entry)
    assert len(problems) == 1
    assert said in problems[0]
    assert "; expected " in problems[0]


def test_everything_is_told_at_once() -> None:
    entry = {"steps": [{"hosts": 0}], "gates": {"widow": {}, "lease": False}, "shadow": [1], "parallel": 3}
    assert len(check_policy(entry)) == 6


def test_defaults() -> None:
    assert full_policy(None) == {
        "steps": [{"hosts": 1, "share": 10, "bake": 30}, {"hosts": "100%", "share": 100, "bake": 30}],
        "gates": {"lease": {}, "freeze": {}, "http": {}, "compare": {}},
        "shadow": [],
    }
    assert check_policy({"steps": full_policy(None)["steps"], "gates": full_policy(None)["gates"]}) == []


def test_levels_replace_steps_and_add_gates() -> None:
    entry = merge_levels(
        [
            {"steps": [WHOLE], "gates": {"window": WINDOW, "approval": {"deadline": 60}}, "shadow": ["window"]},
            None,
            {"gates": {"approval": False, "http": {"deadline": 1}}},
        ]
    )
    assert full_policy(entry) == {
        "steps": [{**WHOLE, "bake": 30}],
        "gates": {"lease": {}, "freeze": {}, "window": WINDOW, "http": {"deadline": 1}, "compare": {}},
        "shadow": ["window"],
    }


def test_levels_leave_each_other_alone() -> None:
    below: dict[str, Any] = {"gates": {"window": WINDOW}}
    merge_levels([below, {"gates": {"window": False}}])
    assert below == {"gates": {"window": WINDOW}}
    assert merge_levels([None, {}]) == {}


def test_shadow_for_all_leaves_out_what_always_counts() -> None:
    assert full_policy({"shadow": True})["shadow"] == ["http", "compare"]


def test_a_gate_that_was_left_out_is_in_no_shadow() -> None:
    assert full_policy({"gates": {"compare": False}, "shadow": ["compare"]})["shadow"] == []


def test_gates_are_in_the_order_in_which_they_are_asked() -> None:
    policy = full_policy({"gates": dict.fromkeys(reversed(GATES))})
    assert list(policy["gates"]) == list(GATES)


def test_a_change_without_a_way_back_needs_a_window_and_an_approval() -> None:
    policy = full_policy({"gates": {"window": WINDOW}, "shadow": True})
    careful = careful_policy(policy)
    assert list(careful["gates"]) == ["lease", "freeze", "window", "approval", "http", "compare"]
    assert careful["shadow"] == ["http", "compare"]
    with pytest.raises(GateError, match="has no window; a migration that is not backward compatible needs one"):
        careful_policy(full_policy(None))


PROOF_ALONE = {"lag": False, "transaction": False, "disk": False}


@pytest.mark.parametrize(
    ("entry", "backups", "expected"),
    [
        pytest.param(None, True, PROOF_ALONE, id="unasked"),
        pytest.param({"gates": {"window": WINDOW}}, True, PROOF_ALONE, id="beside other gates"),
        pytest.param({"gates": {"database": {"backup": 2}}}, True, {"backup": 2}, id="the policy says how fresh"),
        pytest.param({"gates": {"database": {"backup": False}}}, True, {"backup": False}, id="the policy wants none"),
        pytest.param({"gates": {"database": None}}, True, {}, id="the policy asks for everything"),
        pytest.param({"gates": {"database": False}}, True, None, id="the policy leaves the gate out"),
        pytest.param(None, False, None, id="there are no backups"),
    ],
)
def test_a_migration_wants_a_proven_backup_unless_the_policy_speaks_of_the_database(
    entry: dict[str, Any] | None, backups: bool, expected: dict[str, Any] | None
) -> None:
    policy = migration_policy(entry, backups)
    assert policy["gates"].get("database") == expected
    assert {name: spec for name, spec in policy["gates"].items() if name != "database"} == {
        name: spec for name, spec in full_policy(entry)["gates"].items() if name != "database"
    }
    assert check_policy(policy) == []


def test_what_is_asked_unasked_is_in_shadow_where_all_is() -> None:
    assert migration_policy({"shadow": True}, True)["shadow"] == ["database", "http", "compare"]
    assert migration_policy({"shadow": ["compare"]}, True)["shadow"] == ["compare"]


HOSTS = ["app1", "app2", "app3"]


@pytest.mark.parametrize(
    ("steps", "hosts", "expected"),
    [
        pytest.param(None, HOSTS, [(1, 10, 30), (3, 100, 30)], id="defaults"),
        pytest.param(None, ["app1"], [(1, 10, 30), (1, 100, 30)], id="defaults on one server"),
        pytest.param([WHOLE], HOSTS, [(3, 100, 30)], id="at once"),
        pytest.param(
            [{"hosts": "50%", "share": 100, "bake": 0}, WHOLE], HOSTS, [(2, 100, 0), (3, 100, 30)], id="half of 3"
        ),
        pytest.param(
            [{"hosts": "1%", "share": 1, "bake": 1}, WHOLE], HOSTS, [(1, 1, 1), (3, 100, 30)], id="at least one"
        ),
        pytest.param(
            [{"hosts": 2, "share": 5, "bake": 1}, {"hosts": "34%", "share": 9, "bake": 2}, {**WHOLE, "bake": 3}],
            HOSTS,
            [(2, 5, 1), (2, 9, 2), (3, 100, 3)],
            id="a percentage below the former count takes no host back",
        ),
        pytest.param(
            [{"hosts": 1, "share": 100, "bake": 9}, {"hosts": "50%", "share": 100, "bake": 5}, {**WHOLE, "bake": 1}],
            ["app1"],
            [(1, 100, 9)],
            id="one server takes steps that differ by hosts alone as one",
        ),
        pytest.param([{"hosts": 9, "share": 100, "bake": 1}, WHOLE], HOSTS, [(3, 100, 30)], id="more than there are"),
        pytest.param(None, [], [], id="no hosts, no steps"),
    ],
)
def test_steps_on_hosts(steps: list[Any] | None, hosts: list[str], expected: list[tuple[int, int, int]]) -> None:
    resolved = resolve_steps(full_policy({"steps": steps} if steps else None), hosts)
    assert [(len(step["hosts"]), step["share"], step["bake"]) for step in resolved] == expected
    assert [step["index"] for step in resolved] == list(range(len(expected)))
    assert all(step["hosts"] == hosts[: len(step["hosts"])] for step in resolved)
