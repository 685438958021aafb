# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a migration that failed left in its database: two looks at the catalogue, and the statements that take back or finish what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A request's own transaction is over sooner; what lasts longer may have been in the migration's way.
LONG_SECONDS = 2
SHOWN_QUERY = 200
# In which order people read it: what holds other things comes first.
KINDS = (
    "schema", "extension", "type", "domain", "table", "foreign table", "view", "materialized view", "sequence",
    "column", "constraint", "index", "trigger", "function", "procedure", "aggregate",
)  # fmt: skip
# Their definition is a clause that people know; of the others only whether it changed is told.
TOLD = ("column", "constraint", "index")
INVALID, UNPROVEN = "invalid", "not validated"

# One look, as one line of JSON, as far as the deployment's own role sees it. What belongs to an extension, and what goes with
# a column or a constraint, is left out. `$$` stands around the migration's name, which never holds a dollar.
QUERY = """
WITH
spaces AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_(toast|temp)'),
dependent AS (
  SELECT d.classid, d.objid FROM pg_depend d
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  WHERE d.deptype = 'e' OR (c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjsubid <> 0)),
relations AS (
  SELECT c.oid, c.relkind, format('%I.%I', s.nspname, c.relname) AS name
  FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
  WHERE NOT EXISTS (SELECT FROM dependent d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid)),
things AS (
  SELECT 'schema' AS kind, quote_ident(nspname) AS name, '' AS "table", '' AS definition, '' AS flaw FROM spaces
  UNION ALL SELECT 'extension', quote_ident(extname), '', extversion, '' FROM pg_extension
  UNION ALL SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
      WHEN 'f' THEN 'foreign table' ELSE 'table' END, name, '',
    CASE WHEN relkind IN ('v', 'm') THEN md5(pg_get_viewdef(oid)) ELSE '' END, ''
  FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL SELECT 'column', quote_ident(a.attname), r.name,
    concat(format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' NOT NULL' END,
      CASE WHEN a.attidentity <> '' THEN ' GENERATED AS IDENTITY' END, ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)), ''
  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE r.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT 'index', x.name, r.name, pg_get_indexdef(i.indexrelid), CASE WHEN i.indisvalid THEN '' ELSE 'invalid' END
  FROM pg_index i JOIN relations r ON r.oid = i.indrelid JOIN relations x ON x.oid = i.indexrelid
  WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
  UNION ALL SELECT 'constraint', quote_ident(k.conname), r.name, pg_get_constraintdef(k.oid),
    CASE WHEN k.convalidated THEN '' ELSE 'not validated' END
  FROM pg_constraint k JOIN relations r ON r.oid = k.conrelid WHERE k.contype IN ('c', 'f', 'p', 'u', 'x')
  UNION ALL SELECT 'trigger', quote_ident(t.tgname), r.name, md5(pg_get_triggerdef(t.oid)), ''
  FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
  UNION ALL SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
    format('%I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), '', md5(p.prosrc), ''
  FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
  WHERE NOT EXISTS (SELECT FROM dependent d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid)
  UNION ALL SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, format('%I.%I', s.nspname, t.typname), '',
    coalesce((SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid), ''), ''
  FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
  WHERE t.typtype IN ('e', 'd')
    AND NOT EXISTS (SELECT FROM dependent d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid))
SELECT json_build_object(
  'things', (SELECT coalesce(json_agg(things), '[]') FROM things),
  'running', (SELECT coalesce(json_agg(json_build_object('pid', pid, 'state', state, 'query', left(query, 1000),
      'seconds', extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change)))), '[]')
    FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = $$%(application)s$$),
  'holding', (SELECT coalesce(json_agg(json_build_object('pid', a.pid, 'user', a.usename, 'application', a.application_name,
      'state', a.state, 'seconds', extract(epoch FROM clock_timestamp() - a.xact_start), 'locks', l.locks)), '[]')
    FROM pg_stat_activity a JOIN (
      SELECT k.pid, array_agg(DISTINCT k.mode || ' on ' || r.name) AS locks
      FROM pg_locks k JOIN relations r ON r.oid = k.relation AND r.relkind IN ('r', 'p')
      WHERE k.granted AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY k.pid) l
      ON l.pid = a.pid
    WHERE a.pid <> pg_backend_pid() AND a.application_name <> $$%(application)s$$))
"""


class SchemaError(ValueError):
    """A look at the catalogue that can't be read."""


