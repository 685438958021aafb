# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a change that is in effect does harm: counters of a while before against those of a while after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Below these counts chance decides.
LEAST_TRANSACTIONS, LEAST_CALLS = 200, 500
# By how much more it may be before it is harm: live traffic is never twice the same.
ROLLBACKS, LOG, TIME = 0.05, 2.0, 1.5


@dataclass(frozen=True)
class Sample:
    """Counters at one moment, and each statement's calls and milliseconds."""

    at: float
    counters: Mapping[str, float]
    statements: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Watched:
    """What was seen in a while."""

    seconds: float
    transactions: float
    rollbacks: float
    wal: float
    deadlocks: float
    fatal: float
    statements: Mapping[str, tuple[float, float]]

    @property
    def rollback_share(self) -> float:
        """The share of transactions that were rolled back."""
        return self.rollbacks / self.transactions if self.transactions else 0.0


def between(before: Sample, after: Sample) -> Watched:
    """What happened between two samples; counters that began anew count from nothing."""

    def grown(name: str) -> float:
        now, then = after.counters.get(name, 0.0), before.counters.get(name, 0.0)
        return now - then if now >= then else now

    statements = {}
    for name, (calls, total) in after.statements.items():
        old_calls, old_total = before.statements.get(name, (0.0, 0.0))
        if calls > old_calls and total >= old_total:
            statements[name] = (calls - old_calls, total - old_total)
    rollbacks = grown("rollbacks")
    return Watched(
        after.at - before.at,
        grown("commits") + rollbacks,
        rollbacks,
        grown("wal"),
        grown("deadlocks"),
        grown("fatal"),
        statements,
    )


def harms(before: Watched, after: Watched) -> tuple[str, ...]:
    """Say what got worse than chance and traffic explain; nothing means that the change may stay."""
    found = []
    enough = min(before.transactions, after.transactions) >= LEAST_TRANSACTIONS
    if after.transactions >= LEAST_TRANSACTIONS and after.rollback_share > before.rollback_share + ROLLBACKS:
        found.append(
            f"{after.rollback_share:.0%} of the transactions were rolled back, and {before.rollback_share:.0%} before"
        )
    if enough and after.wal / after.transactions > LOG * before.wal / before.transactions:
        found.append(
            f"a transaction wrote {after.wal / after.transactions:.0f} bytes of log, and {before.wal / before.transactions:.0f} before"
        )
    if (slower := slowdown(before, after)) is not None and slower > TIME:
        found.append(f"the same statements took {slower:.2f} times as long")
    return tuple(found)


def slowdown(before: Watched, after: Watched) -> float | None:
    """How long the statements of both whiles took, against what they would have taken before; None where too few ran."""
    both = [name for name in after.statements if name in before.statements]
    if sum(after.statements[name][0] for name in both) < LEAST_CALLS:
        return None
    expected = sum(after.statements[name][0] * before.statements[name][1] / before.statements[name][0] for name in both)
    return sum(after.statements[name][1] for name in both) / expected if expected > 0 else None


def summary(watched: Watched) -> dict[str, Any]:
    """As it is kept with the evidence."""
    return {
        "seconds": round(watched.seconds, 1),
        "transactions": watched.transactions,
        "rollbacks": watched.rollbacks,
        "wal": watched.wal,
        "deadlocks": watched.deadlocks,
        "fatal": watched.fatal,
        "calls": sum(calls for calls, _total in watched.statements.values()),
    }
