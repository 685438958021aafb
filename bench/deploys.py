# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Deploying a built release to both servers, against a bare symlink and a restart."""

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.release_source import archive_path, cache_directory

from bench.harness import BenchError, Figure, Run, median, median_ratio, take_turns
from bench.place import APPLICATION, DEPLOY, DEPLOYMENT, Place
from bench.playing import PLANNED, Played, Registry, play, results_of, seconds_by_task, why_failed

UNIT_PLAYBOOK, PEER_PLAYBOOK = "bench/playbooks/symlink_unit.yml", "bench/playbooks/symlink.yml"
PEER_PORT = 9876
RELEASES = "/opt/nectar/releases"
LIMIT = 600.0
MOST_PAIRS = 5
PARTS_SHOWN = 10
# One step over both servers, and no gate that takes its time.
AT_ONCE = {"steps": [{"hosts": "100%", "share": 100, "bake": 0}], "gates": {"compare": False}}
GOAL = 1.5
OURS, PEER = "deploy.yml", "symlink and restart"
# What makes another release of the same code; always the same, so that it is built once.
REMARK = "\n# The same once more: a release of its own for the bench.\n"


class Deploys:
    """One built release, brought to both servers and activated in either way, again and again."""

    def __init__(self, place: Place, registry: Registry, folder: Path) -> None:
        self.place, self.registry = place, registry
        self.source: dict[str, Any] = registry.data["applications"][APPLICATION]["source"]
        self.own = Path(self.source["directory"])
        self.other = folder / "source"
        copy_source(self.own, self.other)
        self.numbers = itertools.count(int(time.time()))
        self.peer: dict[str, Any] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Have the release built, and the unit that the bare way restarts."""
        release = release_of(self.release(self.other))
        archive = archive_path(cache_directory(os.environ), release)
        self.peer = {
            "bench_release": release,
            "bench_archive": archive,
            "bench_port": PEER_PORT,
            "bench_deployment": DEPLOYMENT,
        }
        self.forget()
        try:
            self.play(UNIT_PLAYBOOK, **self.peer, bench_state="present")
            yield
        finally:
            self.play(UNIT_PLAYBOOK, **self.peer, bench_state="absent")

    def ours(self) -> Played:
        played = self.release(self.other)
        self.forget()
        return played

    def bare(self) -> Played:
        played = self.play(PEER_PLAYBOOK, **self.peer, bench_name=f"{DEPLOYMENT}-{next(self.numbers)}")
        self.remove()
        return played

    def release(self, source: Path) -> Played:
        """Deploy a source; its name in the environment makes it a revision that was never there."""
        self.source["directory"] = str(source)
        self.registry.change(DEPLOYMENT, {"ORDERS_NAME": f"{DEPLOYMENT}-{next(self.numbers)}"}, AT_ONCE)
        return self.play(DEPLOY, deployment=DEPLOYMENT)

    def forget(self) -> None:
        """Go back to the registry's own source, and leave no trace of the release on the servers."""
        self.release(self.own)
        self.remove()

    def remove(self) -> None:
        for host in self.place.servers:
            self.place.on(host, f"rm -rf {RELEASES}/{self.peer['bench_release']}")

    def play(self, playbook: str, **variables: Any) -> Played:
        played = play(playbook, (self.place.sources[0], str(self.registry.path)), variables, limit=LIMIT)
        if played.code:
            raise BenchError(f"{playbook} failed:\n{why_failed(played)}")
        return played


def copy_source(source: Path, target: Path) -> None:
    """The same code under another checksum."""
    shutil.copytree(source, target)
    first = min(target.rglob("__init__.py"))
    first.write_text(first.read_text(encoding="utf-8") + REMARK, encoding="utf-8")


def release_of(played: Played) -> str:
    """The release that a deploy planned."""
    found = {
        result["steps"][DEPLOYMENT]["release"] for result in results_of(played.events, PLANNED) if "steps" in result
    }
    if len(found) != 1:
        raise BenchError(f"the plan names the releases {sorted(found)} for {DEPLOYMENT}, expected one")
    return str(found.pop())


def measure_deploys(place: Place, registry: Registry, folder: Path, run: Run) -> dict[str, list[Played]]:
    """Release the same in both ways, in turns."""
    deploys = Deploys(place, registry, folder)
    run.say("another release of the same code is built, and the peer's unit made")
    with deploys.prepared():
        return take_turns({OURS: deploys.ours, PEER: deploys.bare}, min(run.rounds, MOST_PAIRS), run.say)


def describe_deploys(runs: Mapping[str, Sequence[Played]]) -> list[Figure]:
    """How much longer a gated release takes, and what takes it."""
    seconds = {way: [played.seconds for played in taken] for way, taken in runs.items()}
    how = (
        f"wall time of the playbook, median of {len(seconds[OURS])} pairs that took turns; the release is built, and both ways ship "
        "and unpack it on two servers; ours in one step over both, gates lease, freeze, capacity and http, no time to bake"
    )
    parts = [profile(played) for played in runs[OURS]]
    longest = sorted(((median(part.get(task, 0.0) for part in parts), task) for task in parts[0]), reverse=True)
    return [
        Figure(figure="deploy of a built release, times the bare one", value=median_ratio(seconds[OURS], seconds[PEER]),
               unit="x", better="lower", how=f"{how}; the peer's playbook: {PEER_PLAYBOOK}", goal=GOAL),
        Figure(figure="deploy of a built release", value=median(seconds[OURS]), unit="s", better="lower", how=how, peer=PEER,
               peer_value=median(seconds[PEER])),
        *(Figure(figure=f"of it: {task}", value=value, unit="s", better="lower", how="until the next task starts")
          for value, task in longest[:PARTS_SHOWN]),
    ]  # fmt: skip


def profile(played: Played) -> dict[str, float]:
    """Seconds by task, and what passes before the first one."""
    first = datetime.fromisoformat(played.events[0]["_timestamp"]).timestamp()
    return {"Ansible starts": first - played.began, **seconds_by_task(played.events)}
