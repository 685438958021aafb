# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster's own logins; `runuser` is a stand-in that plays PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import make_verifier
from ansible_collections.nectar.backend.plugins.modules import cluster_logins
from ansible_collections.nectar.backend.tests.unit.plugins.modules import postgresql_world

SECRETS = ("pencil", "crayon", "SCRAM-SHA-256")


class Server(postgresql_world.Server):
    """A primary that knows the standbys' first login, and both once the statements ran."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(postgresql_world.ONE_ANSWER, place, capsys, monkeypatch)
        monkeypatch.setattr(cluster_logins, "PAUSE", 0)
        (place / ".s.PGSQL.5432").touch()
        self.write("state", {"replicator": "pencil"})
        self.write("after", {"replicator": "pencil", "replicator-2": "crayon"})

    def write(self, file: str, passwords: dict[str, str], streams_as: str = "", in_recovery: bool = False) -> None:
        roles = [
            {
                "name": name,
                "password": make_verifier(password, b"salt"),
                "login": True,
                "replication": True,
                "rewind": False,
            }
            for name, password in passwords.items()
        ]
        state = {"in_recovery": in_recovery, "roles": roles, "standbys": [], "streams_as": streams_as}
        (self.place / file).write_text(json.dumps(state))

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        login = {
            "role": "replicator",
            "purpose": "replication",
            "login": "replicator-2",
            "password": "crayon",
            "former_password": "pencil",
        }
        given = {"logins": [login], "socket_directory": str(self.place), **arguments}
        return self.ask(cluster_logins, SECRETS, _ansible_check_mode=check, **given)


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, capsys, monkeypatch)


def test_four_runs(server: Server) -> None:
    postgresql_world.run_four_times(server)
    assert "PASSWORD 'SCRAM-SHA-256$4096:" in server.ran()


def test_a_standby_is_waited_for_until_it_streams_by_its_new_login(server: Server) -> None:
    server.write("state", {}, "replicator", in_recovery=True)
    server.write("next", {}, "replicator-2", in_recovery=True)
    done = server.run(await_login="replicator-2")
    assert (done["changed"], done["turned"]) == (False, True)
    assert not (server.place / "next").exists()


def test_a_standby_that_does_not_take_it_is_told(server: Server) -> None:
    server.write("state", {}, "replicator", in_recovery=True)
    done = server.run(await_login="replicator-2", timeout=0)
    assert done["failed"] is True
    assert "streams by replicator, expected by replicator-2" in done["msg"]


def test_where_no_server_runs_there_is_nothing_to_do(server: Server) -> None:
    (server.place / ".s.PGSQL.5432").unlink()
    assert server.run() == {"changed": False, "statements": [], "standbys": {}, "turned": False} | {
        key: value for key, value in server.run().items() if key == "invocation"
    }
