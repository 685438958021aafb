# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the advisor asks PostgreSQL, and how its answers are read.

HypoPG, the functions and all that they touch live in one transaction that is rolled back: nothing of it stays in the database.
Statements are explained as the database's owner, inside a function that can't take on another role: what planning runs of
a deployment's own functions has the deployment's rights and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, TableColumn
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import (
    CATALOGUE_QUERY,
    Existing,
    Index,
    quote,
    read_existing,
)

# EXPLAIN (GENERIC_PLAN) came with PostgreSQL 16.
LEAST_VERSION = 16
LONGEST_EXPLAIN, LONGEST_WAIT = "20s", "2s"
SCHEMA = "nectar_advice"
INTEGERS = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}
SYSTEM_SCHEMAS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp%'"


@dataclass(frozen=True)
class Statement:
    """A statement as pg_stat_statements counts it, in milliseconds."""

    id: str
    text: str
    calls: int
    total: float
    rows: int

    @property
    def mean(self) -> float:
        return self.total / self.calls if self.calls else 0.0

    @property
    def rows_per_call(self) -> float:
        return self.rows / self.calls if self.calls else 0.0


@dataclass(frozen=True)
class SequenceFact:
    """A sequence, how far it is and how far it and its column go."""

    name: str
    last: int
    most: int


@dataclass(frozen=True)
class Facts:
    """What a database holds, and since when it is counted, in seconds."""

    tables: Mapping[str, Table]
    indexes: tuple[Existing, ...]
    sequences: tuple[SequenceFact, ...]
    counted: float
    hypopg_schema: str
    # Transactions that were committed since, seconds between checkpoints, and whether pages go to the log whole.
    commits: int = 0
    checkpoint: float = 300.0
    images: bool = True


def literal(text: str) -> str:
    """A text for SQL, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def server_query(database: str) -> str:
    return f"""
SELECT json_build_object(
  'version', current_setting('server_version_num')::int / 10000,
  'standby', pg_is_in_recovery(),
  'statements', EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_stat_statements'),
  'hypopg', EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'hypopg'),
  'owner', (SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = {literal(database)}))
"""


def read_owner(reply: Mapping[str, Any], database: str) -> str:
    """The database's owner; what the server lacks is refused by name."""
    if reply["version"] < LEAST_VERSION:
        raise DatabasesError(
            f"PostgreSQL {reply['version']} can't explain statements without their values (EXPLAIN (GENERIC_PLAN)); "
            f"it takes PostgreSQL {LEAST_VERSION}, which Debian 13 has and Debian 12 has not"
        )
    if reply["standby"]:
        raise DatabasesError(
            "this server is a standby, which counts neither writes nor the primary's reads; ask the primary"
        )
    if not reply["statements"]:
        raise DatabasesError(
            "the database postgres lacks the extension pg_stat_statements; run site.yml with the tag databases"
        )
    if not reply["hypopg"]:
        raise DatabasesError(
            "this server lacks HypoPG (package postgresql-17-hypopg); run site.yml with the tag postgresql"
        )
    if reply["owner"] is None:
        raise DatabasesError(f"there is no database {database!r}; run site.yml with the tag databases")
    return str(reply["owner"])


def statements_query(database: str) -> str:
    """All that was counted of a database; whoever ran a statement, and with values of whichever types, it is one text."""
    return f"""
SELECT json_build_object(
  'counted', (SELECT extract(epoch FROM now() - stats_reset) FROM pg_stat_statements_info),
  'statements', (SELECT coalesce(json_agg(json_build_object(
      'id', left(md5(s.text), 16), 'text', s.text, 'calls', s.calls, 'total', s.total, 'rows', s.rows)), '[]')
    FROM (SELECT query AS text, sum(calls) AS calls, sum(total_exec_time) AS total, sum(rows) AS rows
      FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid
      WHERE d.datname = {literal(database)} AND toplevel AND query IS NOT NULL GROUP BY query) s))
"""


