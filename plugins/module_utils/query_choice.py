# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which statements are slow, which trial of an index is worth keeping, and which indexes pay for their writes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Index
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import EQUAL, RANGE, first_word
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Statement
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan
from ansible_collections.nectar.backend.plugins.module_utils.write_costs import LEAST_SECONDS, Cost

EXPLAINED = frozenset({"SELECT", "WITH", "UPDATE", "DELETE", "INSERT", "VALUES", "TABLE", "MERGE"})
# A plan counts as better when it costs at most so much of the former one, and a further index when it saves as much again.
LEAST_SAVING = 0.5
# Trials within this factor of the cheapest, or this share of the former cost, are as good, and the smallest of them is taken.
AS_GOOD, AS_GOOD_SHARE = 1.3, 0.0005
# An index is spare where its statements lose no more than this share of their former cost without it.
SPARE_SHARE = 0.001
# What a statement must save for each millisecond of writes.
LEAST_RETURN = 3.0
HOUR_MS = 3_600_000.0


@dataclass(frozen=True)
class Limits:
    """Which statements are looked at: so many, each of this mean in milliseconds at least; and what may be advised."""

    most: int = 100
    mean: float = 1.0
    calls: int = 2
    # The share of all writes that the advised indexes may cost together.
    write_loss: float = 0.05


@dataclass(frozen=True)
class Trial:
    """A statement's plan with some indexes more; `used` are those of them that the plan has."""

    indexes: tuple[Index, ...]
    plan: Plan
    sizes: tuple[int, ...] = ()
    used: frozenset[Index] = frozenset()

    @property
    def size(self) -> int:
        return sum(self.sizes)


@dataclass(frozen=True)
class Gain:
    """What indexes are worth to a statement: the cost of its plan before and after."""

    statement: Statement
    before: float
    after: float
    used: frozenset[Index]

    @property
    def saving(self) -> float:
        return 1 - self.after / self.before if self.before > 0 else 0.0


@dataclass(frozen=True)
class Proposal:
    """An index with what speaks for and against it; `refusal` says why it isn't advised."""

    index: Index
    size: int
    gains: tuple[Gain, ...]
    saved: float = 0.0
    writes: float = 0.0
    refusal: str = ""
    table_size: int = 0
    replaces: tuple[str, ...] = field(default=())
    # It pays, and is left out for what all together would cost writes.
    is_beyond_limit: bool = False


def explained(statements: Iterable[Statement]) -> list[Statement]:
    """Those that EXPLAIN takes."""
    return [statement for statement in statements if first_word(statement.text) in EXPLAINED]


def slow(statements: Iterable[Statement], limits: Limits) -> list[Statement]:
    """Those that are worth a look, by their total time."""
    found = [s for s in statements if s.calls >= limits.calls and s.mean >= limits.mean]
    return sorted(found, key=lambda s: (-s.total, s.id))[: limits.most]


def pick(before: float, trials: Iterable[Trial]) -> Trial | None:
    """The trial to keep, if one saves enough: the smallest among those that are as good as the cheapest."""
    good = [trial for trial in trials if trial.used and trial.plan.cost <= before * (1 - LEAST_SAVING)]
    if not good:
        return None
    cheapest = min(trial.plan.cost for trial in good)
    enough = max(cheapest * AS_GOOD, cheapest + before * AS_GOOD_SHARE)
    equal = [trial for trial in good if trial.plan.cost <= enough]
    return min(equal, key=lambda trial: (trial.size, trial.plan.cost, trial.indexes))


