# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the ledger and the witnesses conclude, and the figures that the bench makes of it."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.campaign import Campaign, Endurance, Handover
from bench.harness import Figure
from bench.targets import failover

SHARED = str(Path(__file__).resolve().parents[3] / "molecule" / "shared")
sys.path.insert(0, SHARED)
ledger: Any = importlib.import_module("ledger")
client: Any = importlib.import_module("client")
sys.path.remove(SHARED)
PEACE = Endurance(minutes=30, acknowledged=90_000, refused=0, lost=0, failovers=0, silence=0.4)


@pytest.mark.parametrize(
    ("moments", "since", "until", "silence"),
    [
        pytest.param([1, 2, 3, 8, 9], 2.5, 10, 5, id="in the middle"),
        pytest.param([1, 7, 8, 9], 2, 10, 6, id="it began before"),
        pytest.param([1, 9, 10, 11], 9.5, 12, 1, id="one that was over before doesn't count"),
        pytest.param([1, 2, 3], 2, 30, 27, id="it has not ended"),
        pytest.param([1, 2, 3, 40], 2, 30, 27, id="what came later is not seen"),
        pytest.param([], 2, 30, 28, id="never any"),
    ],
)
def test_longest_silence(moments: list[float], since: float, until: float, silence: float) -> None:
    assert ledger.longest_silence(moments, since, until) == silence


def act(host: str, timeline: int, began: float, done: float | None = None) -> Any:
    return ledger.Act(host, timeline, began, began + 0.1 if done is None else done)


@pytest.mark.parametrize(
    ("acts", "count"),
    [
        pytest.param([], 0, id="none"),
        pytest.param(
            [act("db1", 1, 1), act("db1", 1, 2), act("db2", 2, 3), act("db1", 3, 4)], 0, id="one after another"
        ),
        pytest.param([act("db1", 1, 1), act("db2", 2, 3), act("db1", 1, 4)], 1, id="the former one goes on"),
        pytest.param([act("db1", 1, 1, 5), act("db2", 2, 3)], 0, id="it began before, and only told it late"),
        pytest.param([act("db1", 1, 1), act("db2", 1, 2)], 1, id="two on one timeline"),
        pytest.param([act("db2", 2, 3), act("db1", 1, 1)], 0, id="in any order"),
    ],
)
def test_find_rivals(acts: list[Any], count: int) -> None:
    assert len(ledger.find_rivals(acts)) == count


WITNESSED = """\
psql:/run/nectar-witness.sql:15: NOTICE:  acknowledged 0000000A 10.5 10.6
psql:/run/nectar-witness.sql:15: WARNING:  canceling wait for synchronous replication due to user request
DETAIL:  The transaction has already committed locally, but might not have been replicated to the standby.
psql:/run/nectar-witness.sql:15: NOTICE:  acknowledged 0000000A 11.5 11.6
psql:/run/nectar-witness.sql:15: ERROR:  cannot execute during recovery
"""


def test_a_commit_that_returned_with_a_warning_is_not_acknowledged() -> None:
    lines = WITNESSED.replace(
        "DETAIL:  The transaction has already committed locally, but might not have been replicated to the standby.\n",
        "",
    )
    assert ledger.read_acts("db1", lines) == [ledger.Act("db1", 10, 10.5, 10.6)]
    assert ledger.read_acts("db1", WITNESSED) == [ledger.Act("db1", 10, 10.5, 10.6)]


def test_a_ledger_keeps_what_was_acknowledged_and_finds_what_is_gone() -> None:
    def ask(_path: str, *, post: dict[str, int], seconds: float) -> Any:
        number, now = post["total_cents"], time.monotonic()
        status = 503 if number % 3 == 0 else 201
        return client.Answer(now, now, status, f'{{"id": {number + 7}}}')

    with ledger.Ledger(ask, writers=2, pause=0.001) as kept:
        assert client.eventually(lambda: len(kept.entries) >= 20 and kept.refused, 30, pause=0.01)
    whole = ledger.read_kept("".join(f"{entry.number} {entry.identity}\n" for entry in kept.entries))
    assert kept.lost(whole) == []
    gone, moved, *_rest = kept.entries
    del whole[gone.number]
    whole[moved.number] += 1
    assert kept.lost(whole) == [gone, moved]
    # What was acknowledged after the database was asked can't be in its answer.
    assert kept.lost(whole, gone.done - 0.001) == []
    assert len({entry.number for entry in kept.entries}) == len(kept.entries)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([2.0], {"min": 2, "median": 2, "p95": 2, "max": 2}, id="one"),
        pytest.param([3.0, 1.0], {"min": 1, "median": 2, "p95": 3, "max": 3}, id="two"),
        pytest.param(
            [float(n) for n in range(1, 101)], {"min": 1, "median": 50.5, "p95": 95, "max": 100}, id="a hundred"
        ),
    ],
)
def test_summarise(values: list[float], expected: dict[str, float]) -> None:
    assert ledger.summarise(values) == expected


def figures(handovers: Sequence[Handover] = (), endured: Endurance = PEACE, lost: int = 0) -> dict[str, Figure]:
    silences = {"postmaster killed": [2.0, 2.5, 9.0], "Patroni killed": [0.2]}
    faults = Campaign(silences, 1000, 7, lost, 500, 0)
    rows = [
        *failover.fault_figures(silences, ledger.summarise),
        *(failover.handover_figures(handovers, ledger.summarise) if handovers else ()),
        *failover.endurance_figures(endured),
        *failover.loss_figures(faults, endured, handovers),
    ]
    return {row.figure: row for row in rows}


def test_figures_say_what_was_lost_and_which_goal_was_missed() -> None:
    rows = figures(lost=1)
    assert (rows["postmaster killed, median"].value, rows["postmaster killed, median"].meets_goal) == (2.5, True)
    assert (rows["postmaster killed, max"].value, rows["postmaster killed, max"].goal) == (9.0, None)
    assert rows["acknowledged commits lost"].meets_goal is False
    assert rows["commits by two primaries"].meets_goal is True
    assert (rows["acknowledged commits"].value, rows["acknowledged commits"].meets_goal) == (91_000, False)


def test_what_a_switchover_fails_or_loses_counts_and_its_longest_pause() -> None:
    rows = figures([Handover(1000, 0, 1.5, 0), Handover(1000, 3, 4.0, 2)], lost=1)
    assert (rows["planned switchover, failed requests"].value, rows["acknowledged commits lost"].value) == (3, 3)
    longest = rows["planned switchover, longest pause, max"]
    assert (longest.value, longest.meets_goal) == (4.0, False)
    assert rows["planned switchover, longest pause, min"].goal is None


def test_a_failover_without_a_fault_is_no_success() -> None:
    rows = figures(endured=replace(PEACE, acknowledged=99_000, failovers=1, lost=2))
    assert rows["failovers without a fault"].meets_goal is False
    assert rows["acknowledged commits lost"].value == 2
    assert rows["acknowledged commits"].meets_goal is True
