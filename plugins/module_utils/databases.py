# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which statements give each deployment its own role and database, closed to all others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.durability import find_weakened

# PostgreSQL cuts longer names off silently, so two of them could become one.
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
SYSTEM_DATABASES = frozenset({"postgres", "template0", "template1"})
# Owners may create in their database; nothing reaches beyond it.
POWERS = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")


class DatabasesError(Exception):
    """The deployments' databases can't be as asked."""


@dataclass(frozen=True)
class Wanted:
    """What one deployment is to have; its statements end after so many seconds, or never with 0."""

    deployment: str
    name: str
    password: str
    connection_limit: int
    statement_timeout: int = 0


@dataclass(frozen=True)
class Role:
    """A role as PostgreSQL holds it; `statement_timeout` is as the role's own settings spell it, empty where they don't."""

    name: str
    password: str
    login: bool
    powers: frozenset[str]
    connection_limit: int
    statement_timeout: str = ""


@dataclass(frozen=True)
class Database:
    """A database as PostgreSQL holds it; an open one lets every role in."""

    name: str
    owner: str
    is_open: bool


@dataclass(frozen=True)
class State:
    """What the cluster holds now."""

    in_recovery: bool
    roles: Mapping[str, Role]
    databases: Mapping[str, Database]
    extensions: frozenset[str]
    admitted: frozenset[str]
    weakened: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    """One statement, and what may be told about it: the SQL may hold a secret."""

    says: str
    sql: str


STATE_QUERY = """
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'roles', (SELECT coalesce(json_agg(json_build_object(
      'name', rolname, 'password', coalesce(rolpassword, ''), 'login', rolcanlogin, 'connection_limit', rolconnlimit,
      'statement_timeout', coalesce((
        SELECT split_part(own, '=', 2) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) own
        WHERE setrole = pg_authid.oid AND setdatabase = 0 AND own LIKE 'statement_timeout=%'), ''),
      'powers', array_remove(ARRAY[
        CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
        CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL))), '[]')
    FROM pg_catalog.pg_authid WHERE rolname !~ '^pg_'),
  'databases', (SELECT json_agg(json_build_object(
      'name', datname, 'owner', pg_catalog.pg_get_userbyid(datdba),
      'is_open', pg_catalog.has_database_privilege('public', oid, 'CONNECT, TEMPORARY')))
    FROM pg_catalog.pg_database),
  'weakened', (SELECT coalesce(json_agg(json_build_object(
      'role', coalesce((SELECT rolname FROM pg_catalog.pg_authid WHERE oid = setrole), ''),
      'database', coalesce((SELECT datname FROM pg_catalog.pg_database WHERE oid = setdatabase), ''),
      'value', split_part(own, '=', 2))), '[]')
    FROM pg_catalog.pg_db_role_setting, unnest(setconfig) own WHERE own LIKE 'synchronous_commit=%'),
  'extensions', (SELECT json_agg(extname) FROM pg_catalog.pg_extension),
  'admitted', (SELECT coalesce(json_agg(rolname), '[]') FROM pg_catalog.pg_authid
    WHERE pg_catalog.has_database_privilege(oid, current_database(), 'CONNECT')))
"""


def read_wanted(deployments: Collection[Mapping[str, Any]], connection_limit: int) -> tuple[Wanted, ...]:
    """Check the deployments' entries, all errors at once, and return them in the order of their names."""
    wanted: list[Wanted] = []
    errors: list[str] = []
    holders: dict[str, str] = {}
    for entry in sorted(deployments, key=lambda entry: str(entry["name"])):
        deployment, name, role, password = (str(entry[key]) for key in ("name", "database", "role", "password"))
        errors += [f"deployments.{deployment}.{text}" for text in find_faults(name, role, password)]
        if name in holders:
            errors.append(
                f"deployments.{deployment}.database: {name!r} belongs to {holders[name]} already; name another"
            )
        holders.setdefault(name, deployment)
        own_limit = entry.get("connection_limit")
        limit = connection_limit if own_limit is None else own_limit
        wanted.append(Wanted(deployment, name, password, limit, entry.get("statement_timeout") or 0))
    if errors:
        raise DatabasesError("\n".join(errors))
    return tuple(wanted)


def find_faults(database: str, role: str, password: str) -> list[str]:
    """Say what is wrong with one entry, never showing its password."""
    faults = []
    if not IDENTIFIER.fullmatch(database) or database in SYSTEM_DATABASES or database.startswith("pg_"):
        faults.append(
            f"database: {database!r} can't name a deployment's database; use at most 63 of a-z, 0-9 and _, "
            f"not beginning with a digit or pg_, and none of {', '.join(sorted(SYSTEM_DATABASES))}"
        )
    if role != database:
        faults.append(
            f"role: {role!r} differs from the database {database!r}, and the servers let a role "
            "into the database of its own name alone; give both one name"
        )
    if not password:
        faults.append("password: it is missing; make the environment's secrets first")
    elif not (password.isascii() and password.isprintable()):
        faults.append("password: it holds characters other than printable ASCII; make it of letters and digits")
    return faults


def read_state(reply: Mapping[str, Any]) -> State:
    """Read what STATE_QUERY returns."""
    roles = [
        Role(
            r["name"], r["password"], r["login"], frozenset(r["powers"]), r["connection_limit"], r["statement_timeout"]
        )
        for r in reply["roles"]
    ]
    databases = [Database(d["name"], d["owner"], d["is_open"]) for d in reply["databases"]]
    return State(
        in_recovery=reply["in_recovery"],
        roles={role.name: role for role in roles},
        databases={database.name: database for database in databases},
        extensions=frozenset(reply["extensions"]),
        admitted=frozenset(reply["admitted"]),
        weakened=find_weakened(reply["weakened"]),
    )