def read_statements(reply: Mapping[str, Any]) -> tuple[tuple[Statement, ...], float]:
    """The statements, the costliest first, and for how many seconds they have been counted."""
    statements = [
        Statement(row["id"], row["text"], int(row["calls"]), float(row["total"]), int(row["rows"]))
        for row in reply["statements"]
    ]
    return tuple(sorted(statements, key=lambda s: (-s.total, s.id))), float(reply["counted"] or 0)


FACTS_QUERY = f"""
SELECT json_build_object(
  'counted', (SELECT extract(epoch FROM now() - coalesce(stats_reset, pg_catalog.pg_postmaster_start_time()))
    FROM pg_catalog.pg_stat_database WHERE datname = current_database()),
  'commits', (SELECT xact_commit FROM pg_catalog.pg_stat_database WHERE datname = current_database()),
  'checkpoint', (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'checkpoint_timeout'),
  'images', current_setting('full_page_writes')::bool,
  'hypopg', (SELECT nspname FROM pg_catalog.pg_extension JOIN pg_catalog.pg_namespace n ON n.oid = extnamespace WHERE extname = 'hypopg'),
  'indexes', ({CATALOGUE_QUERY}),
  'tables', (SELECT coalesce(json_agg(json_build_object(
      'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'rows', c.reltuples, 'size', pg_catalog.pg_table_size(c.oid),
      'inserts', s.n_tup_ins, 'updates', s.n_tup_upd, 'hot', s.n_tup_hot_upd, 'deletes', s.n_tup_del, 'live', s.n_live_tup,
      'dead', s.n_dead_tup, 'modified', s.n_mod_since_analyze,
      'columns', (SELECT coalesce(json_agg(json_build_object(
          'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, NULL), 'width', coalesce(p.avg_width, 8),
          'distinct', coalesce(p.n_distinct, 0), 'correlation', coalesce(p.correlation, 0), 'nulls', coalesce(p.null_frac, 0), 'seen', p.attname IS NOT NULL,
          'bounds', CASE WHEN t.typcategory IN ('N', 'D') THEN p.histogram_bounds::text::text[] END)), '[]')
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_stats p ON p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname
          AND NOT p.inherited
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))), '[]')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'm', 'p') AND {SYSTEM_SCHEMAS}),
  'sequences', (SELECT coalesce(json_agg(json_build_object(
      'name', CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname,
      'last', pg_catalog.pg_sequence_last_value(c.oid), 'most', q.seqmax,
      'type', (SELECT t.typname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') LIMIT 1))), '[]')
    FROM pg_catalog.pg_sequence q JOIN pg_catalog.pg_class c ON c.oid = q.seqrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT q.seqcycle AND q.seqincrement > 0 AND {SYSTEM_SCHEMAS}))
"""


def read_facts(reply: Mapping[str, Any]) -> Facts:
    """Read what FACTS_QUERY returns."""
    tables = [_table(row) for row in reply["tables"]]
    sequences = [
        SequenceFact(row["name"], int(row["last"]), min(int(row["most"]), INTEGERS.get(row["type"], int(row["most"]))))
        for row in reply["sequences"]
        if row["last"] is not None
    ]
    return Facts(
        {table.key: table for table in tables},
        read_existing(reply["indexes"]),
        tuple(sequences),
        float(reply["counted"] or 0),
        reply["hypopg"] or "",
        int(reply["commits"] or 0),
        float(reply["checkpoint"]),
        bool(reply["images"]),
    )


def _table(row: Mapping[str, Any]) -> Table:
    columns = {
        c["name"]: TableColumn(
            c["name"],
            int(c["width"]),
            float(c["distinct"]),
            float(c["nulls"]),
            tuple(c["bounds"] or ()),
            c["type"],
            float(c["correlation"]),
        )
        for c in row["columns"]
    }
    return Table(
        row["schema"],
        row["name"],
        max(0.0, float(row["rows"])),
        int(row["size"] or 0),
        columns,
        int(row["inserts"] or 0),
        int(row["updates"] or 0),
        int(row["hot"] or 0),
        int(row["deletes"] or 0),
        int(row["live"] or 0),
        int(row["dead"] or 0),
        int(row["modified"] or 0),
        any(c["seen"] for c in row["columns"]),
        row["kind"],
    )


