# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An index as the registry declares it, as SQL builds it, and as the catalogue has it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    SWITCH,
    Field,
    Report,
    Spot,
    check_entry,
    is_identifier,
    is_list_of_text,
    is_text,
    show,
)

NAME = r"[a-z_][a-z0-9_]*"
KEY = re.compile(
    rf"(?:(?P<function>lower|upper)\((?P<argument>{NAME})\)|(?P<column>{NAME}))(?P<order>(?: DESC)?(?: NULLS (?:FIRST|LAST))?)"
)
VALUE = r"(?:'[^'\\]*'|[0-9]+(?:\.[0-9]+)?)"
PART = re.compile(rf"(?:NOT )?{NAME}|{NAME} IS (?:NOT )?NULL|{NAME} (?:=|<>|<|>|<=|>=) {VALUE}")
# What PostgreSQL cuts a name at, and room for what tells two of them apart.
NAME_LIMIT, STEM_LIMIT = 63, 52
MOST_COLUMNS, MOST_INDEXES = 8, 100
# Words that no column is called without quotes.
WORDS = frozenset({"and", "or", "not", "null", "is", "true", "false", "desc", "asc", "nulls", "where", "include"})


class IndexesError(Exception):
    """Indexes that can't be as asked."""


@dataclass(frozen=True, order=True)
class Index:
    """An index: its keys as `column`, `column DESC` or `lower(column)`, what it carries along, and the rows it holds."""

    schema: str
    table: str
    columns: tuple[str, ...]
    include: tuple[str, ...] = ()
    where: str = ""
    unique: bool = False

    @property
    def name(self) -> str:
        """A name that says what it holds, the same for the same definition."""
        stem = "_".join([self.table, *(re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_") for key in self.columns)])
        return f"{stem[:STEM_LIMIT]}_{hashlib.sha256(self.definition.encode()).hexdigest()[:8]}"

    @property
    def definition(self) -> str:
        """What stands behind ON, quoted; functions are PostgreSQL's own whatever the schema of the deployment holds."""
        text = f'"{self.schema}"."{self.table}" ({", ".join(quote_key(key) for key in self.columns)})'
        if self.include:
            text += f" INCLUDE ({', '.join(quote(name) for name in self.include)})"
        if self.where:
            text += f" WHERE {' AND '.join(quote_part(part) for part in self.where.split(' AND '))}"
        return text

    def create(self, *, concurrently: bool = True) -> str:
        """The statement that builds it."""
        words = f"CREATE {'UNIQUE ' if self.unique else ''}INDEX {'CONCURRENTLY ' if concurrently else ''}"
        return f"{words}{quote(self.name)} ON {self.definition}"

    def entry(self) -> dict[str, Any]:
        """As it stands in the registry."""
        entry: dict[str, Any] = {
            "table": self.table if self.schema == "public" else f"{self.schema}.{self.table}",
            "columns": list(self.columns),
        }
        if self.include:
            entry["include"] = list(self.include)
        if self.where:
            entry["where"] = self.where
        if self.unique:
            entry["unique"] = True
        return entry

    def covers(self, other: Index) -> bool:
        """Whether it serves whatever the other one does."""
        if (self.schema, self.table, self.where) != (other.schema, other.table, other.where) or other.unique:
            return False
        begins = self.columns[: len(other.columns)] == other.columns
        return begins and set(other.include) <= {*self.include, *self.columns}

    def says(self) -> str:
        """For a person, in one line."""
        text = f"{self.table if self.schema == 'public' else f'{self.schema}.{self.table}'} ({', '.join(self.columns)})"
        text += f" include ({', '.join(self.include)})" if self.include else ""
        text += f" where {self.where}" if self.where else ""
        return f"{text} unique" if self.unique else text


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_key(key: str) -> str:
    """A key for SQL."""
    found = KEY.fullmatch(key)
    if not found:
        raise IndexesError(f"{key!r} is no column of an index")
    if found["function"]:
        return f"pg_catalog.{found['function']}({quote(found['argument'])}){found['order']}"
    return f"{quote(found['column'])}{found['order']}"


def quote_part(part: str) -> str:
    """A condition of a partial index for SQL."""
    if not PART.fullmatch(part):
        raise IndexesError(f"{part!r} is no condition of an index")
    negated, _space, rest = part.rpartition("NOT ") if part.startswith("NOT ") else ("", "", part)
    column, space, ending = rest.partition(" ")
    return f"{'NOT ' if negated or part.startswith('NOT ') else ''}{quote(column)}{space}{ending}"


def column_of(key: str) -> str:
    """The column that a key is about."""
    found = KEY.fullmatch(key)
    return (found["argument"] or found["column"]) if found else key


def is_column(name: object) -> bool:
    return is_identifier(name) and str(name) not in WORDS


def is_key(value: object) -> bool:
    found = KEY.fullmatch(value) if isinstance(value, str) else None
    return found is not None and is_column(found["argument"] or found["column"])


def is_where(value: object) -> bool:
    return is_text(value) and all(PART.fullmatch(part) for part in str(value).split(" AND "))


def _is_table(value: object) -> bool:
    parts = str(value).split(".") if isinstance(value, str) else []
    return len(parts) in (1, 2) and all(is_identifier(part) for part in parts)


def _is_keys(value: object) -> bool:
    return (
        is_list_of_text(value)
        and isinstance(value, list)
        and 1 <= len(value) <= MOST_COLUMNS
        and all(map(is_key, value))
    )


def _is_include(value: object) -> bool:
    return (
        is_list_of_text(value) and isinstance(value, list) and len(value) <= MOST_COLUMNS and all(map(is_column, value))
    )


FIELDS = {
    "table": Field(_is_table, "a table as `orders` or `schema.orders`", "write it in lower case", required=True),
    "columns": Field(
        _is_keys,
        f"1 to {MOST_COLUMNS} columns as `customer_id`, `created_at DESC` or `lower(email)`",
        "write it as [customer_id, created_at DESC]",
        required=True,
    ),
    "include": Field(_is_include, f"at most {MOST_COLUMNS} columns", "write it as [total]"),
    "where": Field(
        is_where,
        "conditions as `paid_at IS NULL`, `NOT done` or `status = 'open'`, with AND between them",
        "make it of such conditions",
    ),
    "unique": SWITCH,
}


def read_index(entry: Mapping[str, Any]) -> Index:
    """An index of a valid entry."""
    schema, _point, table = str(entry["table"]).rpartition(".")
    return Index(
        schema or "public",
        table,
        tuple(entry["columns"]),
        tuple(entry.get("include") or ()),
        entry.get("where") or "",
        bool(entry.get("unique")),
    )


def check_indexes(report: Report, spot: Spot, entries: Iterable[object]) -> list[dict[str, Any]]:
    """The valid entries of a deployment's field `indexes`; what is wrong with the others is reported."""
    valid: list[dict[str, Any]] = []
    seen: dict[Index, int] = {}
    for number, entry in enumerate(entries):
        at = spot.at(number).of(f"indexes[{number}]")
        before = len(report.problems)
        fields = check_entry(report, at, entry, FIELDS)
        if len(report.problems) > before:
            continue
        index = read_index(fields)
        columns = [column_of(key) for key in index.columns]
        for name in sorted({name for name in index.include if name in index.columns or index.include.count(name) > 1}):
            report.add(
                at.at("include"), f"include names {show(name)} twice", "each column once", "take one of them out"
            )
        if len(set(index.columns)) < len(columns):
            report.add(
                at.at("columns"), f"columns is {show(fields['columns'])}", "each column once", "take one of them out"
            )
        elif index in seen:
            report.add(at, f"is the same as indexes[{seen[index]}]", "each index once", "take one of them out")
        seen.setdefault(index, number)
        if len(report.problems) == before:
            valid.append(index.entry())
    return valid


def check_list(entries: object) -> list[str]:
    """Everything wrong with a list of indexes that isn't the registry's."""
    report = Report()
    if not isinstance(entries, list):
        return [f"indexes is {show(entries)}; expected a list of indexes."]
    check_indexes(report, Spot((), "indexes"), entries)
    return [str(problem) for problem in report.problems]


# As the catalogue has them


@dataclass(frozen=True)
class Existing:
    """An index that a table has; `scans` is how often it was used since the counters began."""

    name: str
    index: Index
    size: int = 0
    scans: int = 0
    valid: bool = True
    # Whether it holds a constraint up, a primary key say.
    constraint: bool = False
    method: str = "btree"


CATALOGUE_QUERY = """
SELECT coalesce(json_agg(json_build_object(
  'schema', n.nspname, 'table', t.relname, 'name', c.relname, 'unique', i.indisunique, 'valid', i.indisvalid,
  'constraint', i.indisprimary OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid),
  'method', m.amname, 'size', pg_catalog.pg_relation_size(c.oid),
  'scans', coalesce(pg_catalog.pg_stat_get_numscans(c.oid), 0),
  'columns', (SELECT json_agg(json_build_object(
      'text', pg_catalog.pg_get_indexdef(i.indexrelid, k, true), 'option', i.indoption[k - 1],
      'is_default', (SELECT o.opcdefault FROM pg_catalog.pg_opclass o WHERE o.oid = i.indclass[k - 1])) ORDER BY k)
    FROM pg_catalog.generate_series(1, i.indnkeyatts) k),
  'include', (SELECT coalesce(json_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true) ORDER BY k), '[]')
    FROM pg_catalog.generate_series(i.indnkeyatts + 1, i.indnatts) k),
  'where', coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid, true), '')) ORDER BY n.nspname, c.relname), '[]')
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace JOIN pg_catalog.pg_am m ON m.oid = c.relam
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg_temp%'
"""
# Bits of pg_index.indoption.
DESCENDING, NULLS_FIRST = 1, 2


def read_existing(reply: Iterable[Mapping[str, Any]]) -> tuple[Existing, ...]:
    """Read what CATALOGUE_QUERY returns."""
    return tuple(
        Existing(
            row["name"],
            Index(
                row["schema"],
                row["table"],
                tuple(_key(column) for column in row["columns"]),
                tuple(row["include"]),
                normal_where(row["where"]),
                row["unique"],
            ),
            row["size"],
            row["scans"],
            row["valid"],
            row["constraint"],
            row["method"],
        )
        for row in reply
    )


def _key(column: Mapping[str, Any]) -> str:
    text = re.sub(r"::[a-z ]+(\(\d+\))?", "", column["text"])
    option = column["option"]
    order = {0: "", DESCENDING | NULLS_FIRST: " DESC", DESCENDING: " DESC NULLS LAST", NULLS_FIRST: " NULLS FIRST"}[
        option & (DESCENDING | NULLS_FIRST)
    ]
    # One of another operator class never stands for a plain one.
    return f"{text}{order}{'' if column['is_default'] in (True, None) else ' (another operator class)'}"


def normal_where(text: str) -> str:
    """A condition as the catalogue prints it, in the registry's words."""
    text = re.sub(r"::[a-z ]+(\(\d+\))?", "", text)
    return re.sub(r"[()]", "", text)


def find_same(index: Index, existing: Iterable[Existing]) -> Existing | None:
    """The valid index that already is as declared, whatever its name; one of our own name counts by its name."""
    for found in existing:
        same = found.index == index or (found.name == index.name and found.index.table == index.table)
        if found.valid and found.method == "btree" and same:
            return found
    return None


def find_duplicates(existing: Iterable[Existing]) -> list[tuple[Existing, Existing]]:
    """Pairs of an index that could go and the one that serves in its place."""
    listed = [found for found in existing if found.valid and found.method == "btree"]
    pairs = []
    for spare in listed:
        if spare.constraint or spare.index.unique:
            continue
        others = [other for other in listed if other is not spare and other.index.covers(spare.index)]
        # Of two that are alike, the later by name is the spare one.
        better = [
            o
            for o in others
            if not spare.index.covers(o.index) or o.constraint or o.index.unique or o.name < spare.name
        ]
        if better:
            pairs.append((spare, min(better, key=lambda o: (not o.constraint, o.size))))
    return pairs
