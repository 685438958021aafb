# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is understood of the expressions that PostgreSQL prints, and what is left alone."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import (
    conditions_of,
    explainable,
    first_word,
    pages_by_offset,
    read_sort_key,
    references,
    tokens_of,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("(o.customer_id = $1)", [("o", "customer_id", "equal", "$1")], id="equal to a parameter"),
        pytest.param("($1 = o.customer_id)", [("o", "customer_id", "equal", "$1")], id="the other way round"),
        pytest.param(
            "((o.shop_id = $1) AND (o.placed_at >= $2))",
            [("o", "shop_id", "equal", "$1"), ("o", "placed_at", "range", "$2")],
            id="two conditions",
        ),
        pytest.param(
            "((o.status = 'a AND b'::text) AND ((o.n)::bigint < $2))",
            [("o", "status", "equal", ""), ("o", "n", "range", "$2")],
            id="a word within a text is none",
        ),
        pytest.param("((c.email)::text = $1)", [("c", "email", "equal", "$1")], id="a cast is looked through"),
        pytest.param("(lower((c.email)::text) = $1)", [("c", "lower(email)", "equal", "$1")], id="a steady function"),
        pytest.param("(date_trunc('day'::text, o.at) = $1)", [], id="another function is left alone"),
        pytest.param("(o.id = ANY ('{1,2}'::integer[]))", [("o", "id", "equal", "")], id="one of a list"),
        pytest.param(
            "(o.id = (InitPlan 1).col1)", [("o", "id", "equal", "")], id="what another part of the plan found"
        ),
        pytest.param("(o.paid_at IS NULL)", [("o", "paid_at", "null", "")], id="null"),
        pytest.param("(o.paid_at IS NOT NULL)", [("o", "paid_at", "not null", "")], id="not null"),
        pytest.param("(NOT j.done)", [("j", "done", "false", "")], id="a switch that is off"),
        pytest.param("j.done", [("j", "done", "true", "")], id="a switch that is on"),
        pytest.param("(c.name ~~ $1)", [("c", "name", "pattern", "$1")], id="a pattern"),
        pytest.param("((o.a = $1) OR (o.b = $2))", [], id="either of two is left alone"),
        pytest.param("(o.a = o.b)", [], id="two columns of one table are left alone"),
        pytest.param('("o"."Group" = $1)', [("o", "Group", "equal", "$1")], id="quoted names"),
        pytest.param("(o.at > (now() - '1 day'::interval))", [("o", "at", "range", "")], id="a computed bound"),
        pytest.param(
            "(o.at > ($1)::timestamp(3) with time zone)", [("o", "at", "range", "$1")], id="a cast of several words"
        ),
    ],
)
def test_conditions(text: str, expected: list[tuple[str, str, str, str]]) -> None:
    found = [(c.column.alias, c.column.expression, c.kind, c.parameter) for c in conditions_of(text)]
    assert found == expected


def test_a_comparison_of_two_tables_is_told_from_both_sides() -> None:
    found = [(c.column.alias, c.column.name, set(c.others)) for c in conditions_of("(p.order_id = o.id)")]
    assert found == [("p", "order_id", {"o"}), ("o", "id", {"p"})]


def test_a_mirrored_comparison_keeps_its_sense() -> None:
    assert [(c.kind, c.operator) for c in conditions_of("($1 < o.at)")] == [("range", ">")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("o.placed_at DESC", "placed_at DESC", id="falling"),
        pytest.param("o.placed_at", "placed_at", id="rising"),
        pytest.param("o.placed_at DESC NULLS LAST", "placed_at DESC NULLS LAST", id="nulls at the other end"),
        pytest.param("(lower((c.email)::text))", "lower(email)", id="a steady function"),
        pytest.param("(sum(o.total))", None, id="a sum is no column"),
        pytest.param('o.name COLLATE "C"', None, id="another collation"),
    ],
)
def test_sort_keys(text: str, expected: str | None) -> None:
    key = read_sort_key(text)
    assert (key.expression if key else None) == expected


def test_references_are_columns_and_no_functions() -> None:
    text = "pg_catalog.lower(c.email) || o.note || 'x.y' || (o.*)::text"
    assert list(references(tokens_of(text))) == [("c", "email"), ("o", "note"), ("o", "*")]


@pytest.mark.parametrize(
    ("text", "rows", "values", "expected"),
    [
        pytest.param(
            "SELECT a FROM t LIMIT $1", 19.6, None, "SELECT a FROM t LIMIT 20", id="rows that came stand for a limit"
        ),
        pytest.param("SELECT a FROM t LIMIT $1", 0.0, None, "SELECT a FROM t LIMIT 1", id="never a limit of none"),
        pytest.param("SELECT a FROM t OFFSET $1", 5.0, None, "SELECT a FROM t OFFSET $1", id="an offset stays"),
        pytest.param(
            "SELECT now() - interval $1", None, None, "SELECT now() - CAST($1 AS interval)", id="a literal of a type"
        ),
        pytest.param("SELECT 'LIMIT $1' FROM t;", 5.0, None, "SELECT 'LIMIT $1' FROM t", id="texts stay"),
        pytest.param("SELECT -- LIMIT $1\n a", 5.0, None, "SELECT -- LIMIT $1\n a", id="comments stay"),
        pytest.param(
            "SELECT a FROM t WHERE b > $1 AND c = $10",
            None,
            {"$1": "7"},
            "SELECT a FROM t WHERE b > 7 AND c = $10",
            id="values",
        ),
    ],
)
def test_what_can_be_explained(text: str, rows: float | None, values: dict[str, str] | None, expected: str) -> None:
    assert explainable(text, rows, values) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("SELECT a FROM t ORDER BY a LIMIT $1 OFFSET $2", True, id="by a number"),
        pytest.param("SELECT a AS offset FROM t", False, id="a name"),
    ],
)
def test_paging(text: str, expected: bool) -> None:
    assert pages_by_offset(text) is expected


def test_the_first_word_stands_behind_comments() -> None:
    assert first_word("/* orders:12 */ select 1") == "SELECT"
