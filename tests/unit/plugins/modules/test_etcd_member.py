# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A member that comes into its cluster; the cluster is a small server on the loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import etcd_member


class Cluster:
    """A cluster that answers as db1, and the server of db3 that is to come in."""

    def __init__(self, server: Any, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.server, self.capsys = server, capsys
        self.data, self.environment = place / "data", place / "join.env"
        self.members = [
            {"ID": str(number), "name": f"db{number}", "peerURLs": [f"https://{address}:2380"]}
            for number, address in ((1, "127.0.0.1"), (2, "127.0.0.2"), (3, "127.0.0.3"))
        ]
        server.answer = self.answer

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/remove"):
            self.members = [member for member in self.members if member["ID"] != body["ID"]]
        elif path.endswith("/add"):
            self.members.append({"ID": "9", "peerURLs": body["peerURLs"]})
        return 200, {"members": self.members}

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "name": "db3",
            "members": {"db1": "127.0.0.1", "db2": "127.0.0.2", "db3": "127.0.0.3"},
            "data_directory": str(self.data),
            "environment_file": str(self.environment),
            "ca_file": self.server.cert_file,
            "cert_file": self.server.cert_file,
            "key_file": self.server.key_file,
            "client_port": self.server.port,
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            etcd_member.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def changes(self) -> list[str]:
        """Return what was asked of the cluster, other than its members."""
        return [path.rsplit("/", 1)[1] for method, path, body in self.server.asked if not path.endswith("/list")]


@pytest.fixture
def cluster(json_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cluster:
    return Cluster(json_server, tmp_path, capsys)


def test_four_runs_of_an_empty_member(cluster: Cluster) -> None:
    foreseen = cluster.run(check=True)
    assert (foreseen["changed"], foreseen["state"], foreseen["removed"]) == (True, "joining", ["3"])
    assert (cluster.changes(), cluster.environment.exists()) == ([], False)

    assert cluster.run()["diff"] == foreseen["diff"]
    assert cluster.changes() == ["remove", "add"]
    assert cluster.environment.read_text() == (
        "ETCD_INITIAL_CLUSTER_STATE=existing\n"
        "ETCD_INITIAL_CLUSTER=db1=https://127.0.0.1:2380,db2=https://127.0.0.2:2380,db3=https://127.0.0.3:2380\n"
    )

    assert cluster.run()["changed"] is False
    assert cluster.run(check=True)["changed"] is False
    assert cluster.changes() == ["remove", "add"]


def test_a_member_with_data_asks_nobody(cluster: Cluster) -> None:
    (cluster.data / "member").mkdir(parents=True)
    assert cluster.run()["state"] == "present"
    assert cluster.server.asked == []


def test_where_no_cluster_answers_the_member_is_new(cluster: Cluster) -> None:
    result = cluster.run(client_port=1)
    assert (result["changed"], result["state"]) == (False, "new")


def test_a_member_that_lives_is_not_replaced(cluster: Cluster) -> None:
    result = cluster.run(members={"db1": "127.0.0.2", "db2": "127.0.0.4", "db3": "127.0.0.1"})
    assert result["failed"] is True
    assert "is empty, yet etcd answers at" in result["msg"]
    assert cluster.changes() == []
