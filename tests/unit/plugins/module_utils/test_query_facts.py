# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused before anything is asked, what is sent, and what is read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Index
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import (
    SCHEMA,
    Task,
    read_facts,
    read_outcome,
    read_owner,
    read_statements,
    session,
)

SERVER = {"version": 17, "standby": False, "statements": True, "hypopg": True, "owner": "alice"}


@pytest.mark.parametrize(
    ("lack", "said"),
    [
        pytest.param({"version": 15}, "PostgreSQL 15 can't explain .* Debian 12 has not", id="an old version"),
        pytest.param({"standby": True}, "ask the primary", id="a standby"),
        pytest.param({"statements": False}, "lacks the extension pg_stat_statements", id="nothing is counted"),
        pytest.param({"hypopg": False}, r"lacks HypoPG \(package postgresql-17-hypopg\)", id="no HypoPG"),
        pytest.param({"owner": None}, "there is no database 'shop'", id="no database"),
    ],
)
def test_what_the_server_lacks_is_refused_by_name(lack: dict[str, Any], said: str) -> None:
    with pytest.raises(DatabasesError, match=said):
        read_owner({**SERVER, **lack}, "shop")


def test_the_owner_is_found() -> None:
    assert read_owner(SERVER, "shop") == "alice"


def test_statements_come_by_their_total() -> None:
    rows = [
        {"id": "1", "text": "SELECT 1", "calls": 4, "total": 2.0, "rows": 8},
        {"id": "2", "text": "SELECT 2", "calls": 1, "total": 9.5, "rows": 0},
    ]
    statements, seconds = read_statements({"counted": 60.5, "statements": rows})
    assert ([s.id for s in statements], statements[1].mean, statements[1].rows_per_call, seconds) == (
        ["2", "1"],
        0.5,
        2.0,
        60.5,
    )


TASK = Task("1", "SELECT 'it''s' FROM t WHERE a = $1", (Index("public", "t", ("a",)),))


@pytest.mark.parametrize(
    ("schema", "tasks", "makes"),
    [
        pytest.param("", [TASK], True, id="made for the moment"),
        pytest.param("public", [TASK], False, id="there already"),
        pytest.param("", [Task("1", "SELECT 1")], False, id="no index to try"),
    ],
)
def test_hypopg_is_made_where_it_is_needed(schema: str, tasks: list[Task], makes: bool) -> None:
    assert (f"CREATE EXTENSION hypopg SCHEMA {SCHEMA}" in session("alice", schema, tasks)) is makes


def test_statements_are_explained_as_the_owner_and_nothing_stays() -> None:
    sql = session('al"ice', "", [TASK])
    assert 'ALTER FUNCTION pg_temp.nectar_explain(text) OWNER TO "al""ice";' in sql
    assert "SECURITY DEFINER" in sql
    assert sql.index("SET TRANSACTION READ ONLY") < sql.index("SAVEPOINT one")
    assert sql.rstrip().endswith("ROLLBACK;")
    assert "'SELECT ''it''''s'' FROM t WHERE a = $1'" in sql


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        pytest.param([{"Plan": {}}], "", id="a plan"),
        pytest.param({"error": 'relation "t" does not exist'}, 'relation "t" does not exist', id="none"),
    ],
)
def test_outcomes(plan: Any, error: str) -> None:
    outcome = read_outcome({"id": "1", "names": ["<1>btree_t_a"], "sizes": [8192], "plan": plan})
    assert (outcome.error, outcome.names, outcome.sizes) == (error, ("<1>btree_t_a",), (8192,))


def test_facts() -> None:
    column = {
        "name": "id",
        "type": "integer",
        "width": 4,
        "distinct": -1,
        "nulls": 0,
        "seen": True,
        "bounds": ["1", "9"],
        "correlation": 0.5,
    }
    table = {
        "schema": "public", "name": "t", "kind": "r", "rows": -1, "size": 8192, "inserts": 3, "updates": None, "hot": None,
        "deletes": 0, "live": 3, "dead": 0, "modified": 3, "columns": [column],
    }  # fmt: skip
    sequences = [
        {"name": "t_id_seq", "last": 7, "most": 2**63 - 1, "type": "int4"},
        {"name": "other", "last": None, "most": 9, "type": None},
    ]
    writes = {"commits": 7, "checkpoint": 900, "images": False}
    facts = read_facts(
        {"counted": 5, "hypopg": None, "indexes": [], "tables": [table], "sequences": sequences, **writes}
    )
    assert (facts.commits, facts.checkpoint, facts.images) == (7, 900.0, False)
    found = facts.tables["public.t"]
    assert (found.rows, found.updates, found.analyzed, found.columns["id"].bounds) == (0, 0, True, ("1", "9"))
    assert found.columns["id"].correlation == 0.5
    # The column ends before the sequence does.
    assert [(s.name, s.last, s.most) for s in facts.sequences] == [("t_id_seq", 7, 2**31 - 1)]
