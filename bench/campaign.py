# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab's database goes through: faults in turn, planned switchovers, and full load without a fault; Molecule has the faults and the ledger."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench.harness import ROOT, BenchError
from bench.place import current_lab
from bench.playing import play

Say = Callable[[str], None]
# Kinds whose length hangs on how long Patroni waits for etcd; they are done with the second value, too.
LEASED = ("host lost", "host lost with etcd's lead")
SHORT_RETRY, USUAL_RETRY = 3, 5
READERS, WRITERS = 4, 2
# Writers at full load, none of which pauses.
FULL_LOAD = 8
LIMIT = 600.0
# Seconds from the order to the switchover: clients keep the processors busy on which the controller tells the servers of it.
NOTICE = 30


@dataclass(frozen=True)
class Campaign:
    """What faults cost: the silences of each kind, and how many commits were acknowledged, refused, lost, and given by two primaries."""

    silences: dict[str, list[float]]
    acknowledged: int
    refused: int
    lost: int
    witnessed: int
    rivals: int


@dataclass(frozen=True)
class Handover:
    """A planned switchover: requests asked and failed, and the longest that anybody waited for the next answer, in seconds."""

    asked: int
    failed: int
    pause: float
    lost: int


@dataclass(frozen=True)
class Endurance:
    """Full load without a fault: how long, what was acknowledged, refused and lost, how often the lead moved, and the longest silence in seconds."""

    minutes: float
    acknowledged: int
    refused: int
    lost: int
    failovers: int
    silence: float


class FaultLab:
    """The lab, as Molecule's own modules see it."""

    def __init__(self) -> None:
        os.environ.setdefault("NECTAR_LAB", current_lab().directory.name)
        shared = str(ROOT / "molecule/shared")
        if shared not in sys.path:
            sys.path.insert(0, shared)
        hosts, self.faults, self.ledger, self.client = (
            importlib.import_module(name) for name in ("lab", "database_faults", "ledger", "client")
        )
        self.database: Any = self.faults.Database(hosts.Lab())
        self.door: Any = self.database.lab.door("production")

    @property
    def kinds(self) -> list[str]:
        return list(self.faults.FAULTS)

    def require_whole(self, why: str) -> None:
        if not self.client.eventually(self.database.whole, 180):
            raise BenchError(f"{why}: {self.database.members()}; look at the lab with `patronictl list`.")


def rehearse(lab: FaultLab, kinds: Sequence[str], rounds: int, say: Say, *, retries: bool = False) -> Campaign:
    """Do the faults of these kinds in turn, while orders are written and witnesses commit, and look for what was acknowledged.

    With `retries`, those that hang on it come once more in each round, with a shorter `retry_timeout`.
    """
    turns = [(name, name, USUAL_RETRY) for name in kinds]
    if retries:
        turns += [(f"{name}, retry_timeout {SHORT_RETRY}", name, SHORT_RETRY) for name in kinds if name in LEASED]
    silences: dict[str, list[float]] = {title: [] for title, _name, _retry in turns}
    database = lab.database
    with ExitStack() as stack:
        database.watch()
        stack.callback(database.watch_no_more)
        if retries:
            stack.callback(database.set_retry_timeout, USUAL_RETRY)
        with lab.ledger.Ledger(lab.door.ask) as ledger:
            set_to = USUAL_RETRY
            for number in range(rounds):
                for title, name, retry in turns:
                    if retry != set_to:
                        database.set_retry_timeout(retry)
                        set_to = retry
                    outcome = suffer(lab, ledger, lab.faults.FAULTS[name])
                    silences[title].append(outcome.silence)
                    say(f"round {number + 1} of {rounds}: {title} ({outcome.host}): {outcome.silence:.1f} s")
        lost, (witnessed, rivals) = ledger.lost(database.kept(ledger)), database.rivals()
    return Campaign(silences, len(ledger.entries), len(ledger.refused), len(lost), witnessed, len(rivals))


def suffer(lab: FaultLab, ledger: Any, fault: Any) -> Any:
    """One fault; a cluster that doesn't come back ends the campaign, for nothing after it would mean anything."""
    try:
        outcome = lab.faults.suffer(lab.database, ledger, fault)
    except AssertionError as error:
        raise BenchError(f"{fault.name} can't be tried: {error}; look at the lab with `patronictl list`.") from error
    if not outcome.whole:
        raise BenchError(f"the cluster didn't come back after {fault.name} on {outcome.host}: {lab.database.members()}")
    return outcome


def hand_over(lab: FaultLab, sources: Sequence[str], say: Say) -> Handover:
    """Hand the lead over as a person does, under writers and readers."""
    lab.require_whole("the lead can't be handed over")

    def read() -> Any:
        return lab.door.ask("/orders?limit=5", seconds=20)

    with ExitStack() as stack:
        ledger = stack.enter_context(lab.ledger.Ledger(lab.door.ask, writers=WRITERS, pause=0.1))
        readers = [stack.enter_context(lab.client.Client(read, limit=10_000)) for _ in range(READERS)]
        lab.client.eventually(lambda: len(ledger.entries) > 2 * READERS, 30)
        began = time.monotonic()
        played = play("playbooks/switchover.yml", sources, {"notice": NOTICE}, limit=LIMIT)
        lab.client.eventually(lambda: ledger.acknowledged(time.monotonic() - 2), 30)
        pause = ledger.silence(began, time.monotonic())
    if played.code:
        raise BenchError(f"switchover.yml ended with {played.code}; run it by hand, and see what it says.")
    found = Handover(
        asked=len(ledger.entries) + len(ledger.refused) + sum(len(reader.answers) for reader in readers),
        failed=len(ledger.refused) + sum(len(reader.failures) for reader in readers),
        pause=max(pause, *(reader.longest_gap() for reader in readers)),
        lost=len(ledger.lost(lab.database.kept(ledger))),
    )
    say(f"switchover: {found.failed} of {found.asked} requests failed, longest pause {found.pause:.1f} s")
    return found


def endure(lab: FaultLab, minutes: float, say: Say) -> Endurance:
    """Write as fast as the lab takes it, and see that nobody gives the lead away."""
    lab.require_whole("nothing can be endured")
    timeline, began = lab.database.timeline(), time.monotonic()
    with lab.ledger.Ledger(lab.door.ask, writers=FULL_LOAD, pause=0.0) as ledger:
        while (passed := time.monotonic() - began) < 60 * minutes:
            say(f"full load for {passed / 60:.0f} of {minutes:g} minutes: {len(ledger.entries)} commits")
            time.sleep(min(60.0, 60 * minutes - passed))
        silence = ledger.silence(began, time.monotonic())
    return Endurance(
        minutes, len(ledger.entries), len(ledger.refused), len(ledger.lost(lab.database.kept(ledger))),
        lab.database.timeline() - timeline, silence,
    )  # fmt: skip
