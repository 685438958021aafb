# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What writes cost, what indexes add to them, and how that is read from what was counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, TableColumn
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Existing, Index
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Statement
from ansible_collections.nectar.backend.plugins.module_utils.write_costs import (
    COMMIT_MS,
    ENTRY_MS,
    IMAGE_MS,
    PAGE,
    Cost,
    TableWrites,
    Writes,
    columns_of,
    read_writes,
    share_held,
    spots,
    what_is_written,
)

COLUMNS = {
    "id": TableColumn("id", 8, -1, correlation=1),
    "code": TableColumn("code", 33, -1, correlation=0.01),
    "shop": TableColumn("shop", 4, 200, correlation=0.02),
    "at": TableColumn("at", 8, -1, correlation=-0.99),
    "state": TableColumn("state", 5, 5, correlation=0.1),
}
TABLE = Table("public", "orders", 10**6, 10**8, COLUMNS)
LARGE = 10_000 * PAGE


def index(*columns: str, include: tuple[str, ...] = (), where: str = "") -> Index:
    return Index("public", "orders", columns, include, where)


KEY = Existing("orders_pkey", index("id"), LARGE, constraint=True)


def added(indexes: list[Index], **writes: Any) -> float:
    """What indexes add in an hour."""
    tables = {"public.orders": TableWrites(TABLE, **{"existing": (KEY,), **writes})}
    return Writes(tables).cost(indexes, dict.fromkeys(indexes, LARGE)).added


def test_an_entry_at_random_costs_a_page_in_the_log_and_one_in_order_none() -> None:
    # 100 an hour are so few that each is its page's first after a checkpoint.
    assert added([index("code")], inserts=100) == pytest.approx(100 * (ENTRY_MS + IMAGE_MS), rel=0.01)
    assert added([index("at")], inserts=36_000) == pytest.approx(36_000 * ENTRY_MS, rel=0.01)


def test_many_entries_share_the_pages_that_go_to_the_log() -> None:
    few, many = added([index("code")], inserts=10**3), added([index("code")], inserts=10**8)
    assert many < few * 10**5 * (ENTRY_MS + 0.01 * IMAGE_MS) / ENTRY_MS


def test_without_whole_pages_in_the_log_an_entry_is_all() -> None:
    tables = {"public.orders": TableWrites(TABLE, inserts=100)}
    cost = Writes(tables, images=False).cost([index("code")], {index("code"): LARGE})
    assert cost.added == pytest.approx(100 * ENTRY_MS)


def test_the_sum_on_a_table_is_what_counts() -> None:
    one, three = [index("code")], [index("code"), index("shop", "state"), index("state", "code")]
    assert added(three, inserts=100) == pytest.approx(3 * added(one, inserts=100), rel=0.01)


UPDATES = {"updates": 100.0, "hot": 100.0, "sets": {frozenset({"state"}): 0.6, frozenset({"code"}): 0.4}}


@pytest.mark.parametrize(
    ("indexes", "writes", "entries"),
    [
        # Entries in the new index, and in the key, which needed none so far.
        pytest.param([index("at")], UPDATES, 0, id="no update sets its column"),
        pytest.param([index("state")], UPDATES, 60 * 2, id="most set it"),
        pytest.param([index("at", include=("state",))], UPDATES, 60 * 2, id="it only carries the column along"),
        pytest.param([index("state"), index("at", "code")], UPDATES, 100 * 3, id="two end it for all"),
        pytest.param([index("at")], {"updates": 100, "hot": 100}, 100 * 2, id="no text tells what they set"),
        pytest.param([index("state")], {**UPDATES, "hot": 0.0}, 100, id="none was in place"),
        pytest.param([index("state")], {"deletes": 100}, 0, id="deletes leave entries be"),
    ],
)
def test_an_update_of_what_an_index_holds_is_in_place_no_more(
    indexes: list[Index], writes: Mapping[str, Any], entries: float
) -> None:
    assert added(indexes, **writes) == pytest.approx(entries * (ENTRY_MS + IMAGE_MS), rel=0.02)


def test_what_a_partial_index_does_not_hold_costs_it_nothing() -> None:
    partial = index("at", where="state IS NULL")
    writes = Writes({"public.orders": TableWrites(TABLE, updates=100, sets={frozenset({"state"}): 1.0})})
    assert writes.cost([partial], {partial: PAGE}).added < 0.01 * writes.cost([index("at")], {index("at"): LARGE}).added
    assert columns_of(partial) == {"at", "state"}
    assert columns_of(index("lower(code)", where="NOT shop AND state = 'a'")) == {"code", "shop", "state"}
    assert share_held(partial, writes.tables["public.orders"], 10**7) == pytest.approx(10**7 / (10**6 * 24))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(("at",), 1, id="in order"),
        pytest.param(("at DESC", "code"), 1, id="in order, backwards"),
        pytest.param(("shop", "at"), 200, id="in order in each group"),
        pytest.param(("code",), 10_000, id="at random"),
        pytest.param(("code", "at"), 10_000, id="more groups than pages"),
        pytest.param(("lower(code)",), 10_000, id="of a function nothing is known"),
    ],
)
def test_among_how_many_pages_new_rows_fall(columns: tuple[str, ...], expected: float) -> None:
    assert spots(index(*columns), TABLE, LARGE) == expected


