# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which statements give each deployment its own role and database, closed to all others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.durability import find_weakened

# PostgreSQL cuts longer names off silently, so two of them could become one.
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
SYSTEM_DATABASES = frozenset({"postgres", "template0", "template1"})
# Owners may create in their database; nothing reaches beyond it.
POWERS = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")
# The role's second login: the two take turns, so that both can be valid while a password is replaced. No database can be named so.
SECOND_LOGIN = "-2"
# What says among a deployment's secrets that it's the second's turn. A truth value, for Ansible blanks all texts among secrets in every
# result, and a login is named like the deployment.
SECOND_TURN = "second_login"
LONGEST_NAME = 63


class DatabasesError(Exception):
    """The deployments' databases can't be as asked."""


@dataclass(frozen=True)
class Wanted:
    """What one deployment is to have; its statements end after so many seconds, or never with 0.

    `login` is whose password `password` is, the role itself where it's empty. With a `former_password`, its other login is valid too.
    """

    deployment: str
    name: str
    password: str
    connection_limit: int
    statement_timeout: int = 0
    login: str = ""
    former_password: str = ""

    @property
    def logins(self) -> dict[str, str]:
        """Who may log in, and with which password."""
        login = self.login or self.name
        former = {other_login(self.name, login): self.former_password} if self.former_password else {}
        return {login: self.password, **former}


@dataclass(frozen=True)
class Role:
    """A role as PostgreSQL holds it; `statement_timeout` is as the role's own settings spell it, empty where they don't.

    `acts_as` is the role that its sessions take by themselves, `member_of` those whose rights it has.
    """

    name: str
    password: str
    login: bool
    powers: frozenset[str]
    connection_limit: int
    statement_timeout: str = ""
    acts_as: str = ""
    member_of: frozenset[str] = frozenset()


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
      'acts_as', coalesce((
        SELECT split_part(own, '=', 2) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) own
        WHERE setrole = pg_authid.oid AND setdatabase = 0 AND own LIKE 'role=%'), ''),
      'member_of', ARRAY(
        SELECT pg_catalog.pg_get_userbyid(roleid) FROM pg_catalog.pg_auth_members WHERE member = pg_authid.oid),
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
        login, former = str(entry.get("login") or ""), str(entry.get("former_password") or "")
        errors += [
            f"deployments.{deployment}.{text}" for text in find_login_faults(role, login or role, password, former)
        ]
        wanted.append(Wanted(deployment, name, password, limit, entry.get("statement_timeout") or 0, login, former))
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


def find_login_faults(role: str, login: str, password: str, former: str) -> list[str]:
    """Say what is wrong with the logins of one entry, never showing a password."""
    faults = []
    if login not in logins_of(role):
        faults.append(f"login: {login!r} is none of the role's; its logins are {' and '.join(logins_of(role))}")
    if len(login) > LONGEST_NAME:
        faults.append(f"login: {login!r} is longer than {LONGEST_NAME} characters; only {role!r} itself can log in")
    if former and former == password:
        faults.append("former_password: it is the password; the one that replaces it must differ")
    if former and not (former.isascii() and former.isprintable()):
        faults.append("former_password: it holds characters other than printable ASCII; no login ever had it")
    return faults


def logins_of(role: str) -> tuple[str, str]:
    """Name the two that may log in for a role."""
    return role, f"{role}{SECOND_LOGIN}"


def login_of(role: str, secrets: Mapping[str, Any]) -> str:
    """Name whose turn it is according to a deployment's secrets."""
    return logins_of(role)[1 if secrets.get(SECOND_TURN) else 0]


def other_login(role: str, login: str) -> str:
    """Name whose turn is next."""
    first, second = logins_of(role)
    return second if login == first else first


def role_of_login(login: str) -> str:
    """Name the role that a login is for."""
    return login.removesuffix(SECOND_LOGIN)


