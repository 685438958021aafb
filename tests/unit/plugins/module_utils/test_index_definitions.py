# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An index in the registry, in SQL and in the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import (
    Existing,
    Index,
    check_list,
    find_duplicates,
    find_same,
    read_existing,
    read_index,
)

ORDERS = {"table": "orders", "columns": ["customer_id", "placed_at DESC"]}


@pytest.mark.parametrize(
    ("entry", "sql"),
    [
        pytest.param(
            {**ORDERS, "include": ["total"], "where": "paid_at IS NULL AND NOT done"},
            '"public"."orders" ("customer_id", "placed_at" DESC) INCLUDE ("total") WHERE "paid_at" IS NULL AND NOT "done"',
            id="all of it",
        ),
        pytest.param(
            {"table": "shop.customers", "columns": ["lower(email)"], "where": "state <> 'left' AND active"},
            '"shop"."customers" (pg_catalog.lower("email")) WHERE "state" <> \'left\' AND "active"',
            id="a function, another schema, a value",
        ),
        pytest.param(
            {"table": "t", "columns": ["a DESC NULLS LAST"]}, '"public"."t" ("a" DESC NULLS LAST)', id="where nulls go"
        ),
    ],
)
def test_an_entry_becomes_sql_and_comes_back(entry: dict[str, Any], sql: str) -> None:
    index = read_index(entry)
    assert index.definition == sql
    assert index.create() == f'CREATE INDEX CONCURRENTLY "{index.name}" ON {sql}'
    assert index.entry() == entry
    assert check_list([index.entry()]) == []


def test_names_are_steady_and_fit() -> None:
    index = read_index(ORDERS)
    long = read_index({"table": "t" * 60, "columns": ["a", "b"]})
    assert index.name == read_index(dict(ORDERS)).name
    assert index.name.startswith("orders_customer_id_placed_at_desc_")
    assert index.name != read_index({**ORDERS, "include": ["total"]}).name
    assert len(long.name) <= 63


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param({"columns": ["a"]}, "indexes[0]: table is missing", id="no table"),
        pytest.param({"table": "Orders", "columns": ["a"]}, 'table is "Orders"', id="capitals"),
        pytest.param({"table": "t", "columns": []}, "columns is []", id="no columns"),
        pytest.param(
            {"table": "t", "columns": ["a; DROP TABLE t"]}, 'columns is ["a; DROP TABLE t"]', id="more than a column"
        ),
        pytest.param({"table": "t", "columns": ["md5(a)"]}, 'columns is ["md5(a)"]', id="an unknown function"),
        pytest.param({"table": "t", "columns": ["a"], "where": "a = b"}, 'where is "a = b"', id="no value"),
        pytest.param({"table": "t", "columns": ["a"], "where": "a = 'x' OR b"}, "where is ", id="or"),
        pytest.param(
            {"table": "t", "columns": ["a"], "include": ["a"]}, 'include names "a" twice', id="carried and key"
        ),
        pytest.param({"table": "t", "columns": ["a", "a"]}, 'columns is ["a", "a"]', id="a column twice"),
        pytest.param({"table": "t", "columns": ["a"], "method": "gin"}, 'unknown field "method"', id="another method"),
    ],
)
def test_what_is_refused(entry: dict[str, Any], said: str) -> None:
    problems = check_list([entry])
    assert len(problems) == 1
    assert said in problems[0]


def test_the_same_twice_is_refused() -> None:
    assert ["is the same as indexes[0]" in problem for problem in check_list([ORDERS, dict(ORDERS)])] == [True]


CATALOGUE = [
    {
        "schema": "public", "table": "customers", "name": "by_email", "unique": False, "valid": True, "constraint": False,
        "method": "btree", "size": 8192, "scans": 3, "where": "",
        "columns": [{"text": "lower(email::text)", "option": 0, "is_default": True}], "include": [],
    },
    {
        "schema": "public", "table": "orders", "name": "by_customer", "unique": False, "valid": True, "constraint": False,
        "method": "btree", "size": 8192, "scans": 3, "where": "(paid_at IS NULL)",
        "columns": [{"text": "customer_id", "option": 0, "is_default": True}, {"text": "placed_at", "option": 3, "is_default": True}],
        "include": ["total"],
    },
    {
        "schema": "public", "table": "orders", "name": "by_code", "unique": False, "valid": True, "constraint": False,
        "method": "btree", "size": 8192, "scans": 3, "where": "",
        "columns": [{"text": "code", "option": 0, "is_default": False}], "include": [],
    },
]  # fmt: skip


@pytest.mark.parametrize(
    ("index", "name"),
    [
        pytest.param(Index("public", "customers", ("lower(email)",)), "by_email", id="a function of a cast column"),
        pytest.param(
            Index("public", "orders", ("customer_id", "placed_at DESC"), ("total",), "paid_at IS NULL"),
            "by_customer",
            id="partial",
        ),
        pytest.param(Index("public", "orders", ("customer_id", "placed_at DESC"), ("total",)), None, id="not partial"),
        pytest.param(Index("public", "orders", ("code",)), None, id="of another operator class"),
    ],
)
def test_the_same_index_is_found_whatever_its_name(index: Index, name: str | None) -> None:
    found = find_same(index, read_existing(CATALOGUE))
    assert (found.name if found else None) == name


def existing(name: str, *columns: str, **more: Any) -> Existing:
    index = Index("public", "t", columns, more.pop("include", ()), more.pop("where", ""), more.pop("unique", False))
    return Existing(name, index, **more)


@pytest.mark.parametrize(
    ("indexes", "pairs"),
    [
        pytest.param([existing("a", "x"), existing("b", "x", "y")], [("a", "b")], id="the beginning of another"),
        pytest.param([existing("a", "y"), existing("b", "x", "y")], [], id="the end of another"),
        pytest.param([existing("a", "x"), existing("b", "x")], [("b", "a")], id="alike"),
        pytest.param([existing("a", "x"), existing("b", "x", constraint=True)], [("a", "b")], id="a constraint stays"),
        pytest.param([existing("a", "x", unique=True), existing("b", "x", "y")], [], id="a unique one keeps something"),
        pytest.param(
            [existing("a", "x", include=("z",)), existing("b", "x", "y")], [], id="carries what the other lacks"
        ),
        pytest.param([existing("a", "x"), existing("b", "x", "y", where="z IS NULL")], [], id="holds fewer rows"),
        pytest.param([existing("a", "x"), existing("b", "x", "y", valid=False)], [], id="never finished"),
    ],
)
def test_duplicates(indexes: list[Existing], pairs: list[tuple[str, str]]) -> None:
    assert [(spare.name, other.name) for spare, other in find_duplicates(indexes)] == pairs
