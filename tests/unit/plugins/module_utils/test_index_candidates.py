# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is tried for a plan; the plans are PostgreSQL 17's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import (
    Table,
    TableColumn,
    candidates_of,
    merge,
)
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Index
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import PlanError, read_plan

PLANS = json.loads(Path(__file__).with_name("plans.json").read_text(encoding="utf-8"))


def column(name: str, distinct: float = -1, nulls: float = 0, width: int = 8) -> TableColumn:
    return TableColumn(name, width, distinct, nulls)


def table(name: str, rows: float, *columns: TableColumn) -> Table:
    return Table("public", name, rows, columns={one.name: one for one in columns})


NAMES = (
    "id",
    "customer_id",
    "product_id",
    "shop_id",
    "status",
    "total",
    "tracking_code",
    "placed_at",
    "paid_at",
    "note",
)
TABLES = {
    f"public.{one.name}": one
    for one in (
        table("orders", 100_000, *map(column, NAMES)),
        table(
            "customers", 4000, column("id"), column("email", width=25), column("name", width=40), column("city", 500)
        ),
        table("payments", 10_000, column("id"), column("order_id"), column("amount")),
        table("jobs", 10_000, column("id"), column("kind", 1), column("run_at"), column("done", 2)),
        table(
            "tickets",
            5000,
            column("id"),
            column("assignee_id", 300),
            column("title", width=33),
            column("closed_at", nulls=0.02),
        ),
    )
}


@pytest.mark.parametrize(
    ("plan", "wanted"),
    [
        pytest.param(
            "equality", ["orders (customer_id)", "orders (customer_id) include (id, total)"], id="what is equal"
        ),
        pytest.param(
            "aggregate",
            ["orders (customer_id)", "orders (customer_id) include (total)", "orders (customer_id, total)"],
            id="below a sum only what it needs",
        ),
        pytest.param("ordered", ["orders (shop_id, placed_at DESC)", "orders (shop_id)"], id="equal, then in order"),
        pytest.param("last of all", ["orders (placed_at DESC)"], id="an order alone"),
        pytest.param("range", ["orders (placed_at)", "orders (placed_at) include (id, total)"], id="a range"),
        pytest.param(
            "partial",
            ["tickets (assignee_id)", "tickets (assignee_id) where closed_at IS NULL"],
            id="the few rows that are null",
        ),
        pytest.param("switch", ["jobs (run_at)", "jobs (run_at) where NOT done"], id="the rows that are off"),
        pytest.param("function", ["customers (lower(email))"], id="a function of a column"),
        pytest.param(
            "join", ["payments (order_id)", "payments (order_id) include (amount)"], id="the other side of a join"
        ),
        pytest.param("hash join", ["orders (customer_id)", "customers (city)"], id="both sides of a hashed join"),
        pytest.param(
            "exists", ["orders (status, customer_id)", "orders (customer_id, status)"], id="a condition with EXISTS"
        ),
        pytest.param("update", ["orders (tracking_code)"], id="an update"),
    ],
)
def test_what_is_tried(plan: str, wanted: list[str]) -> None:
    found = [index.says() for index in candidates_of(read_plan(PLANS[plan]), TABLES)]
    assert set(wanted) <= set(found), found


@pytest.mark.parametrize(
    ("plan", "unwanted"),
    [
        pytest.param("either", "", id="nothing for either of two"),
        pytest.param("pattern", "", id="nothing for a pattern"),
        pytest.param("function", "include", id="nothing is carried along with a function"),
        pytest.param("function", ", email", id="no function beside its own argument"),
        pytest.param("whole row", "include", id="nothing is carried along for a whole row"),
        pytest.param("equality", "note", id="no column that isn't asked for"),
    ],
)
def test_what_is_not_tried(plan: str, unwanted: str) -> None:
    found = [index.says() for index in candidates_of(read_plan(PLANS[plan]), TABLES)]
    assert [says for says in found if unwanted in says] == []


def test_a_small_table_gets_none() -> None:
    tables = {name: Table("public", one.name, 500, columns=one.columns) for name, one in TABLES.items()}
    assert candidates_of(read_plan(PLANS["equality"]), tables) == []


@pytest.mark.parametrize("reply", [[], [{}], [{"Plan": {"Node Type": "Result"}}], None], ids=str)
def test_a_plan_of_another_form_is_refused(reply: object) -> None:
    with pytest.raises(PlanError, match="unknown form"):
        read_plan(reply)


def index(*columns: str, include: tuple[str, ...] = (), where: str = "") -> Index:
    return Index("public", "t", columns, include, where)


@pytest.mark.parametrize(
    ("indexes", "merged"),
    [
        pytest.param([index("a"), index("a", "b")], [index("a", "b")], id="the beginning goes"),
        pytest.param([index("b"), index("a", "b")], [index("a", "b"), index("b")], id="the end stays"),
        pytest.param(
            [index("a", include=("c",)), index("a", "b")],
            [index("a", include=("c",)), index("a", "b")],
            id="carries more",
        ),
        pytest.param(
            [index("a", include=("c",)), index("a", include=("d",))],
            [index("a", include=("c", "d"))],
            id="carried together",
        ),
        pytest.param(
            [index("a"), index("a", where="b IS NULL")], [index("a"), index("a", where="b IS NULL")], id="partial"
        ),
    ],
)
def test_as_few_as_serve(indexes: list[Index], merged: list[Index]) -> None:
    assert merge(indexes) == merged
