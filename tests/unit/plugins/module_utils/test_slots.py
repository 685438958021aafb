# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which slot is next, who has to catch up, and whose record is right."""

from __future__ import annotations

import json
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
    other,
    parse_record,
    plan_return,
    plan_step,
    prepare,
    promote,
    record_text,
    revisions_to_prune,
    waves,
)

V1, V2, V3 = Content("orders-1", "r1"), Content("orders-2", "r2"), Content("orders-3", "r3")
HOSTS = ["app1", "app2"]


def state(
    active: str | None,
    generation: int,
    serves: bool = True,
    past: tuple[Content, ...] = (),
    kept: tuple[Content, ...] = (),
    **slots: Content,
) -> HostState:
    """Return what one host knows about a deployment."""
    return HostState(Record("production", active, generation, "2026-01-31T10:00:00Z", slots, past), serves, kept)


NEW = state(None, 0, serves=False)
FIRST = state("blue", 1, blue=V1)
SECOND = state("green", 2, past=(V1,), blue=V1, green=V2)
# A third revision failed in the slot that held the first, which is kept; then one was good in it.
FAILED = state("green", 2, past=(V1,), kept=(V3, V2, V1), blue=V3, green=V2)
THIRD = state("blue", 3, past=(V2, V1), kept=(V3, V2, V1), blue=V3, green=V2)
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


TO_BLUE = Step("blue", 3, True, ("app1", "app2"), (), "green")


@pytest.mark.parametrize(
    ("states", "traffic", "bad", "revision", "expected"),
    [
        pytest.param(
            {"app1": SECOND, "app2": SECOND}, [], {}, "", (TO_BLUE, V1, True), id="to what the other slot holds"
        ),
        pytest.param(
            {"app1": SECOND},
            [],
            {},
            "",
            (Step("blue", 3, True, ("app1",), ("app2",), "green"), V1, True),
            id="with a server away",
        ),
        pytest.param(
            {"app1": READY, "app2": READY},
            [Record("production", "green", 2)],
            {},
            "",
            (TO_BLUE, V1, True),
            id="a load balancer is ahead of the records",
        ),
        pytest.param(
            {"app1": FAILED, "app2": FAILED},
            [],
            {"r3": "it leaked"},
            "",
            (TO_BLUE, V1, False),
            id="past a bad one that took the slot",
        ),
        pytest.param(
            {"app1": FAILED, "app2": FAILED}, [], {}, "", (TO_BLUE, V1, False), id="never to what never served"
        ),
        pytest.param(
            {"app1": FAILED, "app2": SECOND}, [], {}, "", (TO_BLUE, V1, False), id="one server's slot holds it still"
        ),
        pytest.param(
            {"app1": THIRD, "app2": THIRD},
            [],
            {"r2": "it leaked"},
            "",
            (Step("green", 4, True, ("app1", "app2"), (), "blue"), V1, False),
            id="past one that served and was marked bad later",
        ),
        pytest.param(
            {"app1": THIRD, "app2": state("blue", 3, past=(V1,), kept=(V3, V1), blue=V3, green=V1)},
            [],
            {},
            "",
            (Step("green", 4, True, ("app1", "app2"), (), "blue"), V1, False),
            id="past one that a server missed",
        ),
        pytest.param(
            {"app1": FAILED, "app2": FAILED},
            [],
            {"r3": "it leaked"},
            "r3",
            (TO_BLUE, V3, True),
            id="a bad one, by its name",
        ),
        pytest.param(
            {"app1": THIRD, "app2": THIRD},
            [],
            {},
            "r1",
            (Step("green", 4, True, ("app1", "app2"), (), "blue"), V1, False),
            id="further back, by its name",
        ),
    ],
)
def test_the_way_back(
    states: dict[str, HostState],
    traffic: list[Record],
    bad: dict[str, str],
    revision: str,
    expected: tuple[Step, Content, bool],
) -> None:
    assert plan_return("production", HOSTS, states, traffic, bad, revision) == expected


