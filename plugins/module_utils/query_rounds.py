# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Advise a database: explain what is slow, try candidates round by round, and weigh what is left. Whoever calls it does the asking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import candidates_of, merge
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Index, find_same
from ansible_collections.nectar.backend.plugins.module_utils.query_choice import (
    Gain,
    Limits,
    Proposal,
    Trial,
    accepted,
    beyond,
    explained,
    least_worth,
    pick,
    slow,
    typical_values,
    weakest,
    weigh,
    without,
    worth,
)
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import explainable
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Outcome, Statement, Task
from ansible_collections.nectar.backend.plugins.module_utils.query_hints import TO_SPARE, Hint, hints_of
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan, PlanError, read_plan
from ansible_collections.nectar.backend.plugins.module_utils.write_costs import Cost, Writes, read_writes

Ask = Callable[[Sequence[Task]], Sequence[Outcome]]
# A statement may need an index on each of its tables.
ROUNDS = 3


@dataclass(frozen=True)
class Advice:
    """What came of it."""

    proposals: tuple[Proposal, ...]
    refused: tuple[Proposal, ...]
    gains: tuple[Gain, ...]
    hints: tuple[Hint, ...]
    looked_at: tuple[Statement, ...]
    unexplained: Mapping[str, str]
    counted: float
    # What the advised indexes cost writes, on all tables and on each, and what they may cost.
    cost: Cost
    table_costs: Mapping[str, Cost]
    write_loss: float
    # Indexes that could go by the hints or once the advised ones are there, and the share of writes that would come back.
    to_spare: tuple[str, ...]
    given_back: float


@dataclass(frozen=True)
class Settled:
    """A set of indexes, weighed: what speaks for each, what statements gain, and what writes lose."""

    proposals: tuple[Proposal, ...]
    gains: tuple[Gain, ...]
    cost: Cost
    table_costs: Mapping[str, Cost]


