# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The programs on a load balancer, with nothing beside them but what role traffic puts there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nectar.backend.plugins.module_utils.rollout_relay import Relay
from ansible_collections.nectar.backend.plugins.module_utils.traffic import (
    Files,
    plan_steps,
    plan_switches,
    render_map,
)
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import (
    Balancer,
    read_files,
    read_traffic,
    write_files,
)

ROOT = Path(__file__).resolve().parents[4]
ENTRY: dict[str, Any] = {
    "name": "production",
    "server_name": "production.nectar.test",
    "ready_path": "/readyz",
    "ports": {"blue": 10002, "green": 10003},
    "addresses": {"app1": "192.0.2.21"},
    "revision": "r2",
}
STEP = {**ENTRY, "slot": "green", "generation": 2, "token": 7, "step": {"index": 0, "hosts": ["app1"], "share": 10}}


class World:
    """A load balancer on which a step is open."""

    def __init__(self, place: Path, master: Any) -> None:
        self.place, self.master = place, master
        self.balancer = Balancer(
            str(place / "haproxy"), str(place / "state"), str(place / "run"), master.path, str(place / "lock")
        )
        self.relay = Relay(self.balancer.run, "production")
        nothing = Files({"production": None}, {"production": None}, render_map({}))
        served = plan_switches([{**ENTRY, "slot": "blue", "generation": 1}], nothing, 8010, 64).after
        write_files(self.balancer, served)
        write_files(self.balancer, plan_steps([STEP], read_files(self.balancer, ["production"])).after)
        (place / "log").write_text("reload\n")

    def command(self, program: str, *words: str) -> list[str]:
        """Return the command line of a program that was installed."""
        places = [
            f"--{name}={getattr(self.balancer, name)}" for name in ("directory", "state", "run", "master", "lock")
        ]
        return [sys.executable, "-I", str(self.place / "lib" / program), *words, *places]

    def note(self) -> dict[str, Any]:
        """Return where requests go."""
        return read_traffic(self.balancer.state, "production") or {}


@pytest.fixture
def world(tmp_path: Path, master: Any) -> World:
    """Programs and modules as role traffic installs them."""
    modules = tmp_path / "lib/ansible_collections/nectar/backend/plugins/module_utils"
    modules.mkdir(parents=True)
    for name in yaml.safe_load((ROOT / "roles/traffic/vars/main.yml").read_text())["__traffic_module_names"]:
        shutil.copy(ROOT / f"plugins/module_utils/{name}.py", modules)
    for name in ("guard", "line"):
        shutil.copy(ROOT / f"roles/traffic/files/rollout_{name}.py", tmp_path / "lib" / f"rollout-{name}")
    return World(tmp_path, master)


def guard(world: World) -> str:
    """Run the guard once; return what it says."""
    done = subprocess.run(world.command("rollout-guard"), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guard_leaves_a_step_with_a_heartbeat(world: World) -> None:
    world.relay.beat()
    assert guard(world) == ""
    assert world.note()["step"] is not None


@pytest.mark.parametrize(
    ("silence", "words"),
    [(None, "since this load balancer started"), (50.0, "of its controller for ")],
    ids=["after a reboot", "after the controller's end"],
)
def test_the_guard_withdraws_a_step_without_one(world: World, silence: float | None, words: str) -> None:
    if silence:
        world.relay.beat()
        Path(world.relay.path("beat")).write_text(f"{time.monotonic() - silence}\n")
    assert words in guard(world)
    assert (world.note()["step"], words in world.note()["withdrawn"]["reason"]) == (None, True)
    assert world.master.weights("be_production")[0] == {"app1-blue": "100 ready", "app1-green": "0 maint"}
    assert not Path(world.balancer.rollout("production")).exists()
    assert guard(world) == ""


def test_the_guard_clears_what_was_only_begun(world: World) -> None:
    Path(world.balancer.rollout("staging")).write_text("")
    world.relay.beat()
    assert guard(world) == ""
    assert not Path(world.balancer.rollout("staging")).exists()


def eventually(check: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 10
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_line_carries_beats_and_verdicts(world: World) -> None:
    command = world.command("rollout-line", "production", "7")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as line:
        assert line.stdin and line.stdout
        line.stdin.write('{"beat": 1}\nnonsense\n{"peer": "lb2", "state": {"token": 7, "verdict": "fail"}}\n')
        line.stdin.flush()
        eventually(lambda: world.relay.silence() is not None and world.relay.peers())
        assert world.relay.peers() == {"lb2": {"token": 7, "verdict": "fail"}}
        world.relay.say({"token": 6, "verdict": "fail"})
        world.relay.say({"token": 7, "verdict": "watching"})
        assert json.loads(line.stdout.readline()) == {"state": {"token": 7, "verdict": "watching"}}
        line.stdin.close()
        assert line.wait(10) == 0


def test_the_line_of_an_overtaken_rollout_ends(world: World) -> None:
    command = world.command("rollout-line", "production", "6")
    done = subprocess.run(command, input='{"beat": 1}\n', capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, world.relay.silence()) == (3, None)
    assert "token 6 is older than 7" in json.loads(done.stdout)["error"]
