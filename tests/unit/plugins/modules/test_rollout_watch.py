# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A step on a load balancer: opened, watched, and taken back when it fails; HAProxy's master and the access log are stand-ins."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils.rollout_relay import Relay
from ansible_collections.nectar.backend.plugins.module_utils.traffic import Files, plan_switches, render_map
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import Balancer, write_files
from ansible_collections.nectar.backend.plugins.modules import rollout_watch

SHARED = {"app1-blue": "90 ready", "app1-green": "10 ready"}
ALONE = {"app1-blue": "100 ready", "app1-green": "0 maint"}
JOURNALCTL = "#!/bin/sh\nexec tail -n +1 -f {place}/access.log\n"


class Slot(BaseHTTPRequestHandler):
    """A slot that is ready, and says that it is the new revision."""

    def do_GET(self) -> None:
        content = b'{"revision": "r2"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class World:
    """A load balancer that serves blue, and one new slot."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], master: Any, port: int) -> None:
        self.place, self.capsys, self.master, self.port = place, capsys, master, port
        self.balancer = Balancer(
            str(place / "haproxy"), str(place / "state"), str(place / "run"), master.path, str(place / "lock")
        )
        self.relay = Relay(self.balancer.run, "production")
        nothing = Files({"production": None}, {"production": None}, render_map({}))
        write_files(self.balancer, plan_switches([self.entry(slot="blue", generation=1)], nothing, 8010, 64).after)
        (place / "log").write_text("reload\n")

    def entry(self, **changes: Any) -> dict[str, Any]:
        """Return the deployment's step."""
        return {
            "name": "production",
            "server_name": "production.nectar.test",
            "ready_path": "/readyz",
            "ports": {"blue": self.port, "green": self.port},
            "addresses": {"app1": "127.0.0.1"},
            "slot": "green",
            "generation": 2,
            "revision": "r2",
            "token": 7,
            "step": {"index": 0, "hosts": ["app1"], "share": 10, "bake": 0},
            "policy": {"http": {}, "compare": {"warm_up": 0}},
            **changes,
        }

    def run(self, check: bool = False, **changes: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "deployments": [self.entry(**changes)],
            "identity_port": self.port,
            "haproxy_directory": self.balancer.directory,
            "state_directory": self.balancer.state,
            "run_directory": self.balancer.run,
            "master_socket": self.balancer.master,
            "lock_file": self.balancer.lock,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            rollout_watch.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def log(self, slot: str, status: int, count: int) -> None:
        """Let requests be in the access log."""
        line = {
            "time": 9e9,
            "deployment": "production",
            "server": "app1",
            "slot": slot,
            "status": status,
            "state": "--",
        }
        times = dict.fromkeys(("queue_time", "connect_time", "response_time", "total_time"), 3)
        with (self.place / "access.log").open("a") as stream:
            stream.write((json.dumps({**line, **times, "retries": "0"}) + "\n") * count)

    def weights(self) -> dict[str, str]:
        """Return what the current worker does."""
        found: list[dict[str, str]] = self.master.weights("be_production")
        return found[0]


@pytest.fixture
def world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, master: Any
) -> Iterator[World]:
    """A load balancer that serves."""
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(JOURNALCTL.format(place=tmp_path))
    program.chmod(0o755)
    (tmp_path / "access.log").write_text("HAProxy says something else\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slot)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield World(tmp_path, capsys, master, server.server_address[1])
    server.shutdown()
    server.server_close()


def test_four_runs(world: World) -> None:
    foreseen = world.run(check=True)
    assert (foreseen["changed"], foreseen["results"]["production"]["verdict"]) == (True, "hold")
    assert world.weights() == ALONE
    first = world.run()
    assert (first["changed"], first["results"]["production"]["verdict"]) == (True, "pass")
    assert (world.weights(), world.relay.own()["verdict"]) == (SHARED, "pass")
    assert (Path(world.balancer.state) / "rollouts" / "production").exists()
    again = world.run()
    assert (again["changed"], again["results"]["production"]["verdict"]) == (False, "pass")
    assert world.run(check=True)["changed"] is False


def test_a_slot_that_errs_is_taken_back(world: World) -> None:
    world.log("green", 500, 60)
    world.log("blue", 200, 60)
    began = time.time()
    result = world.run(step={"index": 0, "hosts": ["app1"], "share": 10, "bake": 30})["results"]["production"]
    assert (result["verdict"], result["reverted"], world.weights()) == ("fail", True, ALONE)
    assert result["seconds"] < 10
    assert began < result["judged"] < time.time()
    assert result["arms"]["canary"]["errors"] == 60
    assert world.relay.own()["verdict"] == "fail"
    assert not (Path(world.balancer.state) / "rollouts" / "production").exists()


def test_what_another_load_balancer_saw_is_taken_back_here(world: World) -> None:
    world.relay.hear("lb2", {"token": 7, "step": 0, "verdict": "fail", "reason": "errors"})
    result = world.run(step={"index": 0, "hosts": ["app1"], "share": 10, "bake": 30})["results"]["production"]
    assert (result["verdict"], result["reverted"], world.weights()) == ("fail", True, ALONE)
    assert result["verdicts"][0]["reason"] == "lb2: errors"


def test_a_slot_that_runs_another_revision_is_taken_back(world: World) -> None:
    result = world.run(revision="r3")["results"]["production"]
    assert (result["verdict"], world.weights()) == ("fail", ALONE)
    assert "says that it is revision 'r2', expected 'r3'" in result["verdicts"][0]["reason"]


def test_a_quiet_deployment_gets_requests_of_our_own(world: World) -> None:
    arms = world.run(synthetic={"requests": 5, "seconds": 0})["results"]["production"]["arms"]
    assert (arms["canary"]["requests"], arms["baseline"]["requests"]) == (5, 5)


def test_an_impossible_step_is_refused(world: World) -> None:
    result = world.run(slot="blue")["results"]["production"]
    assert (result["verdict"], result["reverted"]) == ("fail", False)
    assert "serves already" in result["error"]


def test_a_deployment_without_web_passes(world: World) -> None:
    assert world.run(ready_path="")["results"]["production"]["verdict"] == "pass"
