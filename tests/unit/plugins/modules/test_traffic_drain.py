# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application server that gets no new requests for a while; HAProxy's master is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils import traffic_host
from ansible_collections.nectar.backend.plugins.module_utils.traffic import render_fragment
from ansible_collections.nectar.backend.plugins.modules import traffic_drain

SERVES = {"app1-blue": "100 ready", "app1-green": "0 maint", "app2-blue": "100 ready", "app2-green": "0 maint"}
DRAINED = {**SERVES, "app1-blue": "0 ready"}


class Balancer:
    """A load balancer in a folder."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], master: Any) -> None:
        self.place, self.capsys, self.master = place, capsys, master

    def run(self, host: str = "app1", check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "host": host,
            "deployments": ["production", "alice", "bob"],
            "haproxy_directory": str(self.place / "haproxy"),
            "state_directory": str(self.place / "state"),
            "master_socket": self.master.path,
            "lock_file": str(self.place / "lock"),
            **arguments,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            traffic_drain.main()
        return dict(json.loads(self.capsys.readouterr().out))

    @property
    def weights(self) -> Any:
        return self.master.weights("be_production")[0]


@pytest.fixture
def balancer(tmp_path: Path, capsys: pytest.CaptureFixture[str], master: Any) -> Balancer:
    """A load balancer with a deployment on two servers, one on a server alone, and none of bob's."""
    (tmp_path / "haproxy" / "conf.d").mkdir(parents=True)
    for name, servers in (("production", ("app1", "app2")), ("alice", ("app1",))):
        deployment = {
            "name": name,
            "server_name": f"{name}.nectar.test",
            "ready_path": "/readyz",
            "ports": {"blue": 10002, "green": 10003},
            "addresses": {server: f"192.0.2.{number}" for number, server in enumerate(servers)},
        }
        fragment = render_fragment(deployment, "blue", 8010, 64)
        (tmp_path / "haproxy" / "conf.d" / f"60-{name}.cfg").write_text(fragment)
    # The stand-in has read its files when it was made; as after a reload, it does so again.
    (tmp_path / "log").write_text("reload\n")
    return Balancer(tmp_path, capsys, master)


def test_four_runs_each_way(balancer: Balancer) -> None:
    assert (balancer.run(check=True)["changed"], balancer.weights) == (True, SERVES)
    result = balancer.run()
    assert (result["changed"], result["alone"], result["left"], balancer.weights) == (True, ["alice"], 0, DRAINED)
    assert balancer.master.weights("be_alice")[0]["app1-blue"] == "100 ready"
    assert balancer.run()["changed"] is False
    assert balancer.run(check=True)["changed"] is False
    assert balancer.run(state="serving", check=True)["changed"] is True
    assert balancer.weights == DRAINED
    assert (balancer.run(state="serving")["changed"], balancer.weights) == (True, SERVES)
    assert balancer.run(state="serving")["changed"] is False
    assert balancer.run(state="serving", check=True)["changed"] is False


def test_requests_that_take_long_are_told(balancer: Balancer, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "# pxname,svname,scur,status,\nbe_production,app1-blue,2,UP,\nbe_alice,app1-blue,5,UP,\n"
    ask = traffic_drain.ask_master
    monkeypatch.setattr(
        traffic_drain,
        "ask_master",
        lambda balancer, command: table if command.endswith("show stat") else ask(balancer, command),
    )
    workers = len(balancer.master.weights("be_production"))
    assert balancer.run(timeout=0)["left"] == 2 * len(balancer.master.workers) >= workers


def test_a_silent_haproxy_is_named(balancer: Balancer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_host, "SETTLE_SECONDS", 0.1)
    balancer.master.deaf_to = "weight"
    result = balancer.run()
    assert result["failed"] is True
    assert "app1 can't be drained: HAProxy does not do within" in result["msg"]