def read_state(reply: Mapping[str, Any]) -> State:
    """Read what STATE_QUERY returns."""
    roles = [
        Role(
            r["name"],
            r["password"],
            r["login"],
            frozenset(r["powers"]),
            r["connection_limit"],
            r["statement_timeout"],
            r.get("acts_as", ""),
            frozenset(r.get("member_of", ())),
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
        if deployment.name in {role_of_login(role) for role in maintenance_roles}:
            raise DatabasesError(
                f"{deployment.deployment}: the role {deployment.name} belongs to the cluster; name another"
            )
        plan += plan_logins(deployment, state.roles, salt)
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


def plan_logins(wanted: Wanted, roles: Mapping[str, Role], salt: bytes) -> list[Statement]:
    """Say how the role comes about, and how those of its logins that are valid do, and no other."""
    plan: list[Statement] = []
    for name in logins_of(wanted.name):
        role = roles.get(name)
        if name in wanted.logins:
            plan += plan_role(wanted, name, role, salt)
            plan += plan_timeout(wanted, name, role)
            plan += plan_membership(wanted.name, name, role)
        elif role is None and name == wanted.name:
            plan.append(Statement(f"create the role {name}: nologin", f"CREATE ROLE {quote(name)} NOLOGIN"))
        elif role and (role.login or role.password):
            plan += plan_retiring(name)
    return plan


def plan_role(wanted: Wanted, name: str, role: Role | None, salt: bytes) -> list[Statement]:
    """Say how one comes to log in with its password and hold no power beyond its database."""
    clauses = []
    if role is None or not role.login:
        clauses.append("LOGIN")
    if role is None or role.powers:
        clauses += [f"NO{power}" for power in POWERS if role is None or power in role.powers]
    if role is None or role.connection_limit != wanted.connection_limit:
        clauses.append(f"CONNECTION LIMIT {wanted.connection_limit}")
    return set_up_role(name, clauses, role.password if role else None, wanted.logins[name], salt)


def set_up_role(name: str, clauses: Sequence[str], stored: str | None, password: str, salt: bytes) -> list[Statement]:
    """Say how a role comes to have what the clauses say, and its password, which isn't told; `stored` is None where there is no such role."""
    told = [clause.lower() for clause in clauses]
    clauses = list(clauses)
    if stored is None or not verifies(stored, password):
        own_salt = hmac.digest(salt, name.encode(), "sha256")[:16]
        clauses.append(f"PASSWORD '{make_verifier(password, own_salt)}'")
        told.append("a password")
    if not clauses:
        return []
    verb = "CREATE" if stored is None else "ALTER"
    return [
        Statement(
            f"{verb.lower()} the role {name}: {', '.join(told)}", f"{verb} ROLE {quote(name)} {' '.join(clauses)}"
        )
    ]


def close_login(login: str) -> Statement:
    """Say how a login is closed to whoever comes next."""
    return Statement(f"close the login {login}", f"ALTER ROLE {quote(login)} NOLOGIN PASSWORD NULL")


def plan_timeout(wanted: Wanted, name: str, role: Role | None) -> list[Statement]:
    """Say how statements come to end in time, in every session that doesn't ask for another time itself."""
    before, after = role.statement_timeout if role else "", f"{wanted.statement_timeout}s"
    if wanted.statement_timeout == 0:
        change, told = "RESET statement_timeout", "statements have no limit of their own"
    else:
        change, told = f"SET statement_timeout = '{after}'", f"statements end after {wanted.statement_timeout} s"
    if before == ("" if wanted.statement_timeout == 0 else after):
        return []
    return [Statement(f"alter the role {name}: {told}", f"ALTER ROLE {quote(name)} {change}")]


def plan_membership(owner: str, login: str, role: Role | None) -> list[Statement]:
    """Say how the second login's sessions come to be the role's: what they make belongs to it, whoever logged in."""
    if login == owner:
        return []
    plan = []
    if role is None or owner not in role.member_of:
        plan.append(Statement(f"let {login} be {owner}", f"GRANT {quote(owner)} TO {quote(login)}"))
    if role is None or role.acts_as != owner:
        plan.append(
            Statement(f"sessions of {login} act as {owner}", f"ALTER ROLE {quote(login)} SET role = {quote(owner)}")
        )
    return plan


def plan_retiring(login: str) -> list[Statement]:
    """Say how a login is closed, and who came in by it leaves."""
    # A name that may log in here is an identifier, with or without SECOND_LOGIN: it holds no quotes.
    sessions = f"pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{login}'"
    return [
        close_login(login),
        Statement(f"end the sessions of {login}", f"DO $$ BEGIN PERFORM {sessions}; END $$"),
    ]


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
