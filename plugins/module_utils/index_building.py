# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which declared indexes are lacking, how they are built, and whether a built one stays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import (
    Existing,
    Index,
    IndexesError,
    column_of,
    find_same,
    quote,
)
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import first_word
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Statement
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan

WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
# So many calls afterwards say something; a statement is worse from so many times its former mean, and so many milliseconds, on.
ENOUGH_CALLS, WORSE_TIMES, WORSE_MS = 20, 1.2, 0.1
# While it is built an index may take twice its size, for what is sorted.
ROOM_TIMES, ROOM_LEAST = 2.0, 256 * 1024 * 1024


@dataclass(frozen=True)
class Building:
    """What there is to do: indexes to build, and what a build that failed left."""

    lacking: tuple[Index, ...]
    present: tuple[Index, ...]
    leftovers: tuple[Existing, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether a built index stays, and why."""

    stays: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A statement around a build: its plan's cost before and after, and its mean in milliseconds where it ran often enough."""

    statement: Statement
    cost_before: float | None
    cost_after: float | None
    uses: bool
    mean_after: float | None
    calls_after: int

    @property
    def is_worse(self) -> bool:
        mean = self.statement.mean
        return (
            self.mean_after is not None
            and self.calls_after >= ENOUGH_CALLS
            and self.mean_after > WORSE_TIMES * mean
            and self.mean_after - mean > WORSE_MS
        )


def plan_building(declared: Iterable[Index], facts: Facts) -> Building:
    """Say what is lacking; a table or column that isn't there is refused before anything is built."""
    wanted = tuple(dict.fromkeys(declared))
    problems = [problem for index in wanted for problem in _problems(index, facts)]
    if problems:
        raise IndexesError("\n".join(problems))
    present = tuple(index for index in wanted if find_same(index, facts.indexes))
    names = {index.name: index for index in wanted}
    return Building(
        tuple(index for index in wanted if index not in present),
        present,
        tuple(found for found in facts.indexes if not found.valid and found.name in names),
    )


def _problems(index: Index, facts: Facts) -> list[str]:
    table = facts.tables.get(f"{index.schema}.{index.table}")
    if table is None:
        return [
            f"{index.says()}: there is no table {index.schema}.{index.table}; correct it, or deploy what makes it first"
        ]
    if table.kind == "p":
        return [
            f"{index.says()}: {table.says} is partitioned, and PostgreSQL can't build its indexes beside writes; declare them for its partitions"
        ]
    named = [*map(column_of, index.columns), *index.include]
    return [
        f"{index.says()}: {table.says} has no column {name}; it has {', '.join(sorted(table.columns))}"
        for name in dict.fromkeys(named)
        if name not in table.columns
    ]


def expected_size(index: Index, facts: Facts) -> int:
    """About what the index will take: its columns' mean width for every row, and what a B-tree has beside."""
    table = facts.tables[f"{index.schema}.{index.table}"]
    columns = {*map(column_of, index.columns), *index.include}
    width = sum(table.columns[name].width for name in columns if name in table.columns)
    return int(table.rows * (width + 16) / 0.9)


def refuse_without_room(index: Index, size: int, free: int) -> None:
    needed = int(ROOM_TIMES * size) + ROOM_LEAST
    if free < needed:
        raise IndexesError(
            f"{index.says()}: {free // 2**20} MiB are free and building takes about {needed // 2**20} MiB; make room, or take it out"
        )


def build_sql(index: Index, lock_timeout: int) -> str:
    """Build beside reads and writes; whoever holds the table for longer than the timeout wins."""
    lines = [
        "SET search_path = pg_catalog;",
        f"SET lock_timeout = '{lock_timeout}s';",
        "SET statement_timeout = 0;",
        f"{index.create()};",
    ]
    if any(column_of(key) != key.split(" ")[0] for key in index.columns):
        # Only now are there statistics to take of a function's results.
        lines.append(f"ANALYZE {quote(index.schema)}.{quote(index.table)};")
    return "\n".join(lines)


def drop_sql(schema: str, name: str, patience: int) -> str:
    """Drop beside reads and writes. It waits for the transactions that are open and keeps nobody waiting, so it may wait for long."""
    return (
        f"SET lock_timeout = 0;\nSET statement_timeout = '{patience}s';\n"
        f"DROP INDEX CONCURRENTLY IF EXISTS {quote(schema)}.{quote(name)};"
    )


def touches(statement: Statement, index: Index) -> bool:
    """Whether the statement's text names the table."""
    return re.search(rf"(?<![\w$]){re.escape(index.table)}(?![\w$])", statement.text) is not None


def changes_of(
    index: Index,
    statements: Sequence[Statement],
    before: Mapping[str, Plan],
    after: Mapping[str, Plan],
    built: Mapping[str, Statement],
    baked: Mapping[str, Statement],
) -> list[Change]:
    """What became of every statement on the table: `built` and `baked` are the counters when it was built and later."""
    changes = []
    for statement in statements:
        if not touches(statement, index):
            continue
        old, new = before.get(statement.id), after.get(statement.id)
        first, last = built.get(statement.id), baked.get(statement.id)
        calls = (last.calls - (first.calls if first else 0)) if last else 0
        total = (last.total - (first.total if first else 0)) if last else 0.0
        changes.append(
            Change(
                statement,
                old.cost if old else None,
                new.cost if new else None,
                new is not None and index.name in new.indexes,
                total / calls if calls > 0 else None,
                max(0, calls),
            )
        )
    return changes


def judge(index: Index, changes: Sequence[Change], scans: int, baked_seconds: float) -> Verdict:
    """Say whether a built index stays."""
    blamed = [c for c in changes if c.is_worse and (c.uses or first_word(c.statement.text) in WRITES)]
    if blamed and not index.unique:
        reasons = [
            f"{c.statement.text[:80]!r} took {c.statement.mean:.2f} ms before and {c.mean_after:.2f} ms after, over {c.calls_after} calls"
            for c in blamed
        ]
        return Verdict(False, tuple(reasons))
    using = [c for c in changes if c.uses]
    if using or scans:
        found = [
            f"cost {c.cost_before:.0f} before and {c.cost_after:.0f} after: {c.statement.text[:80]!r}"
            for c in using
            if c.cost_before is not None and c.cost_after is not None
        ]
        return Verdict(True, (f"{scans} scans in {baked_seconds:.0f} s", *found))
    if index.unique:
        return Verdict(True, ("no plan uses it, but it keeps its columns unique",))
    if not changes:
        return Verdict(True, ("no statement on its table has been counted yet, so it can't be judged",))
    return Verdict(
        False, (f"no plan of {len(changes)} statements on its table uses it, and nothing did in {baked_seconds:.0f} s",)
    )
