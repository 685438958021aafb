# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A load balancer's files under switches that hold, are refused, and are taken back; `haproxy` and `systemctl` are stand-ins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils import traffic_host
from ansible_collections.nectar.backend.plugins.modules import deployment_traffic

HAPROXY = '#!/bin/sh\n! grep -q refuse-me $6/* || {{ echo "$6/60-production.cfg:4: unknown keyword" >&2; exit 1; }}\n'
SERVES_BLUE = {"app1-blue": "100 ready", "app1-green": "0 maint"}
SERVES_GREEN = {"app1-blue": "0 maint", "app1-green": "100 ready"}
SYSTEMCTL = '#!/bin/sh\necho "$@" >> {place}/log\n'


def deployment(
    name: str = "production", slot: str = "blue", generation: int = 1, ready_path: str = "/readyz"
) -> dict[str, Any]:
    """Return a planned deployment."""
    return {
        "name": name,
        "server_name": f"{name}.nectar.test",
        "ready_path": ready_path,
        "ports": {"blue": 10002, "green": 10003},
        "addresses": {"app1": "192.0.2.21"},
        "slot": slot,
        "generation": generation,
        "revision": f"r{generation}",
    }


class Balancer:
    """A load balancer in a folder, with HAProxy's master beside it."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], master: Any) -> None:
        self.place, self.capsys, self.master = place, capsys, master

    def run(self, *deployments: dict[str, Any], check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "deployments": list(deployments),
            "haproxy_directory": str(self.place / "haproxy"),
            "state_directory": str(self.place / "state"),
            "run_directory": str(self.place / "run"),
            "master_socket": self.master.path,
            "lock_file": str(self.place / "lock"),
            **arguments,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            deployment_traffic.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def files(self) -> dict[str, str]:
        """Return fragments, map and notes."""
        found = [path for name in ("haproxy", "state") for path in (self.place / name).rglob("*") if path.is_file()]
        return {path.name: path.read_text() for path in found}

    def reloads(self) -> int:
        """Return how often HAProxy was reloaded."""
        log = self.place / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def balancer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, master: Any
) -> Balancer:
    """A load balancer without deployments."""
    for name, text in (("haproxy", HAPROXY), ("systemctl", SYSTEMCTL)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.format(place=tmp_path))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "haproxy" / "conf.d").mkdir(parents=True)
    (tmp_path / "haproxy" / "haproxy.cfg").write_text(f"use {tmp_path}/haproxy/maps/slots.map\n")
    (tmp_path / "haproxy" / "conf.d" / "00-first.cfg").write_text("")
    return Balancer(tmp_path, capsys, master)


def test_four_runs(balancer: Balancer) -> None:
    bare = balancer.files()
    assert balancer.run(deployment(), check=True)["changed"] is True
    assert balancer.files() == bare
    assert balancer.run(deployment())["results"] == {"production": {"changed": True}}
    switched = balancer.files()
    assert "server app1-green 192.0.2.21:10003 weight 0 tcp-ut 2s disabled" in switched["60-production.cfg"]
    assert "production.nectar.test be_production\n" in switched["deployments.map"]
    assert "production.nectar.test blue\n" in switched["slots.map"]
    assert balancer.run(deployment())["changed"] is False
    assert balancer.run(deployment(), check=True)["changed"] is False
    assert (balancer.files(), balancer.reloads()) == (switched, 1)


def test_many_deployments_cost_one_reload(balancer: Balancer) -> None:
    balancer.run(deployment(), deployment("staging"), deployment("alice"))
    assert balancer.reloads() == 1


def test_what_haproxy_refuses_leaves_no_trace(balancer: Balancer) -> None:
    balancer.run(deployment())
    before = balancer.files()
    result = balancer.run(deployment(ready_path="/refuse-me", generation=2), deployment("staging"))
    assert [name for name, found in result["results"].items() if "unknown keyword" in found["error"]] == [
        "production",
        "staging",
    ]
    assert f"{balancer.place}/haproxy/conf.d/60-production.cfg:4" in result["results"]["staging"]["error"]
    assert (balancer.files(), balancer.reloads()) == (before, 1)


def test_a_revision_that_does_not_answer_is_taken_back(balancer: Balancer) -> None:
    balancer.run(deployment())
    before = balancer.files()
    # Nobody listens there, and the file of authorities is missing: nothing can be proven.
    result = balancer.run(
        deployment(slot="green", generation=2),
        verify=True,
        verify_deadline=0,
        verify_address="127.0.0.1:1",
        ca_file="/nowhere",
    )
    assert "https://production.nectar.test doesn't answer" in result["results"]["production"]["error"]
    assert balancer.files() == before
    assert balancer.master.weights("be_production") == [SERVES_BLUE]


def test_a_switch_can_be_taken_back_later(balancer: Balancer) -> None:
    balancer.run(deployment())
    before = balancer.files()
    balancer.run(deployment(slot="green", generation=2))
    assert balancer.run(deployment(slot="green", generation=2), revert=True)["changed"] is True
    assert balancer.files() == before
    assert balancer.run(deployment(slot="green", generation=2), revert=True)["changed"] is False
    assert balancer.reloads() == 1


def test_a_deployment_that_takes_no_requests_is_left_out(balancer: Balancer) -> None:
    assert balancer.run(deployment(ready_path=""))["results"] == {}


def test_a_switch_takes_no_reload_and_reaches_every_living_worker(balancer: Balancer) -> None:
    balancer.run(deployment())
    balancer.run(deployment("staging"))
    assert balancer.reloads() == 2
    result = balancer.run(deployment(slot="green", generation=2))
    assert (result["reloaded"], balancer.reloads()) == (False, 2)
    # A worker that is stopping takes no weights, and obeys the slots: the first one doesn't know the deployment at all.
    assert balancer.master.weights("be_production") == [SERVES_GREEN, SERVES_BLUE]
    assert [worker["slots"]["production.nectar.test"] for worker in balancer.master.workers[:2]] == ["green", "green"]


def test_the_new_slot_gets_requests_before_the_former_one_loses_them(balancer: Balancer) -> None:
    balancer.run(deployment())
    balancer.master.heard.clear()
    balancer.run(deployment(slot="green", generation=2))
    assert [order.split(maxsplit=3)[3] for order in balancer.master.heard if " server " in order] == [
        "be_production/app1-green weight 100",
        "be_production/app1-green state ready",
        "be_production/app1-blue weight 0",
        "be_production/app1-blue state maint",
    ]


def test_a_worker_that_strayed_is_told_again(balancer: Balancer) -> None:
    balancer.run(deployment())
    balancer.master.workers[0]["servers"]["be_production"]["app1-blue"] = (1, 0)
    assert balancer.run(deployment(), check=True)["changed"] is True
    assert balancer.run(deployment())["results"] == {"production": {"changed": True}}
    assert balancer.master.weights("be_production") == [SERVES_BLUE]
    assert balancer.run(deployment())["changed"] is False


def test_a_worker_that_does_not_obey_is_named(balancer: Balancer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_host, "SETTLE_SECONDS", 0.1)
    balancer.run(deployment())
    balancer.master.deaf_to = "app1-blue weight"
    message = balancer.run(deployment(slot="green", generation=2))["msg"]
    assert "worker 101 still owes set server be_production/app1-blue weight 0" in message


def test_a_reload_that_a_run_still_owed_is_made_up_for(balancer: Balancer) -> None:
    balancer.run(deployment())
    (balancer.place / "run" / "haproxy-reload").write_text("")
    balancer.run(deployment("staging"), check=True)
    assert balancer.reloads() == 1
    balancer.run(deployment())
    assert balancer.reloads() == 2
    balancer.run(deployment())
    assert balancer.reloads() == 2


def test_an_older_main_configuration_is_named(balancer: Balancer) -> None:
    (balancer.place / "haproxy" / "haproxy.cfg").write_text("global\n")
    assert "slots.map yet; run site.yml" in balancer.run(deployment())["results"]["production"]["error"]


def test_a_balancer_without_haproxy_is_named(balancer: Balancer) -> None:
    (balancer.place / "haproxy" / "haproxy.cfg").unlink()
    assert "haproxy.cfg is missing; run site.yml" in balancer.run(deployment())["results"]["production"]["error"]


def test_a_retired_deployment_goes(balancer: Balancer) -> None:
    balancer.run(deployment())
    served = balancer.files()
    gone = {"name": "production"}
    assert balancer.run(gone, state="absent", check=True)["changed"] is True
    assert balancer.files() == served
    assert balancer.run(gone, state="absent")["changed"] is True
    assert "production" not in "".join(balancer.files()) + balancer.files()["deployments.map"]
    assert balancer.run(gone, state="absent")["changed"] is False
    assert balancer.run(gone, state="absent", check=True)["changed"] is False
    assert balancer.reloads() == 2
