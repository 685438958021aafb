# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Advice that is no index to build: asked too often, paged by OFFSET, statistics, bloat, sequences, indexes to spare."""

from __future__ import annotations

import statistics as figures
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import LEAST_ROWS, Table
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import find_duplicates
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import EQUAL, PATTERN, pages_by_offset
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Statement
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan

DAY = 86_400.0
# A point query that runs so often, and so many times as often as the usual statement, is likely run once for each row of another.
MANY_CALLS, MANY_TIMES = 1000, 20
POINT_ROWS = 100
STALE_SHARE, STALE_ROWS = 0.2, 1000
DEAD_SHARE, DEAD_ROWS = 0.2, 10_000
PAGE, PAGE_HEADER, ROW_HEADER = 8192, 24, 28
BLOAT_FACTOR, BLOAT_LEAST = 2.0, 16 * 1024 * 1024
NEAR_END = 0.5
UNUSED_LEAST, UNUSED_DAYS = 1024 * 1024, 7
MEBIBYTE = 1024 * 1024


# Kinds of hints about indexes that could go, which would give something back to writes.
TO_SPARE = ("duplicate index", "unused index", "invalid index")


@dataclass(frozen=True)
class Hint:
    """A piece of advice: what about, why, and what to do."""

    kind: str
    subject: str
    says: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        return {"kind": self.kind, "subject": self.subject, "says": self.says, "evidence": dict(self.evidence)}


def hints_of(statements: Sequence[Statement], plans: Mapping[str, Plan], facts: Facts, slow_ms: float) -> list[Hint]:
    """All of it, in the order in which a person would look."""
    return [
        *asked_too_often(statements, plans),
        *paged(statements, slow_ms),
        *patterns(statements, plans, slow_ms),
        *stale(facts.tables.values()),
        *bloated(facts.tables.values()),
        *near_their_end(facts),
        *spare(facts),
    ]


def asked_too_often(statements: Sequence[Statement], plans: Mapping[str, Plan]) -> Iterator[Hint]:
    if len(statements) < 3:
        return
    usual = max(1.0, figures.median(statement.calls for statement in statements))
    for statement in statements:
        plan = plans.get(statement.id)
        often = statement.calls >= MANY_CALLS and statement.calls >= MANY_TIMES * usual
        if often and plan and _is_point(plan) and statement.rows_per_call <= POINT_ROWS:
            yield Hint(
                "n+1",
                one_line(statement.text),
                f"ran {statement.calls} times, {statement.calls / usual:.0f} times as often as the usual statement, for one key "
                "each time: likely once for every row of another; fetch them at once, by a join or = ANY(…)",
                {"calls": statement.calls, "median_calls": usual, "total_ms": round(statement.total, 1)},
            )


def _is_point(plan: Plan) -> bool:
    return len(plan.scans) == 1 and any(c.kind == EQUAL for c in plan.scans[0].conditions)


def paged(statements: Iterable[Statement], slow_ms: float) -> Iterator[Hint]:
    for statement in statements:
        if statement.mean >= slow_ms and pages_by_offset(statement.text):
            yield Hint(
                "offset",
                one_line(statement.text),
                f"takes {statement.mean:.1f} ms, for it reads and throws away all rows of the pages before; "
                "ask for what comes after the last row of the page before (WHERE (key, id) > ($1, $2)), which takes no OFFSET",
                {"calls": statement.calls, "mean_ms": round(statement.mean, 2)},
            )


def patterns(statements: Iterable[Statement], plans: Mapping[str, Plan], slow_ms: float) -> Iterator[Hint]:
    for statement in statements:
        plan = plans.get(statement.id)
        asked = [c.column.name for scan in (plan.scans if plan else ()) for c in scan.conditions if c.kind == PATTERN]
        if statement.mean >= slow_ms and asked:
            yield Hint(
                "pattern",
                one_line(statement.text),
                f"compares {', '.join(asked)} with a pattern in {statement.mean:.1f} ms; whether it begins with a wildcard can't be "
                "seen, and an index of the usual kind doesn't serve one that does. Try a trigram index (pg_trgm) on a copy",
                {"calls": statement.calls, "mean_ms": round(statement.mean, 2)},
            )


