# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long nobody's write is acknowledged when the primary is lost, by kind of fault, and what is lost with it."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import ROOT, BenchError, Figure, Run, Target
from nectar_backend.errors import NectarError
from nectar_backend.project import find_lab, require_topology

# Seconds: the median that a crash may take, and the longest that each other kind may.
CRASH_MEDIAN, HOST_MOST, HOST_AND_ETCD_MOST = 3.0, 22.0, 27.0
GOALS = {
    ("postmaster killed", "median"): CRASH_MEDIAN,
    ("host lost", "max"): HOST_MOST,
    ("host frozen past its lease", "max"): HOST_MOST,
    ("host cut off", "max"): HOST_MOST,
    ("host lost with etcd's lead", "max"): HOST_AND_ETCD_MOST,
}
STATISTICS = ("min", "median", "p95", "max")
HOW = (
    "4 writers post numbered orders to production through the virtual address. The longest time without an acknowledged one, from before the "
    "fault until it is undone; {} faults of this kind"
)


@dataclass(frozen=True)
class Campaign:
    """What faults cost: the silences of each kind, and how many commits were acknowledged, refused, lost, and given by two primaries."""

    silences: dict[str, list[float]]
    acknowledged: int
    refused: int
    lost: int
    witnessed: int
    rivals: int


def missing() -> str | None:
    try:
        topology = require_topology(find_lab(os.environ, Path.home()))
    except NectarError as error:
        return str(error)
    return None if topology == "ha" else "a lab of several database servers; run `make lab TOPOLOGY=ha`."


def load_harness() -> tuple[Any, Any, Any]:
    """Molecule's own: the lab, its faults, and the ledger."""
    os.environ.setdefault("NECTAR_LAB", find_lab(os.environ, Path.home()).directory.name)
    sys.path.insert(0, str(ROOT / "molecule/shared"))
    lab, faults, ledger = (importlib.import_module(name) for name in ("lab", "database_faults", "ledger"))
    return lab, faults, ledger


def measure(run: Run) -> list[Figure]:
    lab, faults, ledger = load_harness()
    found = rehearse(lab, faults, ledger, list(faults.FAULTS), run.rounds, run.say)
    run.say(
        f"{found.acknowledged} commits were acknowledged to clients and {found.witnessed} to witnesses, {found.refused} refused"
    )
    return figures(found.silences, found.acknowledged, found.lost, found.witnessed, found.rivals, ledger.summarise)


def rehearse(
    lab_module: Any, faults: Any, ledger_module: Any, kinds: Sequence[str], rounds: int, say: Callable[[str], None]
) -> Campaign:
    """Do the faults of these kinds in turn, while orders are written and witnesses commit, and look for what was acknowledged."""
    database = faults.Database(lab_module.Lab())
    door = database.lab.door("production")
    silences: dict[str, list[float]] = {name: [] for name in kinds}
    database.watch()
    try:
        with ledger_module.Ledger(door.ask) as ledger:
            for number in range(rounds):
                for name in kinds:
                    outcome = suffer(faults, database, ledger, faults.FAULTS[name])
                    silences[name].append(outcome.silence)
                    say(f"round {number + 1} of {rounds}: {name} ({outcome.host}): {outcome.silence:.1f} s")
        lost, rivals = ledger.lost(database.kept(ledger)), database.rivals()
    finally:
        database.watch_no_more()
    return Campaign(silences, len(ledger.entries), len(ledger.refused), len(lost), rivals[0], len(rivals[1]))


def suffer(faults: Any, database: Any, ledger: Any, fault: Any) -> Any:
    """One fault; a cluster that doesn't come back ends the campaign, for nothing after it would mean anything."""
    try:
        outcome = faults.suffer(database, ledger, fault)
    except AssertionError as error:
        raise BenchError(f"{fault.name} can't be tried: {error}; look at the lab with `patronictl list`.") from error
    if not outcome.whole:
        raise BenchError(f"the cluster didn't come back after {fault.name} on {outcome.host}: {database.members()}")
    return outcome


def figures(
    silences: Mapping[str, Sequence[float]], acknowledged: int, lost: int, witnessed: int, rivals: int, summarise: Any
) -> list[Figure]:
    rows = [
        Figure(
            figure=f"{name}, {statistic}", value=value, unit="s", better="lower", goal=GOALS.get((name, statistic)),
            how=HOW.format(len(values)),
        )
        for name, values in silences.items()
        for statistic, value in summarise(values).items()
    ]  # fmt: skip
    return [
        *rows,
        Figure(
            figure="acknowledged commits lost", value=lost, unit="", better="lower", goal=0,
            how=f"each of {acknowledged} is looked for in the database afterwards",
        ),
        Figure(
            figure="commits by two primaries", value=rivals, unit="", better="lower", goal=0,
            how=f"{witnessed} commits by witnesses on all servers: two of one timeline on two servers, or one of a former timeline after the next",
        ),
        Figure(
            figure="acknowledged commits", value=acknowledged, unit="", better="higher", how="to the writers, all faults together",
        ),
    ]  # fmt: skip


TARGET = Target(
    purpose="the time without an acknowledged commit by kind of fault, and what is lost",
    needs="a lab, deployed, whose hosts may be killed",
    takes="7 minutes a round of 8 faults",
    rounds=6,
    missing=missing,
    measure=measure,
)
