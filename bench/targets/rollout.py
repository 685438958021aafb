# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rollouts under a constant load, what they cost the requests, and a deploy against a bare symlink and a restart."""

import tempfile
import time
from pathlib import Path

from bench.deploys import describe_deploys, measure_deploys
from bench.harness import BenchError, Figure, Run, Target
from bench.place import DEPLOY, DEPLOYMENT, TOPOLOGY, Place, current_lab, find_place, missing
from bench.playing import Registry, play, why_failed
from bench.rollouts import ENOUGH, PLAY_LIMIT, ROUNDS, describe_load, measure_load

RESTORE_ATTEMPTS, LEASE_SECONDS = 3, 32.0


def measure(run: Run) -> list[Figure]:
    place = find_place(current_lab())
    with tempfile.TemporaryDirectory(prefix="nectar-bench-") as folder:
        registry = Registry(Path(folder))
        run.say(f"{DEPLOYMENT} begins with the registry's own revision")
        restore(place)
        try:
            loaded = measure_load(place, registry, Path(folder), run)
            deploys = measure_deploys(place, registry, Path(folder), run)
        finally:
            run.say(f"{DEPLOYMENT} goes back to the registry's own revision")
            restore(place)
    return describe_load(loaded) + describe_deploys(deploys)


def restore(place: Place) -> None:
    """Release what the registry itself says; whoever was ended in the middle holds a lease for half a minute more."""
    for _attempt in range(RESTORE_ATTEMPTS):
        played = play(DEPLOY, place.sources, {"deployment": DEPLOYMENT}, limit=PLAY_LIMIT)
        if not played.code:
            return
        time.sleep(LEASE_SECONDS)
    raise BenchError(
        f"{DEPLOYMENT} can't be released as the registry has it: `ansible-playbook {DEPLOY} -e deployment={DEPLOYMENT}` says why:\n"
        f"{why_failed(played)}"
    )


TARGET = Target(
    purpose="what rollouts cost the requests of a constant load, and a deploy against a bare symlink and a restart",
    needs=f"a lab with TOPOLOGY={TOPOLOGY} that is up and deployed (`make lab`), and nothing else running",
    takes=f"about 4 minutes a round, until {ENOUGH:,} requests are counted; ROUNDS=1 counts fewer",
    rounds=ROUNDS,
    missing=missing,
    measure=measure,
)