def typical_values(statement: Statement, plan: Plan, tables: Mapping[str, Table]) -> dict[str, str]:
    """Literals for what is compared by size, chosen so that as many rows fit as the statement really returned.

    The planner takes a third of the table for `created_at > $1`. Where nothing sums rows up or cuts them off, what was
    returned tells how many it was.
    """
    if plan.is_limited or plan.aggregates or len(plan.scans) != 1:
        return {}
    scan = plan.scans[0]
    table = tables.get(scan.name)
    ranges = [c for c in scan.conditions if c.kind == RANGE]
    if table is None or not table.rows or len(ranges) != 1 or any(c.kind == EQUAL for c in scan.conditions):
        return {}
    condition = ranges[0]
    column = table.columns.get(condition.column.name)
    share = statement.rows_per_call / table.rows
    if not condition.parameter or column is None or len(column.bounds) < 3 or condition.column.function or share > 0.3:
        return {}
    last = len(column.bounds) - 1
    place = math.floor(share * last) if condition.operator.startswith("<") else last - math.floor(share * last)
    bound = column.bounds[min(max(place, 1), last - 1)]
    return {condition.parameter: "CAST('" + bound.replace("'", "''") + f"' AS {column.type})"}


def weigh(
    index: Index,
    size: int,
    gains: Sequence[Gain],
    lacking: Mapping[str, float],
    counted: float,
    writes: float,
    table_size: int = 0,
) -> Proposal:
    """What an index saves against what it adds to writes each hour, from what has been counted.

    `lacking` are the costs of the statements that use it if it alone weren't there: what another index does as well isn't
    this one's merit.
    """
    using = tuple(sorted((gain for gain in gains if index in gain.used), key=lambda gain: -gain.statement.total))
    saved = (
        sum(
            gain.statement.total * max(0.0, lacking.get(gain.statement.id, gain.before) - gain.after) / gain.before
            for gain in using
            if gain.before > 0
        )
        * 3600
        / max(counted, LEAST_SECONDS)
    )
    refusal = ""
    if not using:
        refusal = "no plan uses it once the other indexes are there"
    elif max(gain.saving for gain in using) < LEAST_SAVING:
        refusal = f"it saves at most {100 * max(gain.saving for gain in using):.0f} % of a plan's cost"
    elif all(is_spare(gain, lacking) for gain in using):
        refusal = "the other indexes serve its statements nearly as well"
    elif saved < LEAST_RETURN * writes:
        refusal = f"it saves {saved / 1000:.2g} s an hour, and writes cost about {writes / 1000:.2g} s of it"
    return Proposal(index, size, using, saved, writes, refusal, table_size)


def is_spare(gain: Gain, lacking: Mapping[str, float]) -> bool:
    """Whether a statement would hardly cost more without the index."""
    return lacking.get(gain.statement.id, gain.before) - gain.after <= SPARE_SHARE * gain.before


def weakest(proposals: Iterable[Proposal]) -> Proposal | None:
    """Of those that don't pay, the one to leave out first: the others may serve what it did, and pay then."""
    refused = [proposal for proposal in proposals if proposal.refusal]
    return min(refused, key=lambda p: (p.saved - p.writes, -p.size, p.index)) if refused else None


def least_worth(proposals: Sequence[Proposal], cost: Cost, most: float) -> Proposal | None:
    """Where all together cost writes too much, the one that saves least for what it costs them."""
    costly = [proposal for proposal in proposals if proposal.writes > 0]
    if not costly or not cost.exceeds(most):
        return None
    return beyond(min(costly, key=lambda p: (worth(p), -p.size, p.index)), cost, most)


def beyond(proposal: Proposal, cost: Cost, most: float) -> Proposal:
    """One that pays, and is left out because writes would lose too much with it."""
    refusal = (
        f"writes would lose {100 * cost.loss:.1f} % with it, of {100 * most:g} % that they may; it saves "
        f"{worth(proposal):.2g} s for each second of writes, and what is advised saves more"
    )
    return replace(proposal, refusal=refusal, is_beyond_limit=True)


def worth(proposal: Proposal) -> float:
    """What is saved for each unit of writes."""
    return proposal.saved / proposal.writes if proposal.writes > 0 else math.inf


def accepted(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Those that are advised, what saves most first."""
    return sorted((p for p in proposals if not p.refusal), key=lambda p: (-(p.saved - p.writes), p.index))


def without(indexes: Iterable[Index], refused: Collection[Index]) -> list[Index]:
    return [index for index in indexes if index not in refused]
