# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Statements that reach PostgreSQL only when something is missing; `runuser` is a stand-in that plays the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils.databases import make_verifier
from ansible_collections.nectar.backend.plugins.modules import deployment_databases

RUNUSER = """#!/bin/sh
cat > {place}/sql
if [ -e {place}/broken ]; then
  echo "psql: error: $(cat {place}/broken)" >&2; echo "STATEMENT: PASSWORD 'SCRAM-SHA-256$1'" >&2; exit 3
fi
if grep -q json_build_object {place}/sql; then cat {place}/state; else cat {place}/sql >> {place}/ran; cp {place}/after {place}/state; fi
"""


class Server:
    """A PostgreSQL that has alice once the statements ran."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.capsys = place, capsys
        runuser = place / "bin" / "runuser"
        runuser.parent.mkdir()
        runuser.write_text(RUNUSER.format(place=place))
        runuser.chmod(0o755)
        monkeypatch.setenv("PATH", f"{runuser.parent}:/usr/bin:/bin")
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
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            deployment_databases.main()
        out = self.capsys.readouterr().out
        assert "pencil" not in out and "SCRAM-SHA-256" not in out
        return dict(json.loads(out))

    def ran(self) -> str:
        """Return the statements that changed something."""
        path = self.place / "ran"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, capsys, monkeypatch)


def test_four_runs(server: Server) -> None:
    foreseen = server.run(check=True)
    assert foreseen["changed"] is True
    assert server.ran() == ""

    done = server.run()
    assert done["statements"] == foreseen["statements"]
    assert done["statements"][1:] == ["create the database alice", "close the database alice"]
    assert "PASSWORD 'SCRAM-SHA-256$4096:" in server.ran() and "pencil" not in server.ran()
    assert server.ran().startswith("SET log_min_error_statement = panic;")

    before = server.ran()
    assert server.run()["changed"] is False
    assert server.run(check=True)["changed"] is False
    assert server.ran() == before


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
