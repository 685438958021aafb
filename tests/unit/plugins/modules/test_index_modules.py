# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is advised for a database, and built in it; `runuser` is a stand-in that plays a server with one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.modules import database_indexes, query_advice
from ansible_collections.nectar.backend.tests.unit.plugins.modules import postgresql_world

# What it is asked is told apart by what only that query names. An index is there once it was created, and is used from then on.
PROGRAM = """#!{python}
import json, pathlib, re, sys
place = pathlib.Path("{place}")
server = json.loads((place / "server").read_text())
sql = sys.stdin.read()

def plan(text, indexes):
    used = bool(indexes) or bool(server["facts"]["indexes"] and server["helps"])
    return [{{"Plan": {{
        "Node Type": "Index Scan" if used else "Seq Scan", "Schema": "public", "Relation Name": "orders", "Alias": "orders",
        "Total Cost": 5.0 if used else 5000.0, "Plan Rows": 1, "Output": ["orders.id"],
        "Index Cond" if used else "Filter": "(orders.customer_id = $1)",
        **({{"Index Name": "<1>" if indexes else server["built"]["name"]}} if used else {{}})}}}}]

if "pg_available_extensions" in sql:
    print(json.dumps(server["about"]))
elif "pg_stat_statements_info" in sql:
    print(json.dumps(server["counted"]))
elif "pg_temp.nectar_explain(query text)" in sql:
    for line in re.findall(r"SAVEPOINT one;.SELECT (.*?);.ROLLBACK TO one;", sql, re.S):
        names = ["<1>"] if "CREATE INDEX" in line else []
        print(json.dumps({{"names": names, "sizes": [8192] * len(names), "plan": plan(line, names)}}))
elif "pg_sequence" in sql:
    print(json.dumps(server["facts"]))
elif "SHOW data_directory" in sql:
    print(place)
else:
    with (place / "ran").open("a") as ran:
        ran.write(sql)
    if "CREATE INDEX" in sql:
        if server["locked"]:
            server["facts"]["indexes"] = [{{**server["built"], "valid": False}}]
        else:
            server["facts"]["indexes"] = [server["built"]]
    elif "DROP INDEX" in sql:
        server["facts"]["indexes"] = []
    (place / "server").write_text(json.dumps(server))
    if "CREATE INDEX" in sql and server["locked"]:
        sys.exit("psql: error: canceling statement due to lock timeout")
"""
CLUSTER = {"commits": 100, "checkpoint": 300, "images": True}
COLUMN = {"type": "bigint", "width": 8, "distinct": -1, "nulls": 0, "seen": True, "bounds": None, "correlation": 0}
TABLE = {
    "schema": "public", "name": "orders", "kind": "r", "rows": 100_000, "size": 2**24, "inserts": 100, "updates": 0, "hot": 0,
    "deletes": 0, "live": 100_000, "dead": 0, "modified": 0,
    "columns": [{"name": name, **COLUMN} for name in ("id", "customer_id")],
}  # fmt: skip
BUILT = {
    "schema": "public", "table": "orders", "unique": False, "valid": True, "constraint": False, "method": "btree", "size": 8192,
    "scans": 0, "columns": [{"text": "customer_id", "option": 0, "is_default": True}], "include": [], "where": "",
}  # fmt: skip
SLOW = {
    "id": "1",
    "text": "SELECT id FROM orders WHERE customer_id = $1",
    "calls": 100,
    "total": 60_000,
    "rows": 100,
}
DECLARED = [{"table": "orders", "columns": ["customer_id"]}]


class Server(postgresql_world.Server):
    """A PostgreSQL whose table `orders` is read by customer, slowly."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(PROGRAM.replace("{python}", sys.executable), place, capsys, monkeypatch)
        name = database_indexes.read_index(DECLARED[0]).name
        self.state: dict[str, Any] = {
            "about": {"version": 17, "standby": False, "statements": True, "hypopg": True, "owner": "alice"},
            "counted": {"counted": 3600, "statements": [SLOW]},
            "facts": {"counted": 3600, "hypopg": None, "indexes": [], "tables": [TABLE], "sequences": [], **CLUSTER},
            "built": {**BUILT, "name": name},
            "locked": False,
            "helps": True,
        }
        self.save()

    def save(self) -> None:
        (self.place / "server").write_text(json.dumps(self.state))

    def run(self, module: ModuleType, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module as Ansible would."""
        return self.ask(module, database="alice", **arguments, _ansible_check_mode=check)

    def build(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        return self.run(database_indexes, check, **{"indexes": DECLARED, "bake": 0, "attempts": 1, **arguments})


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, capsys, monkeypatch)


def test_what_is_slow_is_advised_as_the_registry_declares_it_and_nothing_changes(server: Server) -> None:
    found = server.run(query_advice)
    assert (found["changed"], server.ran()) == (False, "")
    assert found["advice"]["entries"] == DECLARED
    assert found["lines"][0].startswith("alice: 1 slow statement")


def test_a_loss_of_writes_that_is_no_share_is_refused(server: Server) -> None:
    result = server.run(query_advice, write_loss_max=5)
    assert "write_loss_max is 5, expected a share from 0 to 1" in result["msg"]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        pytest.param({"version": 15}, "PostgreSQL 15 can't explain statements without their values", id="Debian 12"),
        pytest.param({"standby": True}, "this server is a standby", id="a standby"),
        pytest.param({"hypopg": False}, "lacks HypoPG", id="no HypoPG"),
        pytest.param({"owner": None}, "there is no database 'alice'", id="no such database"),
    ],
)
def test_a_server_that_can_not_advise_says_why(server: Server, about: dict[str, Any], said: str) -> None:
    server.state["about"] |= about
    server.save()
    assert said in server.run(query_advice)["msg"]


def test_four_runs(server: Server) -> None:
    foreseen = server.build(check=True)
    assert (foreseen["changed"], foreseen["built"], server.ran()) == (True, ["orders (customer_id)"], "")
    done = server.build()
    assert (done["changed"], done["built"], done["removed"]) == (True, foreseen["built"], [])
    assert "CREATE INDEX CONCURRENTLY" in server.ran() and "SET lock_timeout = '10s'" in server.ran()
    before = server.ran()
    assert server.build()["changed"] is False
    assert server.build(check=True)["changed"] is False
    assert server.ran() == before


def test_what_nothing_uses_is_removed_again(server: Server) -> None:
    server.state["helps"] = False
    server.save()
    result = server.build()
    assert (result["built"], result["removed"]) == ([], ["orders (customer_id)"])
    assert server.ran().index("CREATE INDEX CONCURRENTLY") < server.ran().index("DROP INDEX CONCURRENTLY")


def test_what_a_lock_left_unfinished_is_dropped(server: Server) -> None:
    server.state["locked"] = True
    server.save()
    result = server.build()
    assert "lock timeout" in result["msg"] and result["unbuilt"]
    assert "DROP INDEX CONCURRENTLY" in server.ran()
    assert json.loads((server.place / "server").read_text())["facts"]["indexes"] == []


def test_a_table_that_is_not_there_is_refused_before_anything_is_built(server: Server) -> None:
    result = server.build(indexes=[{"table": "gone", "columns": ["id"]}])
    assert "gone" in result["msg"] and server.ran() == ""