@dataclass(frozen=True)
class Thing:
    """One object of a database; `table` is what it belongs to, `flaw` what is unfinished about it. Names are quoted as SQL wants them."""

    kind: str
    name: str
    table: str = ""
    definition: str = ""
    flaw: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same thing in another look."""
        return self.kind, self.table, self.name

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.kind} {self.name} of {self.table}" if self.table else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Look:
    """A database at one moment: what it holds, sessions of the migration, and who else holds locks for long."""

    things: Sequence[Thing]
    running: Sequence[Mapping[str, Any]] = ()
    holding: Sequence[Mapping[str, Any]] = ()


def look_query(application: str) -> str:
    """Return the query that takes a look, around the sessions that call themselves so."""
    return QUERY.replace("%(application)s", application.replace("$", ""))


def read_look(reply: Mapping[str, Any]) -> Look:
    """Read what the query returned."""
    try:
        things = [
            Thing(entry["kind"], entry["name"], entry["table"], entry["definition"], entry["flaw"])
            for entry in reply["things"]
        ]
        return Look(things, list(reply["running"]), list(reply["holding"]))
    except (KeyError, TypeError) as error:
        raise SchemaError(f"the catalogue's answer can't be read ({error!r})") from error


def find_left(before: Look, after: Look) -> list[str]:
    """Say what differs between two looks, a line each: what it is, and the statement that takes it back or finishes it."""
    old, new = ({thing.key: thing for thing in look.things} for look in (before, after))
    made, gone = [new[key] for key in new if key not in old], [old[key] for key in old if key not in new]
    # What is in a table that is new, or gone, goes with it; an index that was never finished is worth its own line.
    made_tables, gone_tables = ({thing.name for thing in things if not thing.table} for things in (made, gone))
    lines = [
        *((thing, _line_made(thing)) for thing in made if thing.flaw or thing.table not in made_tables),
        *((thing, _line_gone(thing)) for thing in gone if thing.table not in gone_tables),
        *((thing, line) for key, thing in new.items() if key in old for line in _lines_changed(old[key], thing)),
    ]
    ordered = sorted(lines, key=lambda entry: (KINDS.index(entry[0].kind), entry[0].table, entry[0].name))
    return [line for _thing, line in ordered] + list(_lines_running(after.running))


def find_holders(look: Look) -> list[str]:
    """Say who holds locks on tables for longer than a request does, a line each: a lock timeout waited for one of them."""
    return [
        f"pid {entry['pid']}, {entry['application'] or 'without a name'} of {entry['user']}, {_since(entry)}, holds "
        f"{', '.join(sorted(entry['locks']))}"
        for entry in look.holding
        # Of other roles' sessions nobody is told since when.
        if entry["seconds"] is None or entry["seconds"] >= LONG_SECONDS
    ]


def _line_made(thing: Thing) -> str:
    if thing.kind == "index" and thing.flaw == INVALID:
        return f"{thing.title} is INVALID, for its build didn't end; {_finish(thing)}; or take it back: {undo(thing)}"
    unfinished = f", {thing.flaw}; {_finish(thing)}; or" if thing.flaw else ";"
    told = f" ({thing.definition})" if thing.kind in TOLD and thing.kind != "index" else ""
    return f"{thing.title} was made{told}{unfinished} take it back: {undo(thing)}"


def _line_gone(thing: Thing) -> str:
    if thing.kind == "index":
        return f"{thing.title} is gone; make it again: {thing.definition}"
    if thing.kind == "constraint":
        return f"{thing.title} is gone; make it again: ALTER TABLE {thing.table} ADD CONSTRAINT {thing.name} {thing.definition}"
    if thing.kind == "column":
        return f"{thing.title} ({thing.definition}) is gone; what was in it is in a backup at most"
    return f"{thing.title} is gone; the migration or a backup says what it was"


def _lines_changed(old: Thing, new: Thing) -> Iterator[str]:
    if old.definition != new.definition:
        yield (
            f"{new.title} was {old.definition}, and is {new.definition}"
            if new.kind in TOLD
            else f"{new.title} was changed"
        )
    if new.flaw and old.flaw:
        yield f"{new.title} was {new.flaw} before already; {_finish(new)}; or take it back: {undo(new)}"
    elif new.flaw:
        yield f"{new.title} has become {new.flaw}; {_finish(new)}"


def _lines_running(sessions: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for entry in sessions:
        query = " ".join(str(entry["query"] or "").split())
        shown = query if len(query) <= SHOWN_QUERY else f"{query[:SHOWN_QUERY]}…"
        yield f"pid {entry['pid']} is still there, {_since(entry)}: {shown}; end it: SELECT pg_terminate_backend({entry['pid']})"


def _since(entry: Mapping[str, Any]) -> str:
    state = entry["state"] or "in a state that its role alone sees"
    return state if entry["seconds"] is None else f"{state} for {entry['seconds']:.0f} s"


def _finish(thing: Thing) -> str:
    if thing.kind == "index":
        return f"finish it: REINDEX INDEX CONCURRENTLY {thing.name}"
    return f"finish it: ALTER TABLE {thing.table} VALIDATE CONSTRAINT {thing.name}"


def undo(thing: Thing) -> str:
    """Return the statement that takes a thing back."""
    if thing.kind in ("column", "constraint"):
        return f"ALTER TABLE {thing.table} DROP {thing.kind.upper()} {thing.name}"
    if thing.kind == "trigger":
        return f"DROP TRIGGER {thing.name} ON {thing.table}"
    concurrently = " CONCURRENTLY" if thing.kind == "index" else ""
    return f"DROP {thing.kind.upper()}{concurrently} {thing.name}"
