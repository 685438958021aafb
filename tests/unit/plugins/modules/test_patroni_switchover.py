# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order that Patroni gets, and when it gets none; Patroni is a small server on the loopback, `runuser` a stand-in that plays PostgreSQL."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import patroni_switchover

RUNUSER = """#!/bin/sh
cat > {place}/sql
if grep -q CHECKPOINT {place}/sql; then
  cat {place}/sql >> {place}/ran
  if [ -e {place}/slow ]; then sleep 1; fi
  if [ -e {place}/busy ]; then echo "ERROR: clients still have transactions open" >&2; exit 3; fi
else
  cat {place}/state
fi
"""


class Cluster:
    """Three members of which db1 leads, and the module that asks them."""

    def __init__(
        self, place: Path, server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.place, self.server, self.capsys = place, server, capsys
        runuser = place / "bin" / "runuser"
        runuser.parent.mkdir()
        runuser.write_text(RUNUSER.format(place=place))
        runuser.chmod(0o755)
        monkeypatch.setenv("PATH", f"{runuser.parent}:/usr/bin:/bin")
        self.leader, self.refuses = "db1", False
        server.answer = self.answer
        self.stream("db2", "db3")

    def stream(self, *names: str) -> None:
        """Let these standbys stream."""
        replicas = [{"name": name, "state": "streaming", "lag": 0} for name in names]
        state = {"standby": False, "directory": str(self.place), "replicas": replicas, "transaction": None}
        (self.place / "state").write_text(json.dumps(state))

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/config":
            return 200, {"synchronous_mode": "quorum", "synchronous_mode_strict": True}
        if path == "/cluster":
            roles = {self.leader: ("leader", "running")}
            members = [(name, *roles.get(name, ("quorum_standby", "streaming"))) for name in ("db1", "db2", "db3")]
            return 200, {"members": [{"name": name, "role": role, "state": state} for name, role, state in members]}
        assert (method, path, body["leader"]) == ("POST", "/switchover", self.leader)
        if self.refuses:
            return 503, "Switchover failed"
        self.leader = body.get("candidate", "db3")
        return 200, f'Successfully switched over to "{self.leader}"'

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "servers": ["127.0.0.1"],
            "port": self.server.port,
            "ca_file": self.server.cert_file,
            "username": "patroni",
            "password": "hush",
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            patroni_switchover.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def ordered(self) -> list[str]:
        """Return who was to take over; empty where Patroni was to see to that."""
        return [body.get("candidate", "") for _method, _path, body in self.server.changes()]


@pytest.fixture
def cluster(
    tmp_path: Path, json_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Cluster:
    return Cluster(tmp_path, json_server, capsys, monkeypatch)


def test_check_mode_names_who_may_take_over(cluster: Cluster) -> None:
    foreseen = cluster.run(check=True)
    assert (foreseen["leader"], foreseen["candidates"]) == ("db1", ["db2", "db3"])
    assert foreseen["begin"] > time.time()
    assert cluster.ordered() == [] and not (cluster.place / "ran").exists()

    done = cluster.run()
    assert (done["leader"], done["candidate"], done["changed"]) == ("db1", "db3", True)
    assert cluster.ordered() == [""]
    assert (cluster.place / "ran").read_text().count("CHECKPOINT") == 1


@pytest.mark.parametrize(
    ("streaming", "arguments", "ordered", "says"),
    [
        pytest.param(("db2",), {}, [], "The lead stays with db1: 1 of 2 replicas stream", id="one of two streams"),
        pytest.param(("db2",), {"force": True}, ["db2"], "", id="and it is forced"),
        pytest.param((), {"force": True}, [], "no standby of db1 holds", id="none can be forced"),
        pytest.param(("db2", "db3"), {"candidate": "db3"}, ["db3"], "", id="named"),
        pytest.param(("db2", "db3"), {"at": 5.0}, [], "give it more notice", id="too late"),
    ],
)
def test_when_the_lead_is_handed_over(
    cluster: Cluster, streaming: tuple[str, ...], arguments: dict[str, Any], ordered: list[str], says: str
) -> None:
    cluster.stream(*streaming)
    result = cluster.run(**arguments)
    assert cluster.ordered() == ordered
    assert result.get("failed", False) is (ordered == [])
    assert says in result.get("msg", "")


def test_open_transactions_leave_all_as_it_was(cluster: Cluster) -> None:
    (cluster.place / "busy").touch()
    result = cluster.run()
    assert (result["failed"], cluster.ordered()) == (True, [])
    assert "clients still have transactions open" in result["msg"]


def test_calm_that_comes_when_poolers_let_go_is_too_late(cluster: Cluster) -> None:
    (cluster.place / "slow").touch()
    result = cluster.run(quiet=0.0)
    assert (result["failed"], cluster.ordered()) == (True, [])
    assert "poolers are about to let go" in result["msg"]


def test_a_refusal_of_patroni_is_told(cluster: Cluster) -> None:
    cluster.refuses = True
    result = cluster.run()
    assert result["failed"] is True
    assert "Switchover failed" in result["msg"]