def plan_databases(
    wanted: Collection[Wanted],
    state: State,
    maintenance_roles: Collection[str],
    extensions: Collection[str],
    salt: bytes,
) -> tuple[Statement, ...]:
    """Say which statements turn `state` into what is wanted."""
    if state.in_recovery:
        raise DatabasesError("this server is a standby; another member has become the primary, so run again")
    plan = plan_maintenance(state, maintenance_roles, extensions)
    for deployment in wanted:
        if deployment.name in maintenance_roles:
            raise DatabasesError(
                f"{deployment.deployment}: the role {deployment.name} belongs to the cluster; name another"
            )
        plan += plan_role(deployment, state.roles.get(deployment.name), salt)
        plan += plan_timeout(deployment, state.roles.get(deployment.name))
        plan += plan_database(deployment.name, state.databases.get(deployment.name))
    return tuple(plan)


def plan_maintenance(state: State, maintenance_roles: Collection[str], extensions: Collection[str]) -> list[Statement]:
    """Close the system's databases to all but the cluster's own roles, and add the extensions."""
    plan = [
        Statement(f"close the database {name}", f"REVOKE ALL ON DATABASE {quote(name)} FROM PUBLIC")
        for name in ("postgres", "template1")
        if state.databases[name].is_open
    ]
    closing = state.databases["postgres"].is_open
    for role in maintenance_roles:
        if role not in state.roles:
            raise DatabasesError(f"maintenance_roles: the role {role} does not exist; Patroni makes it at first start")
        if closing or role not in state.admitted:
            plan.append(
                Statement(
                    f"let {role} into the database postgres", f"GRANT CONNECT ON DATABASE postgres TO {quote(role)}"
                )
            )
    missing = [name for name in extensions if name not in state.extensions]
    return plan + [Statement(f"add the extension {name}", f"CREATE EXTENSION {quote(name)}") for name in missing]


def plan_role(wanted: Wanted, role: Role | None, salt: bytes) -> list[Statement]:
    """Say how the role comes to log in with its password and hold no power beyond its database."""
    clauses = []
    if role is None or not role.login:
        clauses.append("LOGIN")
    if role is None or role.powers:
        clauses += [f"NO{power}" for power in POWERS if role is None or power in role.powers]
    if role is None or role.connection_limit != wanted.connection_limit:
        clauses.append(f"CONNECTION LIMIT {wanted.connection_limit}")
    told = ", ".join(clauses).lower()
    if role is None or not verifies(role.password, wanted.password):
        own_salt = hmac.digest(salt, wanted.name.encode(), "sha256")[:16]
        clauses.append(f"PASSWORD '{make_verifier(wanted.password, own_salt)}'")
        told = f"{told}, a password" if told else "a password"
    if not clauses:
        return []
    verb = "CREATE" if role is None else "ALTER"
    return [
        Statement(
            f"{verb.lower()} the role {wanted.name}: {told}", f"{verb} ROLE {quote(wanted.name)} {' '.join(clauses)}"
        )
    ]


def plan_timeout(wanted: Wanted, role: Role | None) -> list[Statement]:
    """Say how the role's statements come to end in time, in every session that doesn't ask for another time itself."""
    before, after = role.statement_timeout if role else "", f"{wanted.statement_timeout}s"
    if wanted.statement_timeout == 0:
        change, told = "RESET statement_timeout", "statements have no limit of their own"
    else:
        change, told = f"SET statement_timeout = '{after}'", f"statements end after {wanted.statement_timeout} s"
    if before == ("" if wanted.statement_timeout == 0 else after):
        return []
    return [Statement(f"alter the role {wanted.name}: {told}", f"ALTER ROLE {quote(wanted.name)} {change}")]


def plan_database(name: str, database: Database | None) -> list[Statement]:
    """Say how the database comes to belong to the role of its name, and to no one else."""
    plan = []
    if database is None:
        plan.append(Statement(f"create the database {name}", f"CREATE DATABASE {quote(name)} OWNER {quote(name)}"))
    elif database.owner != name:
        plan.append(
            Statement(
                f"give the database {name} from {database.owner} to {name}",
                f"ALTER DATABASE {quote(name)} OWNER TO {quote(name)}",
            )
        )
    if database is None or database.is_open:
        plan.append(Statement(f"close the database {name}", f"REVOKE ALL ON DATABASE {quote(name)} FROM PUBLIC"))
    return plan


def find_unclaimed(wanted: Collection[Wanted], state: State) -> tuple[str, ...]:
    """Name the databases that no deployment claims: they are reported, never dropped."""
    return tuple(sorted(state.databases.keys() - SYSTEM_DATABASES - {deployment.name for deployment in wanted}))


def quote(identifier: str) -> str:
    """Quote a name for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def make_verifier(password: str, salt: bytes, iterations: int = 4096) -> str:
    """Derive what PostgreSQL stores for SCRAM-SHA-256, so that the password itself stays here."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{server}"


def verifies(stored: str, password: str) -> bool:
    """Say whether a stored verifier belongs to the password."""
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$.*", stored)
    if not found:
        return False
    again = make_verifier(password, base64.b64decode(found[2]), int(found[1]))
    return hmac.compare_digest(again, stored)