def stale(tables: Iterable[Table]) -> Iterator[Hint]:
    for table in tables:
        if table.kind == "p" or max(table.live, table.rows) < LEAST_ROWS:
            continue
        if not table.analyzed:
            yield Hint(
                "statistics",
                table.says,
                "has no statistics, so plans are guesses; run ANALYZE on it",
                {"rows": table.live},
            )
        elif table.modified > STALE_SHARE * max(table.rows, 1) + STALE_ROWS:
            yield Hint(
                "statistics",
                table.says,
                f"{table.modified} rows changed since its statistics were taken, of {table.rows:.0f}; run ANALYZE, and let autovacuum "
                "come sooner (autovacuum_analyze_scale_factor on the table)",
                {"modified": table.modified, "rows": table.rows},
            )


def bloated(tables: Iterable[Table]) -> Iterator[Hint]:
    for table in tables:
        if table.dead > DEAD_ROWS and table.dead > DEAD_SHARE * max(1, table.live):
            yield Hint(
                "bloat",
                table.says,
                f"{table.dead} dead rows beside {table.live} living ones; see that no old transaction holds them, then VACUUM",
                {"dead": table.dead, "live": table.live},
            )
            continue
        needed = expected_size(table)
        if table.analyzed and needed and table.size > BLOAT_LEAST and table.size > BLOAT_FACTOR * needed:
            yield Hint(
                "bloat",
                table.says,
                f"takes {table.size / MEBIBYTE:.0f} MiB where its rows need about {needed / MEBIBYTE:.0f} by their mean width (an estimate); "
                "pg_repack or VACUUM FULL gives it back, the latter locks the table",
                {"size": table.size, "needed": needed},
            )


def expected_size(table: Table) -> int:
    """What the rows need, by their mean width."""
    width = sum(column.width * (1 - column.null_share) for column in table.columns.values()) + ROW_HEADER
    per_page = max(1, int((PAGE - PAGE_HEADER) / width))
    return int(table.rows / per_page) * PAGE


def near_their_end(facts: Facts) -> Iterator[Hint]:
    for sequence in facts.sequences:
        share = sequence.last / sequence.most
        if share >= NEAR_END:
            yield Hint(
                "sequence",
                sequence.name,
                f"is at {sequence.last} of {sequence.most}, {100 * share:.0f} %; at its end every insert fails. Make the column a bigint in time",
                {"last": sequence.last, "most": sequence.most},
            )


def spare(facts: Facts) -> Iterator[Hint]:
    """Indexes that aren't used, that another one serves for, or that were never finished."""
    told = set()
    for found in facts.indexes:
        if not found.valid:
            told.add(found.name)
            yield Hint(
                "invalid index",
                found.name,
                f"on {found.index.says()} was never finished; drop it",
                {"size": found.size},
            )
    for spare_one, other in find_duplicates(facts.indexes):
        told.add(spare_one.name)
        yield Hint(
            "duplicate index",
            spare_one.name,
            f"on {spare_one.index.says()}: {other.name} on {other.index.says()} serves whatever it does",
            {"size": spare_one.size, "other": other.name},
        )
    days = facts.counted / DAY
    for found in facts.indexes:
        unique = found.constraint or found.index.unique
        if found.scans or unique or found.name in told or found.size < UNUSED_LEAST:
            continue
        since = (
            f"in {days:.0f} days" if days >= UNUSED_DAYS else f"in {days:.1f} days, which is too short to drop it for"
        )
        yield Hint(
            "unused index",
            found.name,
            f"on {found.index.says()} was not used on the primary {since}, and takes {found.size / MEBIBYTE:.0f} MiB; standbys count their own",
            {"size": found.size, "days": round(days, 1)},
        )


def one_line(text: str, most: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
