# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Advice that is no index to build."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, TableColumn
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Existing, Index
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import Column, Condition
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, SequenceFact, Statement
from ansible_collections.nectar.backend.plugins.module_utils.query_hints import DAY, hints_of
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan, Scan

MEBIBYTE = 1024 * 1024


def facts(
    *tables: Table, indexes: tuple[Existing, ...] = (), sequences: tuple[SequenceFact, ...] = (), days: float = 30
) -> Facts:
    return Facts({table.key: table for table in tables}, indexes, sequences, days * DAY, "")


def table(**more: Any) -> Table:
    given = {"rows": 100_000, "live": 100_000, "columns": {"a": TableColumn("a")}, **more}
    return Table("public", "t", **given)


def statement(name: str, text: str = "SELECT 1", calls: int = 10, mean: float = 1.0, rows: int = 10) -> Statement:
    return Statement(name, text, calls, calls * mean, rows)


def plan(kind: str) -> Plan:
    return Plan(1, 1, (Scan("public", "t", "t", (Condition(Column("t", "a"), kind),), (), frozenset()),))


def kinds(*arguments: Any) -> list[tuple[str, str]]:
    return [(hint.kind, hint.subject) for hint in hints_of(*arguments)]


OTHERS = [statement("2"), statement("3"), statement("4")]


@pytest.mark.parametrize(
    ("often", "kind", "found"),
    [
        pytest.param(statement("1", calls=50_000, rows=50_000), "equal", True, id="one key so many times"),
        pytest.param(statement("1", calls=50_000, rows=50_000_000), "equal", False, id="many rows each time"),
        pytest.param(statement("1", calls=50_000, rows=50_000), "range", False, id="by a range"),
        pytest.param(statement("1", calls=150, rows=150), "equal", False, id="not so often"),
    ],
)
def test_asked_too_often(often: Statement, kind: str, found: bool) -> None:
    assert kinds([often, *OTHERS], {"1": plan(kind)}, facts(), 5.0) == ([("n+1", "SELECT 1")] if found else [])


PAGED = "SELECT a FROM t ORDER BY a LIMIT $1 OFFSET $2"


@pytest.mark.parametrize(
    ("asked", "kind", "found"),
    [
        pytest.param(statement("1", PAGED, mean=9), "range", [("offset", PAGED)], id="slow paging"),
        pytest.param(statement("1", PAGED, mean=1), "range", [], id="quick paging"),
        pytest.param(statement("1", mean=9), "pattern", [("pattern", "SELECT 1")], id="a slow pattern"),
        pytest.param(statement("1", mean=1), "pattern", [], id="a quick pattern"),
    ],
)
def test_statements(asked: Statement, kind: str, found: list[tuple[str, str]]) -> None:
    assert kinds([asked], {"1": plan(kind)}, facts(), 5.0) == found


@pytest.mark.parametrize(
    ("one", "found"),
    [
        pytest.param(table(), [], id="well"),
        pytest.param(table(analyzed=False), [("statistics", "t")], id="never analysed"),
        pytest.param(table(modified=30_000), [("statistics", "t")], id="changed since"),
        pytest.param(table(modified=20_000), [], id="hardly changed since"),
        pytest.param(table(dead=30_000), [("bloat", "t")], id="dead rows"),
        pytest.param(table(dead=15_000), [], id="few dead rows"),
        pytest.param(table(size=100 * MEBIBYTE), [("bloat", "t")], id="larger than its rows"),
        pytest.param(table(size=4 * MEBIBYTE), [], id="as large as its rows"),
        pytest.param(table(rows=100, live=100, analyzed=False), [], id="small"),
    ],
)
def test_tables(one: Table, found: list[tuple[str, str]]) -> None:
    assert kinds([], {}, facts(one), 5.0) == found


@pytest.mark.parametrize(
    ("last", "found"),
    [
        pytest.param(2**30, [("sequence", "t_id_seq")], id="half way"),
        pytest.param(2**29, [], id="a quarter of the way"),
    ],
)
def test_sequences(last: int, found: list[tuple[str, str]]) -> None:
    assert kinds([], {}, facts(sequences=(SequenceFact("t_id_seq", last, 2**31 - 1),)), 5.0) == found


def existing(name: str, *columns: str, scans: int = 0, size: int = 8 * MEBIBYTE, **more: Any) -> Existing:
    return Existing(name, Index("public", "t", columns, unique=more.pop("unique", False)), size, scans, **more)


@pytest.mark.parametrize(
    ("indexes", "found"),
    [
        pytest.param((existing("x", "a"),), [("unused index", "x")], id="never used"),
        pytest.param((existing("x", "a", scans=1),), [], id="used"),
        pytest.param((existing("x", "a", unique=True),), [], id="unique"),
        pytest.param((existing("x", "a", size=8192),), [], id="small"),
        pytest.param((existing("x", "a", valid=False),), [("invalid index", "x")], id="never finished"),
        pytest.param(
            (existing("x", "a"), existing("y", "a", "b", scans=1)),
            [("duplicate index", "x")],
            id="another one serves: told once",
        ),
    ],
)
def test_indexes(indexes: tuple[Existing, ...], found: list[tuple[str, str]]) -> None:
    assert kinds([], {}, facts(indexes=indexes), 5.0) == found


def test_a_short_count_is_no_reason_to_drop() -> None:
    hints = hints_of([], {}, facts(indexes=(existing("x", "a"),), days=0.5), 5.0)
    assert "in 0.5 days, which is too short to drop it for" in hints[0].says
