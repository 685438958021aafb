# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a failed migration left, told by statements, from two looks at the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.schema_changes import (
    Look,
    SchemaError,
    Thing,
    find_holders,
    find_left,
    look_query,
    read_look,
)

ORDERS = Thing("table", "public.orders")
NOTE = Thing("column", "note", "public.orders", "text NOT NULL")
INDEX = Thing("index", "public.by_day", "public.orders", "CREATE INDEX by_day ON public.orders USING btree (day)")
BROKEN = Thing("index", "public.by_day", "public.orders", INDEX.definition, "invalid")
CHECK = Thing("constraint", "positive", "public.orders", "CHECK ((total > 0))")
UNPROVEN = Thing("constraint", "positive", "public.orders", "CHECK ((total > 0)) NOT VALID", "not validated")


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        pytest.param([ORDERS, NOTE], [ORDERS, NOTE], [], id="nothing"),
        pytest.param(
            [],
            [ORDERS, NOTE, INDEX, CHECK],
            ["table public.orders was made; take it back: DROP TABLE public.orders"],
            id="a table, and what is in it goes with it",
        ),
        pytest.param(
            [ORDERS],
            [ORDERS, NOTE],
            [
                "column note of public.orders was made (text NOT NULL); take it back: "
                "ALTER TABLE public.orders DROP COLUMN note"
            ],
            id="a column",
        ),
        pytest.param(
            [ORDERS],
            [ORDERS, INDEX],
            ["index public.by_day of public.orders was made; take it back: DROP INDEX CONCURRENTLY public.by_day"],
            id="an index",
        ),
        pytest.param(
            [ORDERS],
            [ORDERS, BROKEN],
            [
                "index public.by_day of public.orders is INVALID, for its build didn't end; finish it: REINDEX INDEX CONCURRENTLY "
                "public.by_day; or take it back: DROP INDEX CONCURRENTLY public.by_day"
            ],
            id="an index whose build was cut off",
        ),
        pytest.param(
            [],
            [ORDERS, BROKEN],
            [
                "table public.orders was made; take it back: DROP TABLE public.orders",
                "index public.by_day of public.orders is INVALID, for its build didn't end; finish it: REINDEX INDEX CONCURRENTLY "
                "public.by_day; or take it back: DROP INDEX CONCURRENTLY public.by_day",
            ],
            id="such an index of a new table",
        ),
        pytest.param(
            [ORDERS, BROKEN],
            [ORDERS, BROKEN],
            [
                "index public.by_day of public.orders was invalid before already; finish it: REINDEX INDEX CONCURRENTLY "
                "public.by_day; or take it back: DROP INDEX CONCURRENTLY public.by_day"
            ],
            id="an index that an earlier one left",
        ),
        pytest.param(
            [ORDERS],
            [ORDERS, UNPROVEN],
            [
                "constraint positive of public.orders was made (CHECK ((total > 0)) NOT VALID), not validated; finish it: "
                "ALTER TABLE public.orders VALIDATE CONSTRAINT positive; or take it back: ALTER TABLE public.orders DROP CONSTRAINT positive"
            ],
            id="a constraint that nobody proved",
        ),
        pytest.param(
            [ORDERS, NOTE, INDEX, CHECK],
            [ORDERS],
            [
                "column note of public.orders (text NOT NULL) is gone; what was in it is in a backup at most",
                "constraint positive of public.orders is gone; make it again: "
                "ALTER TABLE public.orders ADD CONSTRAINT positive CHECK ((total > 0))",
                "index public.by_day of public.orders is gone; make it again: CREATE INDEX by_day ON public.orders USING btree (day)",
            ],
            id="what is gone",
        ),
        pytest.param(
            [ORDERS, NOTE],
            [],
            ["table public.orders is gone; the migration or a backup says what it was"],
            id="a table is gone with all that was in it",
        ),
        pytest.param(
            [ORDERS, NOTE],
            [ORDERS, Thing("column", "note", "public.orders", "text")],
            ["column note of public.orders was text NOT NULL, and is text"],
            id="a column is another",
        ),
        pytest.param(
            [Thing("view", "public.v", "", "a"), Thing("function", "public.f(integer)", "", "a")],
            [Thing("view", "public.v", "", "b"), Thing("function", "public.f(integer)", "", "a")],
            ["view public.v was changed"],
            id="a view is another",
        ),
        pytest.param(
            [ORDERS],
            [
                ORDERS,
                Thing("trigger", "t", "public.orders", "x"),
                Thing("function", "public.f(integer)", "", "x"),
                Thing("schema", '"Odd"'),
            ],
            [
                'schema "Odd" was made; take it back: DROP SCHEMA "Odd"',
                "trigger t of public.orders was made; take it back: DROP TRIGGER t ON public.orders",
                "function public.f(integer) was made; take it back: DROP FUNCTION public.f(integer)",
            ],
            id="in the order in which people read",
        ),
    ],
)
def test_what_was_left(before: list[Thing], after: list[Thing], lines: list[str]) -> None:
    assert find_left(Look(before), Look(after)) == lines


def test_a_statement_that_still_runs_is_named() -> None:
    session = {"pid": 7, "state": "active", "seconds": 12.4, "query": "CREATE  INDEX\n" + "x" * 300}
    (line,) = find_left(Look([]), Look([], [session]))
    assert line.startswith("pid 7 is still there, active for 12 s: CREATE INDEX xxx")
    assert line.endswith("x…; end it: SELECT pg_terminate_backend(7)")


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        pytest.param(
            {},
            [
                "pid 8, psql of orders, idle in transaction for 64 s, holds AccessShareLock on public.a, ShareLock on public.b"
            ],
            id="for long",
        ),
        pytest.param({"seconds": 0.2}, [], id="a request"),
        pytest.param(
            {"seconds": None, "state": None, "application": "", "user": "postgres"},
            [
                "pid 8, without a name of postgres, in a state that its role alone sees, holds "
                "AccessShareLock on public.a, ShareLock on public.b"
            ],
            id="another role's",
        ),
    ],
)
def test_who_was_in_the_way(changes: dict[str, Any], lines: list[str]) -> None:
    locks = ["ShareLock on public.b", "AccessShareLock on public.a"]
    entry = {
        "pid": 8,
        "user": "orders",
        "application": "psql",
        "state": "idle in transaction",
        "seconds": 64.1,
        "locks": locks,
    }
    assert find_holders(Look([], [], [{**entry, **changes}])) == lines


def test_a_look_is_read_as_it_was_asked_for() -> None:
    assert "application_name = $$nectar-alice-migrate$$" in look_query("nectar-$alice-migrate")
    thing = {"kind": "table", "name": "public.orders", "table": "", "definition": "", "flaw": ""}
    assert read_look({"things": [thing], "running": [], "holding": []}).things == [ORDERS]
    with pytest.raises(SchemaError, match="can't be read"):
        read_look({"things": []})
