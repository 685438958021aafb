# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a database's writes cost, and what a set of indexes would add to them, by what has been counted.

The model counts what PostgreSQL does, in milliseconds that matter as ratios:

- A statement that writes ends in a commit, or in a share of one (pg_stat_database, pg_stat_statements).
- Each inserted row, and each updated one that isn't updated in place (HOT), adds an entry to every index of its table.
- An update is in place only while no index holds a column that it sets, INCLUDE and WHERE counted (PostgreSQL's documentation, 65.7,
  "Heap-Only Tuples"). How many are so now is counted in pg_stat_user_tables; which columns they set stands in the statements' texts.
- A page's first change after a checkpoint writes all of it to the log (full_page_writes, documentation 28.5 and 19.5), and has
  likely to be read first. Of N entries at random among P pages, P * (1 - exp(-N / P)) are such. Entries that come in the index's own
  order share their page.

The ratio of the three figures below was measured: docs/queries.md says how, and how well it foresaw what the bench then measured.
The greedy choice under a budget is that of Chaudhuri and Narasayya, "An Efficient, Cost-Driven Index Selection Tool for Microsoft
SQL Server" (VLDB 1997); leaving out by gain per cost is Schlosser, Kossmann and Boissier, "Efficient Scalable Multi-attribute Index
Selection Using Recursive Strategies" (ICDE 2019), run from the full set down.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, distinct_values
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Existing, Index, column_of
from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import Token, bare, tokens_of
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Statement

# Milliseconds of a commit with its flush and its way over the wire, of an entry or a row, and of a page's first change.
COMMIT_MS, ENTRY_MS, IMAGE_MS = 0.5, 0.02, 0.08
PAGE, ENTRY_BYTES = 8192, 16
# From this correlation on, a column's values come in the order of the rows.
IN_ORDER = 0.9
LEAST_SECONDS = 60.0
# Writes that take less of an hour than this, some ten a minute, may lose whatever an index pays for.
SELDOM_MS = 360.0


@dataclass(frozen=True)
class Written:
    """What statements write to a table: which columns an update sets."""

    table: str
    kind: str
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TableWrites:
    """A table's writes in an hour."""

    table: Table
    inserts: float = 0
    updates: float = 0
    hot: float = 0
    deletes: float = 0
    # Statements for each row, below 1 where one writes many.
    calls_per_row: float = 1.0
    # Of the updated rows, the shares by which columns were set; empty where no text tells.
    sets: Mapping[frozenset[str], float] = field(default_factory=dict)
    existing: tuple[Existing, ...] = ()

    @property
    def rows(self) -> float:
        return self.inserts + self.updates + self.deletes

    def kept_hot(self, indexes: Iterable[Index]) -> float:
        """Updates in an hour that stay in place with these indexes more; where no text tells, none of them."""
        held = {name for index in indexes for name in columns_of(index)}
        if not held:
            return self.hot
        return self.hot * sum(share for columns, share in self.sets.items() if not columns & held)


@dataclass(frozen=True)
class Cost:
    """Milliseconds of writes in an hour, now and added."""

    now: float
    added: float

    @property
    def loss(self) -> float:
        """The share of writes that would be lost if nothing but writes were done."""
        return self.added / (self.now + self.added) if self.added > 0 else 0.0

    @property
    def is_seldom(self) -> bool:
        """Whether there are hardly any writes to lose."""
        return self.now < SELDOM_MS

    def exceeds(self, most: float) -> bool:
        """Whether writes would lose more than they may."""
        return not self.is_seldom and self.loss > most


@dataclass(frozen=True)
class Writes:
    """All tables' writes, and how many seconds are between checkpoints and commits for each statement."""

    tables: Mapping[str, TableWrites]
    checkpoint: float = 300.0
    images: bool = True
    commits: float = 1.0

    def cost(self, indexes: Collection[Index], sizes: Mapping[Index, int]) -> Cost:
        """What all writes cost now, and what a set of indexes adds on all tables together."""
        by_table = self.by_table(indexes, sizes)
        return Cost(sum(c.now for c in by_table.values()), sum(c.added for c in by_table.values()))

    def given_back(self, names: Collection[str]) -> float:
        """The share of what writes cost now that would go with some of the indexes that there are."""
        now = self.cost((), {}).now
        fewer = {
            key: replace(writes, existing=tuple(found for found in writes.existing if found.name not in names))
            for key, writes in self.tables.items()
        }
        return 1 - replace(self, tables=fewer).cost((), {}).now / now if now else 0.0

    def by_table(self, indexes: Collection[Index], sizes: Mapping[Index, int]) -> dict[str, Cost]:
        """The same for each table."""
        return {
            key: self.table_cost(writes, [i for i in indexes if f"{i.schema}.{i.table}" == key], sizes)
            for key, writes in self.tables.items()
        }

    def table_cost(self, writes: TableWrites, more: Sequence[Index], sizes: Mapping[Index, int]) -> Cost:
        now = self.entries(writes, writes.hot, ())
        kept = writes.kept_hot(more)
        # Rows and commits cost what they did.
        rows = (
            writes.rows * writes.calls_per_row * self.commits * COMMIT_MS
            + self.touched(writes.inserts, 1)
            + self.touched(writes.updates + writes.deletes, max(1.0, writes.table.size / PAGE))
        )
        added = self.entries(writes, kept, [(index, sizes.get(index, 0)) for index in more]) - now
        return Cost(rows + now, added)

    def entries(self, writes: TableWrites, hot: float, more: Sequence[tuple[Index, int]]) -> float:
        """What entries cost in all indexes that there are and in some more, when so many updates are in place."""
        held = [(found.index, found.size) for found in writes.existing] + list(more)
        moved = max(0.0, writes.updates - hot)
        return sum(
            self.touched(writes.inserts, spots(index, writes.table, size))
            + self.touched(moved * share_held(index, writes, size), max(1.0, size / PAGE))
            for index, size in held
        )

    def touched(self, entries: float, pages: float) -> float:
        """Milliseconds of so many entries an hour among so many pages, those included that go to the log whole."""
        between = entries * self.checkpoint / 3600
        if between <= 0:
            return 0.0
        first = pages * -math.expm1(-between / pages) / between if self.images else 0.0
        return entries * (ENTRY_MS + IMAGE_MS * first)