# Trying indexes


@dataclass(frozen=True)
class Task:
    """A statement to explain with hypothetical indexes."""

    id: str
    text: str
    indexes: tuple[Index, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a task: a plan or why there is none, and of each index its name in that plan and its size."""

    plan: Any
    error: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]


def session(owner: str, hypopg_schema: str, tasks: Sequence[Task]) -> str:
    """SQL that tries each task in one transaction and takes everything back; a line of JSON for each."""
    schema = hypopg_schema or SCHEMA
    needed = not hypopg_schema and any(task.indexes for task in tasks)
    made = f"CREATE SCHEMA {SCHEMA};\nCREATE EXTENSION hypopg SCHEMA {SCHEMA};\n" if needed else ""
    lines = [_try(task) for task in tasks]
    return f"""
SET search_path = pg_catalog;
SET pg_stat_statements.track = none;
SET lock_timeout = {literal(LONGEST_WAIT)};
SET statement_timeout = {literal(LONGEST_EXPLAIN)};
SET client_min_messages = error;
BEGIN;
{made}CREATE FUNCTION pg_temp.nectar_explain(query text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = "$user", public AS $function$
DECLARE plan pg_catalog.json;
BEGIN
  EXECUTE 'EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) ' || query INTO plan;
  RETURN plan::pg_catalog.jsonb;
EXCEPTION WHEN OTHERS THEN
  RETURN pg_catalog.jsonb_build_object('error', SQLERRM);
END $function$;
ALTER FUNCTION pg_temp.nectar_explain(text) OWNER TO {quote(owner)};
CREATE FUNCTION pg_temp.nectar_try(id text, query text, indexes text[]) RETURNS jsonb LANGUAGE plpgsql AS $function$
DECLARE
  one text;
  made record;
  names text[] := '{{}}';
  sizes bigint[] := '{{}}';
  plan jsonb;
BEGIN
  PERFORM {quote(schema)}.hypopg_reset();
  FOREACH one IN ARRAY indexes LOOP
    SELECT * INTO made FROM {quote(schema)}.hypopg_create_index(one);
    names := names || made.indexname::text;
    sizes := sizes || {quote(schema)}.hypopg_relation_size(made.indexrelid);
  END LOOP;
  plan := pg_temp.nectar_explain(query);
  PERFORM {quote(schema)}.hypopg_reset();
  RETURN jsonb_build_object('id', id, 'names', names, 'sizes', sizes, 'plan', plan);
EXCEPTION WHEN OTHERS THEN
  RETURN jsonb_build_object('id', id, 'names', names, 'sizes', sizes, 'plan', jsonb_build_object('error', SQLERRM));
END $function$;
SET TRANSACTION READ ONLY;
{"".join(lines)}ROLLBACK;
"""


def _try(task: Task) -> str:
    indexes = ", ".join(literal(index.create(concurrently=False)) for index in task.indexes)
    asked = (
        f"pg_temp.nectar_try({literal(task.id)}, {literal(task.text)}, ARRAY[{indexes}]::text[])"
        if task.indexes
        else "jsonb_build_object('names', '[]'::jsonb, 'sizes', '[]'::jsonb, 'plan', "
        f"pg_temp.nectar_explain({literal(task.text)}))"
    )
    # Locks of one statement don't outlast it, so that no migration waits for all of them.
    return f"SAVEPOINT one;\nSELECT {asked};\nROLLBACK TO one;\n"


def read_outcome(reply: Mapping[str, Any]) -> Outcome:
    plan = reply["plan"]
    error = plan.get("error", "") if isinstance(plan, Mapping) else ""
    return Outcome(plan, error, tuple(reply["names"]), tuple(int(size) for size in reply["sizes"]))
