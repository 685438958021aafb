# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which trial is kept, which values are typical, and which index pays."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, TableColumn
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Index
from ansible_collections.nectar.backend.plugins.module_utils.query_choice import (
    Gain,
    Limits,
    Proposal,
    Trial,
    accepted,
    least_worth,
    pick,
    slow,
    typical_values,
    weakest,
    weigh,
)
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import Column, Condition
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Statement
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan, Scan
from ansible_collections.nectar.backend.plugins.module_utils.write_costs import Cost

A, B = Index("public", "t", ("a",)), Index("public", "t", ("a",), ("b",))
HOUR = 3600.0


def statement(name: str = "1", calls: int = 100, total: float = 50_000, rows: int = 100) -> Statement:
    return Statement(name, "SELECT 1", calls, total, rows)


def trial(index: Index, cost: float, size: int, *, used: bool = True) -> Trial:
    return Trial((index,), Plan(cost, 1, ()), (size,), frozenset([index] if used else []))


@pytest.mark.parametrize(
    ("before", "trials", "kept"),
    [
        pytest.param(1000, [trial(A, 400, 10)], A, id="one that saves enough"),
        pytest.param(1000, [trial(A, 600, 10)], None, id="one that saves too little"),
        pytest.param(1000, [trial(A, 400, 10, used=False)], None, id="one that the plan has not"),
        pytest.param(1000, [trial(A, 100, 10), trial(B, 5, 20)], B, id="much cheaper, if larger"),
        pytest.param(1000, [trial(A, 6, 10), trial(B, 5, 20)], A, id="nearly as cheap, and smaller"),
        pytest.param(
            100_000, [trial(A, 45, 10), trial(B, 5, 20)], A, id="what is left is hardly anything of what it was"
        ),
        pytest.param(1000, [], None, id="none"),
    ],
)
def test_which_trial_is_kept(before: float, trials: list[Trial], kept: Index | None) -> None:
    found = pick(before, trials)
    assert (found.indexes[0] if found else None) == kept


def test_slow_ones_come_by_their_total() -> None:
    listed = [statement("quick", 1000, 500), statement("rare", 1, 900), statement("b", 10, 20), statement("a", 10, 30)]
    assert [s.id for s in slow(listed, Limits(most=1, mean=1.0))] == ["a"]
    assert [s.id for s in slow(listed, Limits(most=9, mean=1.0))] == ["a", "b"]


BOUNDS = tuple(str(number) for number in range(101))


def ranged(operator: str, **more: Any) -> Plan:
    conditions = (Condition(Column("t", "a"), "range", frozenset(), operator, "$1"), *more.pop("conditions", ()))
    return Plan(1, 1, (Scan("public", "t", "t", conditions, (), frozenset()),), **more)


@pytest.mark.parametrize(
    ("plan", "rows", "expected"),
    [
        pytest.param(ranged(">"), 500, {"$1": "CAST('95' AS integer)"}, id="the upper twentieth"),
        pytest.param(ranged("<"), 500, {"$1": "CAST('5' AS integer)"}, id="the lower twentieth"),
        pytest.param(ranged(">"), 0, {"$1": "CAST('99' AS integer)"}, id="next to none"),
        pytest.param(ranged(">"), 5000, {}, id="half of it"),
        pytest.param(ranged(">", aggregates=True), 500, {}, id="summed up"),
        pytest.param(ranged(">", is_limited=True), 500, {}, id="cut off"),
        pytest.param(
            ranged(">", conditions=(Condition(Column("t", "b"), "equal"),)), 500, {}, id="with another condition"
        ),
    ],
)
def test_typical_values(plan: Plan, rows: int, expected: dict[str, str]) -> None:
    tables = {"public.t": Table("public", "t", 10_000, columns={"a": TableColumn("a", bounds=BOUNDS, type="integer")})}
    assert typical_values(statement(calls=1, rows=rows), plan, tables) == expected


def gain(after: float, *used: Index, before: float = 1000, total: float = 50_000) -> Gain:
    return Gain(statement(total=total), before, after, frozenset(used))


@pytest.mark.parametrize(
    ("gains", "lacking", "writes", "refusal"),
    [
        pytest.param([gain(1, A)], {"1": 1000}, 0, "", id="pays"),
        pytest.param([gain(1, B)], {}, 0, "no plan uses it", id="not used"),
        pytest.param([gain(700, A)], {"1": 1000}, 0, "saves at most 30 %", id="saves little"),
        pytest.param([gain(1, A)], {"1": 1.5}, 0, "serve its statements nearly as well", id="spare"),
        pytest.param([gain(1, A)], {"1": 1000}, 20_000, "writes cost about 20 s", id="costs more in writes"),
        pytest.param([gain(1, A)], {"1": 1000}, 16_000, "", id="saves three times what it costs in writes"),
    ],
)
def test_what_pays(gains: list[Gain], lacking: dict[str, float], writes: float, refusal: str) -> None:
    found = weigh(A, 10, gains, lacking, HOUR, writes)
    assert refusal in found.refusal
    assert bool(found.refusal) == bool(refusal)


def test_only_what_the_others_dont_do_is_its_merit() -> None:
    alone = weigh(A, 10, [gain(0, A)], {"1": 1000}, HOUR, 0)
    beside = weigh(A, 10, [gain(0, A)], {"1": 100}, HOUR, 0)
    assert (alone.saved, beside.saved) == (50_000, 5_000)


@pytest.mark.parametrize(
    ("cost", "most", "left_out"),
    [
        pytest.param(Cost(9500, 500), 0.05, None, id="no more than they may lose"),
        pytest.param(Cost(9000, 1000), 0.05, "b", id="what saves least for its writes goes, not what saves least"),
        pytest.param(Cost(9000, 0), 0.0, None, id="nothing is lost and nothing may be"),
    ],
)
def test_what_all_together_cost_writes_is_limited(cost: Cost, most: float, left_out: str | None) -> None:
    proposals = [
        Proposal(Index("public", "t", ("a",)), 1, (), saved=10, writes=1),
        Proposal(Index("public", "t", ("b",)), 1, (), saved=20, writes=4),
        Proposal(Index("public", "t", ("c",)), 1, (), saved=1, writes=0),
    ]
    found = least_worth(proposals, cost, most)
    assert (found and found.index.columns[0]) == left_out
    if found:
        assert found.is_beyond_limit
        assert "would lose 10.0 % with it, of 5 % that they may" in found.refusal


def test_what_costs_writes_nothing_is_never_beyond_the_limit() -> None:
    assert least_worth([Proposal(A, 1, (), saved=1)], Cost(9000, 1000), 0.05) is None


def test_the_weakest_leaves_first_and_the_best_is_told_first() -> None:
    proposals = [Proposal(A, 1, (), 5, 1, "no"), Proposal(B, 1, (), 1, 1, "no"), Proposal(A, 1, (), 9, 1)]
    left = weakest(proposals)
    assert left is not None and left.index == B
    assert weakest(proposals[2:]) is None
    assert [p.saved for p in accepted([Proposal(A, 1, (), 5, 1), *proposals[2:]])] == [9, 5]
