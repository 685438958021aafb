# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The keeper as a process of its own: its servers are small programs at the other end of a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.action.rollout_lease import start_keeper
from ansible_collections.nectar.backend.plugins.plugin_utils.rollout_keeper import Command, Keeper, Tenure

# Writes what it hears to a file, and tells what stands in another as often as it changes.
LINE = """
import json, os, select, sys
heard, says = sys.argv[1:]
print('{"greeting": true}', flush=True)
told = ""
while True:
    if select.select([0], [], [], 0.02)[0]:
        part = os.read(0, 65536)
        if not part:
            open(heard, "ab").write(b"end\\n")
            break
        open(heard, "ab").write(part)
    text = open(says).read() if os.path.exists(says) else ""
    if text != told:
        told = text
        print(json.dumps({"state": json.loads(text)}), flush=True)
"""
# Renews what a file says is held.
RENEWER = """
import json, sys
for _line in sys.stdin:
    print(json.dumps({"ttl": float(sys.argv[2]), "held": open(sys.argv[1]).read().split()}), flush=True)
"""
SILENT = "import sys; sys.stdin.read()"
BROKEN = "raise SystemExit('there is no etcd here')"


class World:
    """A controller, a place for files, and what the keeper is told."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.controller = subprocess.Popen(["sleep", "60"])
        (place / "held").write_text("alice staging")
        self.log = place / "keeper.log"
        self.pids: list[int] = []

    def words(self, text: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", text, *arguments]

    def line(self, deployment: str, balancer: str) -> list[str]:
        return self.words(
            LINE, str(self.path(deployment, balancer, "heard")), str(self.path(deployment, balancer, "says"))
        )

    def path(self, *parts: str) -> Path:
        return self.place / "-".join(parts)

    def renewer(self, ttl: float = 30) -> list[str]:
        return self.words(RENEWER, str(self.place / "held"), str(ttl))

    def start(
        self, *renewers: list[str], balancers: tuple[str, ...] = ("lb1", "lb2"), ready_within: float = 12, **lines: Any
    ) -> dict[str, Any]:
        plan = {
            "controller": "test",
            "ttl": 30,
            "ready_within": ready_within,
            "log": str(self.log),
            "renewers": [
                {"name": f"db{n}", "command": words} for n, words in enumerate(renewers or [self.renewer()], 1)
            ],
            "deployments": {
                name: {balancer: self.line(name, balancer) for balancer in balancers} | lines.get(name, {})
                for name in ("alice", "staging")
            },
        }
        pid, said = start_keeper(plan, self.controller.pid)
        self.pids.append(pid)
        return said

    def heard(self, deployment: str, balancer: str) -> list[Any]:
        path = self.path(deployment, balancer, "heard")
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) if line.startswith("{") else line for line in lines]

    def until(self, holds: Callable[[], bool], seconds: float = 15) -> float:
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, self.log.read_text()
            time.sleep(0.01)
        return time.monotonic() - began

    def ended(self) -> bool:
        return "ended:" in self.log.read_text()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.controller.kill()
    world.controller.wait()
    if world.pids:
        world.until(world.ended)


def test_it_ends_with_the_controller_and_so_do_its_lines(world: World) -> None:
    said = world.start()
    assert said["renewed"] is True
    assert said["lines"] == {name: {"lb1": "", "lb2": ""} for name in ("alice", "staging")}
    assert {"beat": 1} in world.heard("alice", "lb1")
    assert not world.ended()
    world.controller.kill()
    world.controller.wait()
    world.until(lambda: world.heard("alice", "lb1")[-1] == "end", 3)
    world.until(world.ended)
    assert "ended: the controller's process ended" in world.log.read_text()


def test_it_beats_and_hands_on_what_one_balancer_found(world: World) -> None:
    world.start()
    state = {"token": 7, "step": 1, "verdict": "fail"}
    world.path("alice", "lb1", "says").write_text(json.dumps(state))
    told = {"peer": "lb1", "state": state}
    assert world.until(lambda: told in world.heard("alice", "lb2"), 5) < 2
    world.until(lambda: len([line for line in world.heard("alice", "lb2") if "beat" in line]) >= 3)
    assert told not in world.heard("alice", "lb1")
    assert told not in world.heard("staging", "lb2")


def test_what_is_given_back_falls_silent_and_the_rest_goes_on(world: World) -> None:
    world.start()
    (world.place / "held").write_text("staging")
    world.until(lambda: world.heard("alice", "lb1")[-1] == "end")
    assert world.heard("staging", "lb1")[-1] != "end"
    (world.place / "held").write_text("")
    world.until(world.ended)
    assert "ended: no lease is held any more" in world.log.read_text()


def test_another_server_renews_where_the_first_can_not(world: World) -> None:
    said = world.start(world.words(BROKEN), world.renewer())
    assert said["renewed"] is True
    assert "no renewal over db1: there is no etcd here" in world.log.read_text()
    assert "renewing over db2" in world.log.read_text()


def test_a_line_that_ends_is_told_and_tried_again(world: World) -> None:
    said = world.start(alice={"lb2": world.words("raise SystemExit('sudo: a password is required')")})
    assert said["lines"]["alice"] == {"lb1": "", "lb2": "sudo: a password is required"}
    assert said["lines"]["staging"] == {"lb1": "", "lb2": ""}


def test_a_line_that_is_mute_is_told(world: World) -> None:
    said = world.start(balancers=(), ready_within=2, alice={"lb1": world.words(SILENT)})
    assert said == {"renewed": True, "trouble": "", "lines": {"alice": {"lb1": "no answer yet"}}}


def test_without_a_renewal_it_says_so(world: World) -> None:
    said = world.start(world.words(BROKEN), balancers=(), ready_within=2)
    assert (said["renewed"], said["trouble"]) == (False, "db1: there is no etcd here")


@pytest.mark.parametrize(
    ("asked", "renewed", "now", "over"),
    [
        pytest.param(None, None, 29.9, False, id="as it was taken"),
        pytest.param(None, None, 30, True, id="never renewed"),
        pytest.param(10, None, 30, True, id="asked for in vain"),
        pytest.param(10, 30, 39.9, False, id="counted from when it was asked for"),
        pytest.param(10, 30, 40, True, id="ended again"),
        pytest.param(10, 0, 10, True, id="etcd knows it no more"),
    ],
)
def test_how_long_a_lease_is_believed_in(asked: float | None, renewed: float | None, now: float, over: bool) -> None:
    tenure = Tenure(30, 0)
    if asked is not None:
        tenure.ask(asked)
    if renewed is not None:
        tenure.renewed(renewed)
    assert tenure.over(now) is over


def test_an_unrenewed_lease_ends_the_keeper(tmp_path: Path) -> None:
    """The clock is moved by hand: nobody waits for half a minute."""
    told: list[str] = []
    now = 0.0
    mute = [sys.executable, "-c", SILENT]
    plan = {"ttl": 30, "renewers": [{"name": "db1", "command": mute}], "deployments": {"alice": {}}}
    keeper = Keeper(plan, told.append, lambda: now)
    keeper.ready = True
    keeper.tick(now)
    now = 9.0
    keeper.tick(now)
    assert told == ["no renewal over db1: no answer"]
    now = 30.0
    keeper.tick(now)
    assert keeper.ended == "the leases could not be renewed for 30 s: db1: no answer"


def test_a_command_that_takes_nothing_is_given_up() -> None:
    command = Command(["sleep", "60"], 0.0)
    for _time in range(20):
        command.send({"peer": "lb1", "state": "x" * 40_000})
    assert command.process.wait(5) == -9
    command.end()
