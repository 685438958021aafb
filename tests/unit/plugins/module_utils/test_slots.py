# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which slot is next, who has to catch up, and whose record is right."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.slots import (
    Content,
    HostState,
    Record,
    SlotError,
    Step,
    choose_deployments,
    newest,
    parse_record,
    plan_return,
    plan_step,
    prepare,
    promote,
    record_text,
    waves,
)

V1, V2, V3 = Content("orders-1", "r1"), Content("orders-2", "r2"), Content("orders-3", "r3")
HOSTS = ["app1", "app2"]


def state(active: str | None, generation: int, serves: bool = True, **slots: Content) -> HostState:
    """Return what one host knows about a deployment."""
    return HostState(Record("production", active, generation, "2026-01-31T10:00:00Z", slots), serves)


NEW = state(None, 0, serves=False)
FIRST = state("blue", 1, blue=V1)
SECOND = state("green", 2, blue=V1, green=V2)
READY = state("blue", 1, blue=V1, green=V2)


@pytest.mark.parametrize(
    ("wanted", "states", "traffic", "step"),
    [
        pytest.param(
            V1,
            {"app1": NEW, "app2": NEW},
            [],
            Step("blue", 1, True, ("app1", "app2"), (), None),
            id="the first release",
        ),
        pytest.param(V1, {"app1": FIRST, "app2": FIRST}, [], Step("blue", 1, False, (), (), None), id="nothing to do"),
        pytest.param(
            V2,
            {"app1": FIRST, "app2": FIRST},
            [],
            Step("green", 2, True, ("app1", "app2"), (), "blue"),
            id="a new version",
        ),
        pytest.param(
            V1,
            {"app1": SECOND, "app2": SECOND},
            [],
            Step("blue", 3, True, ("app1", "app2"), (), "green"),
            id="back to the former one",
        ),
        pytest.param(
            V2, {"app1": FIRST}, [], Step("green", 2, True, ("app1",), ("app2",), "blue"), id="a host is away"
        ),
        pytest.param(
            V2,
            {"app1": SECOND, "app2": FIRST},
            [],
            Step("green", 2, False, ("app2",), (), None),
            id="a host has come back",
        ),
        pytest.param(
            V3,
            {"app1": SECOND, "app2": FIRST},
            [],
            Step("blue", 3, True, ("app1", "app2"), (), "green"),
            id="a host has come back to a new version",
        ),
        pytest.param(
            V1, {"app1": FIRST, "app2": NEW}, [], Step("blue", 1, False, ("app2",), (), None), id="a new host"
        ),
        pytest.param(
            V1,
            {"app1": FIRST, "app2": state("blue", 1, serves=False, blue=V1)},
            [],
            Step("blue", 1, False, ("app2",), (), None),
            id="a slot is down",
        ),
        pytest.param(
            V2,
            {"app1": READY, "app2": READY},
            [Record("production", "green", 2)],
            Step("green", 2, False, ("app1", "app2"), (), None),
            id="a run ended between switch and promotion",
        ),
        pytest.param(
            V3,
            {"app1": READY, "app2": READY},
            [Record("production", "green", 2)],
            Step("blue", 3, True, ("app1", "app2"), (), "green"),
            id="what load balancers use is not overwritten",
        ),
        pytest.param(
            V2,
            {"app1": READY, "app2": READY},
            [Record("production", "blue", 1)],
            Step("green", 2, True, ("app1", "app2"), (), "blue"),
            id="prepared, not switched",
        ),
    ],
)
def test_step(wanted: Content, states: dict[str, HostState], traffic: list[Record], step: Step) -> None:
    assert plan_step("production", wanted, HOSTS, states, traffic) == step


@pytest.mark.parametrize(
    ("states", "traffic", "bad", "revision", "expected"),
    [
        pytest.param(
            {"app1": SECOND, "app2": SECOND},
            [],
            {},
            "",
            (Step("blue", 3, True, ("app1", "app2"), (), "green"), V1),
            id="to what the other slot holds",
        ),
        pytest.param(
            {"app1": SECOND},
            [],
            {},
            "",
            (Step("blue", 3, True, ("app1",), ("app2",), "green"), V1),
            id="with a server away",
        ),
        pytest.param(
            {"app1": READY, "app2": READY},
            [Record("production", "green", 2)],
            {},
            "",
            (Step("blue", 3, True, ("app1", "app2"), (), "green"), V1),
            id="a load balancer is ahead of the records",
        ),
        pytest.param(
            {"app1": SECOND, "app2": SECOND},
            [],
            {"r1": "it leaked"},
            "r1",
            (Step("blue", 3, True, ("app1", "app2"), (), "green"), V1),
            id="a bad one, by its name",
        ),
    ],
)
def test_the_way_back(
    states: dict[str, HostState],
    traffic: list[Record],
    bad: dict[str, str],
    revision: str,
    expected: tuple[Step, Content],
) -> None:
    assert plan_return("production", HOSTS, states, traffic, bad, revision) == expected