@pytest.mark.parametrize(
    ("states", "bad", "revision", "said"),
    [
        pytest.param({"app1": NEW}, {}, "", "never released", id="never released"),
        pytest.param({"app1": FIRST}, {}, "", "nothing served before; slot green holds nothing", id="nothing before"),
        pytest.param(
            {"app1": state("green", 2, blue=V3, green=V2)},
            {"r3": "it leaked"},
            "",
            r"nothing served before; slot blue holds r3 \(marked bad: it leaked\) on app1",
            id="only a bad one",
        ),
        pytest.param({"app1": FAILED}, {}, "r7", "to r7: .* kept are r1, r2, r3; release", id="another than is kept"),
        pytest.param({"app1": FAILED}, {}, "r2", "r2 serves already", id="what serves"),
        pytest.param({"app1": SECOND}, {"r1": "it leaked"}, "", "r1 was marked bad .it leaked.", id="a bad one"),
        pytest.param(
            {"app1": SECOND, "app2": state("green", 2, past=(V1,), blue=V3, green=V2)},
            {},
            "",
            "r1 is not kept on app2; slot blue holds r1 or r3 on app1 and app2",
            id="servers differ",
        ),
    ],
)
def test_no_way_back(states: dict[str, HostState], bad: dict[str, str], revision: str, said: str) -> None:
    with pytest.raises(SlotError, match=said):
        plan_return("production", HOSTS, states, [], bad, revision)


V4 = Content("orders-4", "r4")


@pytest.mark.parametrize(
    ("before", "content", "returns", "bad", "keep", "past"),
    [
        pytest.param(FIRST, V2, False, (), 3, (V1,), id="the second"),
        pytest.param(SECOND, V3, False, (), 3, (V2, V1), id="the third"),
        pytest.param(THIRD, V2, True, (), 3, (V1,), id="back, and what was left is no way back"),
        pytest.param(THIRD, V1, True, (), 3, (), id="back over another"),
        pytest.param(THIRD, V4, True, (), 3, (V3, V2, V1), id="by name to what never served"),
        pytest.param(THIRD, V2, False, (), 3, (V3, V1), id="a release of what served before"),
        pytest.param(THIRD, V4, False, (), 2, (V3, V2), id="no more than are kept"),
        pytest.param(THIRD, V4, False, ("r3",), 1, (V3, V2), id="the last good one always stays"),
        pytest.param(THIRD, V4, False, (), 0, (V3,), id="one at least"),
        pytest.param(NEW, V1, False, (), 3, (), id="the first has none"),
    ],
)
def test_what_can_be_returned_to(
    before: HostState, content: Content, returns: bool, bad: tuple[str, ...], keep: int, past: tuple[Content, ...]
) -> None:
    slot = other(before.record.active) if before.record.active else "blue"
    prepared = prepare(before.record, slot, content)
    assert promote(prepared, slot, 9, "now", returns, bad, keep).past == past


@pytest.mark.parametrize(
    ("keep", "pruned"),
    [
        pytest.param(4, (), id="all are new"),
        pytest.param(1, (V3,), id="what slots hold and what can be returned to stays"),
    ],
)
def test_what_is_kept_no_more(keep: int, pruned: tuple[Content, ...]) -> None:
    record = Record("production", "blue", 3, None, {"blue": V2}, (V1,))
    assert revisions_to_prune(record, (V4, V3, V2, V1), keep) == pruned


def test_the_newest_record_is_right() -> None:
    assert newest([FIRST.record, SECOND.record], "production") is SECOND.record
    assert newest([], "production") == Record("production")


def test_record_comes_back() -> None:
    assert parse_record(record_text(THIRD.record), "production") == THIRD.record


def test_what_a_newer_version_wrote_beside_is_left_alone() -> None:
    data = json.loads(record_text(THIRD.record))
    for content in data["slots"].values():
        content["colour"] = "red"
    assert parse_record(json.dumps(data), "production") == THIRD.record


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
