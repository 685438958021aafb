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
    explained,
    pick,
    slow,
    typical_values,
    weakest,
    weigh,
    without,
)
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import explainable
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Outcome, Statement, Task
from ansible_collections.nectar.backend.plugins.module_utils.query_hints import Hint, hints_of
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan, PlanError, read_plan

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

    def settle(self, statements: Sequence[Statement], counted: float) -> tuple[list[Proposal], list[Gain]]:
        """All chosen indexes at once; the weakest leaves until all that stay pay for themselves."""
        together = tuple(merge(index for trial in self.chosen.values() for index in trial.used))
        known = [s for s in statements if s.id in self.plans]
        refused: list[Proposal] = []
        while True:
            gains, sizes = self.gains(known, together)
            proposals = self.weigh_all(together, gains, sizes, counted)
            leaving = weakest(proposals)
            if leaving is None:
                return [replace_spared(proposal, self.facts) for proposal in proposals] + refused, gains
            refused.append(leaving)
            together = tuple(without(together, [leaving.index]))

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
        self, together: Sequence[Index], gains: Sequence[Gain], sizes: Mapping[Index, int], counted: float
    ) -> list[Proposal]:
        """Weigh each index by what its statements would cost without it alone."""
        asked = [(index, gain) for index in together for gain in gains if index in gain.used]
        trials = self.trials([(gain.statement.id, tuple(without(together, [index]))) for index, gain in asked])
        lacking: dict[Index, dict[str, float]] = {index: {} for index in together}
        for (index, gain), trial in zip(asked, trials, strict=True):
            if trial is not None:
                lacking[index][gain.statement.id] = trial.plan.cost
        return [
            weigh(
                index,
                sizes.get(index, 0),
                gains,
                lacking[index],
                self.facts.tables.get(f"{index.schema}.{index.table}"),
                counted,
                self.facts.counted,
            )
            for index in together
        ]


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
    proposals, gains = search.settle(known, counted)
    return Advice(
        tuple(accepted(proposals)),
        tuple(sorted((p for p in proposals if p.refusal), key=lambda p: p.index)),
        tuple(gain for gain in gains if gain.used),
        tuple(hints_of(known, search.plans, facts, limits.mean)),
        tuple(looked_at),
        {s.id: search.errors[s.id] for s in looked_at if s.id in search.errors},
        counted,
    )