@pytest.mark.parametrize(
    ("states", "bad", "revision", "said"),
    [
        pytest.param({"app1": NEW}, {}, "", "never released", id="never released"),
        pytest.param({"app1": FIRST}, {}, "", "holds nothing", id="nothing before"),
        pytest.param({"app1": SECOND}, {}, "r7", "to r7: slot blue holds r1", id="another than was named"),
        pytest.param({"app1": SECOND}, {"r1": "it leaked"}, "", "marked bad .it leaked.", id="a bad one"),
        pytest.param(
            {"app1": SECOND, "app2": state("green", 2, blue=V3, green=V2)},
            {},
            "",
            "holds r1 or r3 on app1 and app2",
            id="servers differ",
        ),
        pytest.param({"app1": SECOND, "app2": state("green", 2, green=V2)}, {}, "", "holds r1 on", id="one lacks it"),
    ],
)
def test_no_way_back(states: dict[str, HostState], bad: dict[str, str], revision: str, said: str) -> None:
    with pytest.raises(SlotError, match=said):
        plan_return("production", HOSTS, states, [], bad, revision)


def test_the_newest_record_is_right() -> None:
    assert newest([FIRST.record, SECOND.record], "production") is SECOND.record
    assert newest([], "production") == Record("production")


def test_record_comes_back() -> None:
    assert parse_record(record_text(FIRST.record), "production") == FIRST.record


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "the record of production can't be read", id="cut short"),
        pytest.param("{}", "it lacks 'slots'", id="something else"),
        pytest.param(
            record_text(Record("staging", "blue", 1, None, {"blue": V1})),
            "it names staging with slot blue",
            id="another deployment's",
        ),
        pytest.param(
            record_text(Record("production", "red", 1)), "it names production with slot red", id="no such slot"
        ),
    ],
)
def test_a_broken_record_is_refused(text: str, said: str) -> None:
    with pytest.raises(SlotError, match=said):
        parse_record(text, "production")


def test_a_promotion_is_dated_once() -> None:
    prepared = prepare(FIRST.record, "green", V2)
    promoted = promote(prepared, "green", 2, "2026-02-01T00:00:00Z")
    assert (promoted.active, promoted.generation, promoted.promoted, promoted.serving) == (
        "green",
        2,
        "2026-02-01T00:00:00Z",
        V2,
    )
    assert promote(promoted, "green", 2, "2026-02-02T00:00:00Z") is promoted


def test_an_empty_slot_is_not_promoted() -> None:
    with pytest.raises(SlotError, match="slot green of production holds nothing"):
        promote(FIRST.record, "green", 2, "now")


KNOWN: dict[str, dict[str, Any]] = {
    "production": {"member": None},
    "staging": {"member": None},
    "alice": {"member": "alice"},
}


@pytest.mark.parametrize(
    ("names", "members", "chosen"),
    [
        pytest.param([], [], ("production", "staging", "alice"), id="all"),
        pytest.param(["staging", "production"], [], ("production", "staging"), id="by name, in the registry's order"),
        pytest.param([], ["alice"], ("alice",), id="by member"),
        pytest.param(["staging"], ["alice"], ("staging", "alice"), id="both"),
    ],
)
def test_choice(names: list[str], members: list[str], chosen: tuple[str, ...]) -> None:
    assert choose_deployments(KNOWN, names, members) == chosen


def test_unknown_names_are_refused_together() -> None:
    with pytest.raises(SlotError) as caught:
        choose_deployments(KNOWN, ["prodction", "nothing"], ["alise"])
    assert str(caught.value) == (
        "deployment 'prodction' is not in the registry; did you mean production?; "
        "deployment 'nothing' is not in the registry; known are alice, production, staging; "
        "member 'alise' is not in the registry; did you mean alice?"
    )


LARGE_B = {"a": 60, "b": 130, "c": 60, "d": 60}


@pytest.mark.parametrize(
    ("switching", "size", "room", "order"),
    [
        pytest.param({}, 2, {}, [["a", "b", "c", "d"]], id="nothing runs yet"),
        pytest.param(dict.fromkeys("abc", 60), 2, {}, [["d"], ["a", "b"], ["c"]], id="two at a time"),
        pytest.param(dict.fromkeys("abcd", 60), 9, {}, [["a", "b", "c", "d"]], id="room for all"),
        pytest.param(LARGE_B, 9, {"app1": 140}, [["a"], ["b"], ["c", "d"]], id="as memory allows"),
        pytest.param(LARGE_B, 9, {"app1": 10}, [["a"], ["b"], ["c"], ["d"]], id="one always goes"),
        pytest.param(LARGE_B, 9, {"app2": 10}, [["a", "b", "c", "d"]], id="another host's room"),
    ],
)
def test_waves(switching: dict[str, int], size: int, room: dict[str, int], order: list[list[str]]) -> None:
    takes = {name: {"app1": memory} for name, memory in switching.items()}
    assert waves(["a", "b", "c", "d"], takes, size, room) == order
