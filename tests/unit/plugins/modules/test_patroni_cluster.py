# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting for a cluster that serves; Patroni is a small server on the loopback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import patroni_cluster

LEADER = {"name": "db1", "role": "leader", "state": "running"}
REPLICA = {"name": "db2", "role": "replica", "state": "streaming"}
QUORUM = {"name": "db2", "role": "quorum_standby", "state": "streaming"}


class Patroni:
    """A Patroni that grows from one view of its members to the next, each time that it is asked."""

    def __init__(self, server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self.capsys = server, capsys
        self.views: list[list[dict[str, Any]]] = []
        server.answer = self.answer
        monkeypatch.setattr(patroni_cluster, "PAUSE", 0)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/config":
            return 200, {"synchronous_mode_strict": True}
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        return 200, {"members": view, "scope": "lab"}

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "servers": ["127.0.0.1"],
            "port": self.server.port,
            "ca_file": self.server.cert_file,
            "timeout": 20,
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            patroni_cluster.main()
        return dict(json.loads(self.capsys.readouterr().out))


@pytest.fixture
def patroni(json_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Patroni:
    return Patroni(json_server, capsys, monkeypatch)


def test_waits_until_commits_are_acknowledged(patroni: Patroni) -> None:
    patroni.views = [[], [LEADER], [LEADER, REPLICA], [LEADER, QUORUM]]
    result = patroni.run(expect=["db1", "db2"])
    assert (result["changed"], result["leader"], result["lacks"]) == (False, "db1", [])
    assert [member["role"] for member in result["members"]] == ["leader", "quorum_standby"]


def test_what_is_lacking_when_time_is_up_is_named(patroni: Patroni) -> None:
    patroni.views = [[LEADER, QUORUM]]
    result = patroni.run(expect=["db3"], timeout=0)
    assert result["failed"] is True
    assert "db3 is not in the cluster" in result["msg"]


def test_check_mode_does_not_wait(patroni: Patroni) -> None:
    patroni.views = [[LEADER]]
    result = patroni.run(check=True, timeout=3600)
    assert (result["leader"], len(result["lacks"])) == ("db1", 1)


def test_check_mode_foresees_bare_servers(patroni: Patroni) -> None:
    result = patroni.run(check=True, port=1)
    assert (result["changed"], result["leader"], result["members"]) == (False, "", [])


def test_settings_that_wait_for_a_restart_are_told(patroni: Patroni) -> None:
    patroni.views = [[LEADER, {**QUORUM, "pending_restart": True}]]
    assert patroni.run()["pending_restart"] == ["db2"]