def columns_of(index: Index) -> set[str]:
    """All columns that an index holds or rests on."""
    parts = [part.removeprefix("NOT ").split(" ")[0] for part in index.where.split(" AND ")] if index.where else []
    return {*map(column_of, index.columns), *index.include, *parts}


def spots(index: Index, table: Table, size: int) -> float:
    """Among how many pages new rows' entries are spread: one where keys come in order, one for each group of such, or all."""
    groups, pages = 1.0, max(1.0, size / PAGE)
    for key in index.columns:
        column = table.columns.get(key.split(" ")[0])
        if column is None:
            return pages
        if abs(column.correlation) >= IN_ORDER:
            break
        groups *= max(1.0, distinct_values(table, column.name))
    else:
        return pages
    return min(pages, groups)


def share_held(index: Index, writes: TableWrites, size: int) -> float:
    """The share of the rows that a partial index holds, by its size; one for the others."""
    if not index.where or not writes.table.rows or not size:
        return 1.0
    width = sum(
        writes.table.columns[name].width if name in writes.table.columns else 8
        for name in (*map(column_of, index.columns), *index.include)
    )
    return min(1.0, size / (writes.table.rows * (ENTRY_BYTES + width)))


def read_writes(statements: Sequence[Statement], counted: float, facts: Facts) -> Writes:
    """What has been counted, by the hour."""
    found = [(s, written) for s in statements if (written := what_is_written(s.text, facts.tables)) is not None]
    hours = max(facts.counted, LEAST_SECONDS) / 3600
    tables = {}
    for key, table in facts.tables.items():
        own = [(s, written) for s, written in found if written.table == key]
        rows, calls = sum(s.rows for s, _w in own), sum(s.calls for s, _w in own)
        tables[key] = TableWrites(
            table,
            table.inserts / hours,
            table.updates / hours,
            table.hot_updates / hours,
            table.deletes / hours,
            calls / rows if rows else 1.0,
            _sets(own),
            tuple(i for i in facts.indexes if f"{i.index.schema}.{i.index.table}" == key and i.valid),
        )
    called = sum(s.calls for s in statements) / max(counted, LEAST_SECONDS)
    commits = facts.commits / max(facts.counted, LEAST_SECONDS)
    return Writes(
        tables, facts.checkpoint, facts.images, min(1.0, commits / called) if called and facts.commits else 1.0
    )


def _sets(own: Sequence[tuple[Statement, Written]]) -> dict[frozenset[str], float]:
    """The shares of updated rows by the columns that were set."""
    updates = [(s, written) for s, written in own if written.kind == "UPDATE" and s.rows]
    total = sum(s.rows for s, _w in updates)
    shares: dict[frozenset[str], float] = {}
    for statement, written in updates:
        shares[written.columns] = shares.get(written.columns, 0.0) + statement.rows / total
    return shares


def what_is_written(text: str, tables: Mapping[str, Table]) -> Written | None:
    """The table that a statement writes, and the columns that an UPDATE sets; None where it can't be seen."""
    tokens = tokens_of(text)
    kind = tokens[0].text.upper() if tokens else ""
    if kind not in {"INSERT", "UPDATE", "DELETE"}:
        return None
    place = 1 if kind == "UPDATE" else 2
    if place < len(tokens) and tokens[place].says("ONLY"):
        place += 1
    name = _table(tokens[place : place + 3], tables)
    return Written(name, kind, frozenset(_set_columns(tokens)) if kind == "UPDATE" else frozenset()) if name else None


def _table(tokens: Sequence[Token], tables: Mapping[str, Table]) -> str:
    if not tokens or tokens[0].kind != "name":
        return ""
    first = folded(tokens[0].text)
    if len(tokens) == 3 and tokens[1].text == ".":
        key = f"{first}.{folded(tokens[2].text)}"
        return key if key in tables else ""
    if f"public.{first}" in tables:
        return f"public.{first}"
    found = [key for key, table in tables.items() if table.name == first]
    return found[0] if len(found) == 1 else ""


def folded(name: str) -> str:
    """A name as the catalogue has it."""
    return bare(name) if name.startswith('"') else name.lower()


def _set_columns(tokens: Sequence[Token]) -> Iterator[str]:
    """The names before each `=` of an UPDATE's SET, also those of `(a, b) = …`."""
    start = next((place for place, token in enumerate(tokens) if token.says("SET")), len(tokens))
    depth, in_list, is_name = 0, False, True
    for token in tokens[start + 1 :]:
        if depth == 0 and token.says("FROM", "WHERE", "RETURNING"):
            return
        if is_name and token.kind == "name":
            yield folded(token.text)
        if token.text == "(":
            # Names may be listed where one may stand; whatever else is in parentheses is a value.
            in_list = in_list or (depth == 0 and is_name)
            depth += 1
            is_name = in_list and depth == 1
            continue
        if token.text == ")":
            depth -= 1
            in_list = in_list and depth > 0
        is_name = token.text == "," and (depth == 0 or (in_list and depth == 1))