@dataclass
class Search:
    """The state of a search: texts that can be explained, plans as they are, and indexes chosen by statement."""

    ask: Ask
    facts: Facts
    texts: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, Trial] = field(default_factory=dict)

    def explain(self, statements: Sequence[Statement]) -> None:
        """Explain statements as the database is now, with values that are typical for them where these are known."""
        for statement in statements:
            self.texts[statement.id] = explainable(statement.text, statement.rows_per_call)
        for trial, statement in zip(self.trials([(s.id, ()) for s in statements]), statements, strict=True):
            if trial is not None:
                self.plans[statement.id] = trial.plan
        sharper = {}
        for statement in statements:
            if statement.id in self.plans:
                values = typical_values(statement, self.plans[statement.id], self.facts.tables)
                if values:
                    sharper[statement.id] = explainable(statement.text, statement.rows_per_call, values)
        before = {name: self.texts[name] for name in sharper}
        self.texts.update(sharper)
        for trial, name in zip(self.trials([(name, ()) for name in sharper]), sharper, strict=True):
            if trial is None:
                # Without the values it could be explained.
                self.texts[name] = before[name]
                del self.errors[name]
            else:
                self.plans[name] = trial.plan

    def trials(self, wanted: Sequence[tuple[str, tuple[Index, ...]]]) -> list[Trial | None]:
        """The plan of each statement with some indexes more; None where there is none."""
        if not wanted:
            return []
        outcomes = self.ask([Task(name, self.texts[name], indexes) for name, indexes in wanted])
        return [self.read(name, indexes, outcome) for (name, indexes), outcome in zip(wanted, outcomes, strict=True)]

    def read(self, name: str, indexes: tuple[Index, ...], outcome: Outcome) -> Trial | None:
        try:
            if outcome.error:
                raise PlanError(outcome.error)
            plan = read_plan(outcome.plan)
        except PlanError as error:
            if not indexes:
                self.errors[name] = str(error)
            return None
        used = frozenset(index for index, made in zip(indexes, outcome.names, strict=True) if made in plan.indexes)
        return Trial(indexes, plan, outcome.sizes, used)

    def choose(self, statements: Iterable[Statement]) -> None:
        """Try each statement's candidates, and what helps further once the first one is there."""
        open_ones = [s.id for s in statements if s.id in self.plans]
        for _round in range(ROUNDS):
            wanted = []
            for name in open_ones:
                held = self.chosen[name].indexes if name in self.chosen else ()
                plan = self.chosen[name].plan if name in self.chosen else self.plans[name]
                # Once a table has its index, another one for the same statement would only be a better guess at the first.
                tables = {(index.schema, index.table) for index in held}
                wanted += [
                    (name, (*held, index))
                    for index in candidates_of(plan, self.facts.tables)
                    if (index.schema, index.table) not in tables and find_same(index, self.facts.indexes) is None
                ]
            by_name: dict[str, list[Trial]] = {}
            for (name, _indexes), trial in zip(wanted, self.trials(wanted), strict=True):
                # What was chosen before has to stay in the plan beside what comes now.
                if trial is not None and len(trial.used) == len(trial.indexes):
                    by_name.setdefault(name, []).append(trial)
            open_ones = []
            for name, found in by_name.items():
                now = self.chosen[name].plan.cost if name in self.chosen else self.plans[name].cost
                best = pick(now, found)
                if best is not None:
                    self.chosen[name] = best
                    open_ones.append(name)

    def settle(self, statements: Sequence[Statement], counted: float, writes: Writes, most: float) -> Settled:
        """All chosen indexes at once; the weakest leaves until all that stay pay, and together cost writes no more than they may."""
        together = tuple(merge(index for trial in self.chosen.values() for index in trial.used))
        known = [s for s in statements if s.id in self.plans]
        refused: list[Proposal] = []
        while True:
            settled = self.weigh_all(together, known, counted, writes)
            leaving = weakest(settled.proposals) or least_worth(settled.proposals, settled.cost, most)
            if leaving is None:
                break
            refused.append(leaving)
            together = tuple(without(together, [leaving.index]))
        # What left early may fit beside what is left.
        left_out = {p.index: p for p in refused}
        for proposal in sorted((p for p in refused if p.is_beyond_limit), key=lambda p: (-worth(p), p.index)):
            fuller = self.weigh_all((*together, proposal.index), known, counted, writes)
            if not fuller.cost.exceeds(most) and weakest(fuller.proposals) is None:
                together, settled = (*together, proposal.index), fuller
                del left_out[proposal.index]
            else:
                now = next(p for p in fuller.proposals if p.index == proposal.index)
                left_out[proposal.index] = now if now.refusal else beyond(now, fuller.cost, most)
        refused = list(left_out.values())
        kept = [replace_spared(proposal, self.facts) for proposal in settled.proposals]
        return replace(settled, proposals=(*kept, *refused))

    def gains(self, known: Sequence[Statement], together: tuple[Index, ...]) -> tuple[list[Gain], dict[Index, int]]:
        """Each statement's cost with the indexes, and their sizes."""
        gains: list[Gain] = []
        sizes: dict[Index, int] = {}
        for statement, trial in zip(known, self.trials([(s.id, together) for s in known]), strict=True):
            if trial is not None:
                sizes.update(zip(trial.indexes, trial.sizes, strict=True))
                gains.append(Gain(statement, self.plans[statement.id].cost, trial.plan.cost, trial.used))
        return gains, sizes

    def weigh_all(
        self, together: Sequence[Index], known: Sequence[Statement], counted: float, writes: Writes
    ) -> Settled:
        """Weigh each index by what its statements, and writes, would cost without it alone."""
        gains, sizes = self.gains(known, tuple(together))
        cost = writes.cost(together, sizes)
        asked = [(index, gain) for index in together for gain in gains if index in gain.used]
        trials = self.trials([(gain.statement.id, tuple(without(together, [index]))) for index, gain in asked])
        lacking: dict[Index, dict[str, float]] = {index: {} for index in together}
        for (index, gain), trial in zip(asked, trials, strict=True):
            if trial is not None:
                lacking[index][gain.statement.id] = trial.plan.cost
        proposals = [
            weigh(
                index,
                sizes.get(index, 0),
                gains,
                lacking[index],
                counted,
                cost.added - writes.cost(without(together, [index]), sizes).added,
                self.facts.tables[f"{index.schema}.{index.table}"].size,
            )
            for index in together
        ]
        return Settled(tuple(proposals), tuple(gains), cost, writes.by_table(together, sizes))


def replace_spared(proposal: Proposal, facts: Facts) -> Proposal:
    """Name the indexes that are to spare once this one is there."""
    spared = [
        found.name
        for found in facts.indexes
        if not found.constraint and not found.index.unique and found.valid and proposal.index.covers(found.index)
    ]
    return replace(proposal, replaces=tuple(spared))


def advise(statements: Sequence[Statement], counted: float, facts: Facts, limits: Limits, ask: Ask) -> Advice:
    """Advise on a database."""
    known = explained(statements)[: 2 * limits.most]
    looked_at = slow(known, limits)
    search = Search(ask, facts)
    search.explain(known)
    search.choose(looked_at)
    writes = read_writes(statements, counted, facts)
    settled = search.settle(known, counted, writes, limits.write_loss)
    proposals = accepted(settled.proposals)
    hints = hints_of(known, search.plans, facts, limits.mean)
    replaced = [name for proposal in proposals for name in proposal.replaces]
    to_spare = sorted({*replaced, *(hint.subject for hint in hints if hint.kind in TO_SPARE)})
    return Advice(
        tuple(proposals),
        tuple(sorted((p for p in settled.proposals if p.refusal), key=lambda p: p.index)),
        tuple(gain for gain in settled.gains if gain.used),
        tuple(hints),
        tuple(looked_at),
        {s.id: search.errors[s.id] for s in looked_at if s.id in search.errors},
        counted,
        settled.cost,
        {key: cost for key, cost in settled.table_costs.items() if cost.added > 0},
        limits.write_loss,
        tuple(to_spare),
        writes.given_back(to_spare),
    )
