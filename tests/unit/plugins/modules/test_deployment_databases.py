# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Statements that reach PostgreSQL only when something is missing; `runuser` is a stand-in that plays the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import make_verifier
from ansible_collections.nectar.backend.plugins.modules import deployment_databases
from ansible_collections.nectar.backend.tests.unit.plugins.modules import postgresql_world

SECRETS = ("pencil", "SCRAM-SHA-256")


class Server(postgresql_world.Server):
    """A PostgreSQL that has alice once the statements ran."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(postgresql_world.ONE_ANSWER, place, capsys, monkeypatch)
        role = {
            "name": "alice",
            "password": make_verifier("pencil", b"salt"),
            "login": True,
            "powers": [],
            "statement_timeout": "",
        }
        self.write("state", [], ["old"])
        self.write("after", [{**role, "connection_limit": 20}], ["old", "alice"])

    def write(self, file: str, roles: list[dict[str, Any]], names: list[str]) -> None:
        databases = [{"name": name, "owner": name, "is_open": False} for name in (*names, "postgres", "template1")]
        state = {
            "in_recovery": False,
            "roles": roles,
            "databases": databases,
            "extensions": [],
            "admitted": [],
            "weakened": [{"role": "old", "database": "", "value": "off"}],
        }
        (self.place / file).write_text(json.dumps(state))

    def run(self, check: bool = False) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "deployments": [{"name": "alice", "database": "alice", "role": "alice", "password": "pencil"}],
            "connection_limit": 20,
        }
        return self.ask(deployment_databases, SECRETS, _ansible_check_mode=check, **given)


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, capsys, monkeypatch)


def test_four_runs(server: Server) -> None:
    done = postgresql_world.run_four_times(server)
    assert done["statements"][1:] == ["create the database alice", "close the database alice"]
    assert "PASSWORD 'SCRAM-SHA-256$4096:" in server.ran() and "pencil" not in server.ran()
    assert server.ran().startswith("SET log_min_error_statement = panic;")


def test_databases_that_nobody_claims_are_told_and_kept(server: Server) -> None:
    assert server.run()["unclaimed"] == ["old"]
    assert "DROP" not in server.ran()


def test_a_role_that_weakens_its_commits_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where warnings go depends on what else was imported into this process.
    warnings: list[str] = []
    monkeypatch.setattr(deployment_databases.AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    assert server.run()["weakened"] == ["the role old has synchronous_commit off"]
    assert "the role old has synchronous_commit off" in warnings[0]


def test_an_error_is_told_without_the_statement(server: Server) -> None:
    (server.place / "broken").write_text("connection refused")
    result = server.run()
    assert result["failed"] is True
    assert result["msg"].startswith("Cannot make the deployments' databases: psql ended with 3: ")
    assert "connection refused" in result["msg"]
