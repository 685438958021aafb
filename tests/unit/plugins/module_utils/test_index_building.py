# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is built, what is refused, and which built index stays."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.index_building import (
    Change,
    build_sql,
    changes_of,
    drop_sql,
    judge,
    plan_building,
    refuse_without_room,
)
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, TableColumn
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Existing, Index, IndexesError
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Statement
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan

BY_A, BY_B = Index("public", "t", ("a",)), Index("public", "t", ("lower(b)",))
UNIQUE = Index("public", "t", ("a",), unique=True)


def facts(*indexes: Existing, kind: str = "r") -> Facts:
    columns = {name: TableColumn(name) for name in ("a", "b")}
    return Facts({"public.t": Table("public", "t", 1000, columns=columns, kind=kind)}, indexes, (), 0, "")


def test_what_is_there_is_not_built_and_what_failed_is_dropped() -> None:
    left = Existing(BY_B.name, BY_B, valid=False)
    plan = plan_building([BY_A, BY_B, BY_A], facts(Existing("mine", BY_A), left))
    assert (plan.lacking, plan.present, plan.leftovers) == ((BY_B,), (BY_A,), (left,))


def test_somebody_elses_unfinished_index_is_left_alone() -> None:
    assert plan_building([BY_A], facts(Existing("theirs", BY_A, valid=False))).leftovers == ()


@pytest.mark.parametrize(
    ("index", "kind", "said"),
    [
        pytest.param(Index("public", "orders", ("a",)), "r", "there is no table public.orders", id="no table"),
        pytest.param(Index("public", "t", ("a",), ("z",)), "r", "t has no column z; it has a, b", id="no column"),
        pytest.param(BY_A, "p", "t is partitioned", id="partitioned"),
    ],
)
def test_what_cannot_be_built_is_refused(index: Index, kind: str, said: str) -> None:
    with pytest.raises(IndexesError, match=said):
        plan_building([index], facts(kind=kind))


def test_building_waits_for_nobody_for_long() -> None:
    assert build_sql(BY_A, 7).splitlines() == [
        "SET search_path = pg_catalog;",
        "SET lock_timeout = '7s';",
        "SET statement_timeout = 0;",
        f'CREATE INDEX CONCURRENTLY "{BY_A.name}" ON "public"."t" ("a");',
    ]
    assert build_sql(BY_B, 7).endswith('ANALYZE "public"."t";')


def test_dropping_has_patience() -> None:
    lines = drop_sql("public", 'x"y', 600).splitlines()
    assert lines[:2] == ["SET lock_timeout = 0;", "SET statement_timeout = '600s';"]
    assert lines[2] == 'DROP INDEX CONCURRENTLY IF EXISTS "public"."x""y";'


def test_without_room_nothing_is_built() -> None:
    refuse_without_room(BY_A, 2**30, 3 * 2**30)
    with pytest.raises(IndexesError, match="2048 MiB are free and building takes about 2304 MiB"):
        refuse_without_room(BY_A, 2**30, 2 * 2**30)


def change(text: str = "SELECT a FROM t", **more: Any) -> Change:
    given = {"cost_before": 900.0, "cost_after": 3.0, "uses": True, "mean_after": None, "calls_after": 0, **more}
    return Change(Statement("1", text, 100, 100.0, 1), **given)


@pytest.mark.parametrize(
    ("index", "changes", "scans", "stays", "said"),
    [
        pytest.param(BY_A, [change()], 0, True, "cost 900 before and 3 after", id="a plan uses it"),
        pytest.param(BY_A, [change(uses=False)], 5, True, "5 scans", id="somebody used it"),
        pytest.param(BY_A, [change(uses=False)], 0, False, "no plan of 1 statements", id="nobody does"),
        pytest.param(
            UNIQUE, [change(uses=False)], 0, True, "keeps its columns unique", id="nobody does, but it is unique"
        ),
        pytest.param(BY_A, [], 0, True, "can't be judged", id="nothing is known"),
        pytest.param(
            BY_A,
            [change(mean_after=1.5, calls_after=20)],
            9,
            False,
            "took 1.00 ms before and 1.50 ms after",
            id="it made it worse",
        ),
        pytest.param(BY_A, [change(mean_after=1.5, calls_after=19)], 9, True, "9 scans", id="worse, but seldom seen"),
        pytest.param(BY_A, [change(mean_after=1.1, calls_after=20)], 9, True, "9 scans", id="hardly worse"),
        pytest.param(
            BY_A,
            [change(uses=False, mean_after=9.0, calls_after=20)],
            9,
            True,
            "9 scans",
            id="worse, but it doesn't use it",
        ),
        pytest.param(
            BY_A,
            [change("INSERT INTO t VALUES ($1)", uses=False, mean_after=9.0, calls_after=20)],
            9,
            False,
            "took 1.00 ms before and 9.00 ms after",
            id="writes are worse",
        ),
    ],
)
def test_what_stays(index: Index, changes: list[Change], scans: int, stays: bool, said: str) -> None:
    verdict = judge(index, changes, scans, 60)
    assert verdict.stays is stays
    assert said in " ".join(verdict.reasons)


def test_changes_are_of_statements_on_the_table_and_since_it_was_built() -> None:
    listed = [Statement("1", 'SELECT a FROM "t"', 10, 10.0, 1), Statement("2", "SELECT t FROM other_t", 10, 10.0, 1)]
    listed[1] = Statement("2", "SELECT a FROM tt", 10, 10.0, 1)
    plans = {"1": Plan(5, 1, (), frozenset({BY_A.name}))}
    built, baked = {"1": Statement("1", "", 10, 10.0, 1)}, {"1": Statement("1", "", 30, 50.0, 1)}
    found = changes_of(BY_A, listed, {"1": Plan(50, 1, ())}, plans, built, baked)
    assert [(c.statement.id, c.cost_before, c.cost_after, c.uses, c.mean_after, c.calls_after) for c in found] == [
        ("1", 50, 5, True, 2.0, 20)
    ]
