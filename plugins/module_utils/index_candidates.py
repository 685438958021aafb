# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which indexes might serve a plan: guesses by rule, which HypoPG and the planner then try one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import (
    Index,
    column_of,
    is_column,
    is_key,
)
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import (
    EQUAL,
    FALSE,
    NOT_NULL,
    NULL,
    RANGE,
    TRUE,
    Condition,
)
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan, Scan

# A small table is read whole faster than any index.
LEAST_ROWS = 2000
MOST_KEYS, MOST_INCLUDED, MOST_INCLUDED_BYTES = 4, 4, 64
MOST_PER_SCAN = 24
PARTIAL = {NULL: "{} IS NULL", NOT_NULL: "{} IS NOT NULL", TRUE: "{}", FALSE: "NOT {}"}


@dataclass(frozen=True)
class TableColumn:
    """A column as the statistics have it; `distinct` as in pg_stats, below 0 a share of the rows."""

    name: str
    width: int = 8
    distinct: float = 0
    null_share: float = 0
    # Values that split the rows into parts of equal size, as text, and the type that they are of.
    bounds: tuple[str, ...] = ()
    type: str = ""
    # How far its values follow the order of the rows, as in pg_stats.
    correlation: float = 0


@dataclass(frozen=True)
class Table:
    """A table and what was counted of it."""

    schema: str
    name: str
    rows: float = 0
    size: int = 0
    columns: Mapping[str, TableColumn] = field(default_factory=dict)
    inserts: int = 0
    updates: int = 0
    hot_updates: int = 0
    deletes: int = 0
    live: int = 0
    dead: int = 0
    modified: int = 0
    analyzed: bool = True
    kind: str = "r"

    @property
    def key(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def says(self) -> str:
        return self.name if self.schema == "public" else self.key


def candidates_of(plan: Plan, tables: Mapping[str, Table]) -> list[Index]:
    """All that might serve a plan, each once, those of the largest tables first."""
    found: dict[Index, None] = {}
    scans = sorted(plan.scans, key=lambda scan: -tables[scan.name].rows if scan.name in tables else 0)
    for scan in scans:
        table = tables.get(scan.name)
        if table is None or table.rows < LEAST_ROWS or table.kind not in ("r", "m"):
            continue
        own = dict.fromkeys(index for index in _of_scan(scan, table) if all(map(is_key, index.columns)))
        found.update(dict.fromkeys(list(own)[:MOST_PER_SCAN]))
    return list(found)


def _of_scan(scan: Scan, table: Table) -> Iterator[Index]:
    for keys in _keys(scan, table):
        yield from _shapes(keys, scan, table)


def _keys(scan: Scan, table: Table) -> Iterator[tuple[str, ...]]:
    """Keys in the order in which a B-tree serves them: what is equal, then an order or one range."""
    equal = _by_distinct(_columns(scan.conditions, EQUAL), table)
    ranges = [name for name in _columns(scan.conditions, RANGE) if name not in equal]
    joins = [name for name in _columns(scan.joins, EQUAL) if name not in equal]
    sorts = [tuple(key.expression for key in sort if key.column.expression not in equal) for sort in scan.sorts]
    groups = [tuple(column.expression for column in group if column.expression not in equal) for group in scan.groups]
    for tail in (*sorts, *([name] for name in ranges), *groups):
        yield (*equal, *tail)
    for sort in sorts:
        for name in ranges:
            if name not in {column_of(key) for key in sort}:
                yield (*equal, *sort, name)
    if equal:
        yield tuple(equal)
        # A least or greatest value stands at the end of such an index.
        others = sorted((scan.needed or frozenset()) - set(map(column_of, equal))) if not scan.sorts else []
        yield from ((*equal, name) for name in others[:MOST_INCLUDED] if name in table.columns)
    for name in joins:
        yield (*equal, name)
        yield (name, *equal)
        yield (name,)
        yield from ((name, *equal, *sort) for sort in sorts)
        yield from ((name, *equal, other) for other in ranges)
    if len(equal) > 1:
        yield (equal[0],)


def _columns(conditions: Iterable[Condition], kind: str) -> list[str]:
    return list(dict.fromkeys(c.column.expression for c in conditions if c.kind == kind))


def _by_distinct(names: Sequence[str], table: Table) -> list[str]:
    """The most telling column first: what another statement asks for alone is likeliest to be it."""
    return sorted(names, key=lambda name: (-distinct_values(table, column_of(name)), name))


def distinct_values(table: Table, name: str) -> float:
    column = table.columns.get(name)
    if column is None:
        return 0
    return -column.distinct * table.rows if column.distinct < 0 else column.distinct


def _shapes(keys: tuple[str, ...], scan: Scan, table: Table) -> Iterator[Index]:
    """The keys alone, with only the rows that the plan asks for, and with what it reads beside them."""
    keys = tuple(dict.fromkeys(keys))[:MOST_KEYS]
    where = _predicate(scan, table)
    shapes = [Index(scan.schema, scan.table, keys)] if keys else []
    if where:
        telling = keys or _nullable_key(scan, table)
        shapes += [Index(scan.schema, scan.table, telling, (), where)] if telling else []
    for index in shapes:
        yield index
        yield from _covering(index, scan, table)


def _nullable_key(scan: Scan, table: Table) -> tuple[str, ...]:
    return tuple(c.column.name for c in scan.conditions if c.kind in PARTIAL)[:1] if table.rows else ()


def _predicate(scan: Scan, table: Table) -> str:
    """What all rows that the plan asks for have in common, apart from parameters, and few others have."""
    parts = []
    for condition in scan.conditions:
        name = condition.column.name
        if (
            condition.kind in PARTIAL
            and not condition.column.function
            and is_column(name)
            and _is_rare(condition.kind, table, name)
        ):
            parts.append(PARTIAL[condition.kind].format(name))
    return " AND ".join(sorted(set(parts)))


def _is_rare(kind: str, table: Table, name: str) -> bool:
    column = table.columns.get(name)
    if column is None or kind in (TRUE, FALSE):
        return True
    share = column.null_share if kind == NULL else 1 - column.null_share
    return share <= 0.5


def _covering(index: Index, scan: Scan, table: Table) -> Iterator[Index]:
    """With all that the plan reads carried along, where that is little."""
    # Of a function's results there are no statistics before the index is there, so its rows are overrated, and carrying much along seems to pay.
    if scan.needed is None or any(column_of(key) != key.split(" ")[0] for key in index.columns):
        return
    held = {key.split(" ")[0] for key in index.columns}
    given = (
        {column_of(part.removeprefix("NOT ").split(" ")[0]) for part in index.where.split(" AND ")}
        if index.where
        else set()
    )
    lacking = sorted((scan.needed & table.columns.keys()) - held - given)
    width = sum(table.columns[name].width if name in table.columns else 32 for name in lacking)
    if lacking and len(lacking) <= MOST_INCLUDED and width <= MOST_INCLUDED_BYTES and all(map(is_column, lacking)):
        yield replace(index, include=tuple(lacking))


def merge(indexes: Iterable[Index]) -> list[Index]:
    """As few as serve the same: one that another one covers goes, and those with the same keys become one."""
    merged: list[Index] = []
    for index in sorted(set(indexes), key=lambda index: (-len(index.columns), -len(index.include), index)):
        if any(other.covers(index) for other in merged):
            continue
        for place, other in enumerate(merged):
            together = tuple(dict.fromkeys([*other.include, *index.include]))
            alike = replace(other, include=()) == replace(index, include=())
            if alike and len(together) <= MOST_INCLUDED:
                merged[place] = replace(other, include=together)
                break
        else:
            merged.append(index)
    return sorted(merged)