def test_a_commit_is_shared_by_rows_and_statements() -> None:
    def now(**more: Any) -> float:
        given = {"calls_per_row": more.pop("calls_per_row", 1.0)}
        tables = {"public.orders": TableWrites(TABLE, inserts=100, **given)}
        return Writes(tables, **more).cost([], {}).now

    alone, many, together = now(), now(calls_per_row=0.01), now(commits=0.25)
    assert alone - many == pytest.approx(99 * COMMIT_MS)
    assert alone - together == pytest.approx(75 * COMMIT_MS)


def test_what_goes_gives_back_to_writes() -> None:
    second = Existing("orders_code_idx", index("code"), LARGE)
    writes = Writes({"public.orders": TableWrites(TABLE, inserts=100, existing=(KEY, second))})
    without = Writes({"public.orders": TableWrites(TABLE, inserts=100, existing=(KEY,))})
    assert writes.given_back(["orders_code_idx"]) == pytest.approx(
        without.cost([second.index], {second.index: LARGE}).loss
    )
    assert writes.given_back(["gone"]) == Writes({}).given_back([]) == 0


def test_the_loss_is_a_share_of_what_is_written_a_second() -> None:
    assert (Cost(95, 5).loss, Cost(0, 0).loss, Cost(0, 5).loss) == (0.05, 0, 1)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        pytest.param(Cost(950, 50), False, id="as much as they may"),
        pytest.param(Cost(900, 100), True, id="more"),
        pytest.param(Cost(90, 100), False, id="more, of some writes an hour"),
    ],
)
def test_what_is_hardly_written_may_lose_more(cost: Cost, expected: bool) -> None:
    assert cost.exceeds(0.05) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("INSERT INTO orders (a) VALUES ($1)", ("public.orders", "INSERT", set()), id="an insert"),
        pytest.param("DELETE FROM ONLY Orders WHERE id = $1", ("public.orders", "DELETE", set()), id="a delete"),
        pytest.param(
            "UPDATE orders AS o SET state = $1, code = f(o.shop, $2) WHERE id = $3",
            ("public.orders", "UPDATE", {"state", "code"}),
            id="an update",
        ),
        pytest.param(
            'UPDATE "orders" SET (state, "Code") = ($1, shop), at = (SELECT now(), 1) FROM shops',
            ("public.orders", "UPDATE", {"state", "Code", "at"}),
            id="columns in a list",
        ),
        pytest.param("UPDATE archive.old SET a = b", ("archive.old", "UPDATE", {"a"}), id="another schema"),
        pytest.param("UPDATE old SET a = b", ("archive.old", "UPDATE", {"a"}), id="the only one of that name"),
        pytest.param("UPDATE gone SET a = b", None, id="no such table"),
        pytest.param("SELECT * FROM orders FOR UPDATE", None, id="no write"),
        pytest.param("UPDATE", None, id="cut off"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_what_a_statement_writes(text: str, expected: tuple[str, str, set[str]] | None) -> None:
    tables = {"public.orders": TABLE, "archive.old": Table("archive", "old")}
    found = what_is_written(text, tables)
    assert (found and (found.table, found.kind, set(found.columns))) == expected


def test_counters_become_writes_of_an_hour() -> None:
    table = Table("public", "orders", 10**6, 10**8, COLUMNS, inserts=50, updates=200, hot_updates=150, deletes=10)
    statements = [
        Statement("1", "INSERT INTO orders VALUES ($1)", 5, 1, 50),
        Statement("2", "UPDATE orders SET state = $1 WHERE id = $2", 150, 1, 150),
        Statement("3", "UPDATE orders SET at = $1, state = $2 WHERE id = $3", 50, 1, 50),
        Statement("4", "SELECT 1", 795, 1, 795),
    ]
    facts = Facts({table.key: table}, (KEY,), (), 1800, "", commits=500, checkpoint=900.0, images=False)
    writes = read_writes(statements, 1800, facts)
    found = writes.tables["public.orders"]
    assert (found.inserts, found.updates, found.hot, found.deletes) == (100, 400, 300, 20)
    assert found.calls_per_row == pytest.approx(205 / 250)
    assert found.sets == {frozenset({"state"}): 0.75, frozenset({"at", "state"}): 0.25}
    assert (writes.commits, writes.checkpoint, writes.images, found.existing) == (0.5, 900, False, (KEY,))


def test_without_statements_each_row_has_its_commit() -> None:
    found = read_writes([], 0, Facts({TABLE.key: TABLE}, (), (), 0, ""))
    assert (found.commits, found.tables["public.orders"].calls_per_row) == (1.0, 1.0)
