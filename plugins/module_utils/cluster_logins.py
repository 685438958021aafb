# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which statements let the cluster's own roles log in: that of the standbys, and that of the rewinding of an old primary.

Each has two logins that take turns, as a deployment's role has. Patroni makes the first ones when it makes the cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.databases import (
    DatabasesError,
    Statement,
    close_login,
    logins_of,
    other_login,
    quote,
    set_up_role,
)

REPLICATION, REWIND = "replication", "rewind"
# What Patroni lets its role for rewinding do.
FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
_EXECUTES = " AND ".join(f"has_function_privilege(oid, 'pg_catalog.{name}', 'EXECUTE')" for name in FUNCTIONS)
STATE_QUERY = f"""
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'roles', (SELECT coalesce(json_agg(json_build_object(
      'name', rolname, 'password', coalesce(rolpassword, ''), 'login', rolcanlogin, 'replication', rolreplication,
      'rewind', has_database_privilege(oid, 'postgres', 'CONNECT') AND {_EXECUTES})), '[]')
    FROM pg_catalog.pg_authid WHERE rolname !~ '^pg_'),
  'standbys', (SELECT coalesce(json_agg(json_build_object('name', application_name, 'login', usename)), '[]')
    FROM pg_catalog.pg_stat_replication),
  'streams_as', (SELECT coalesce(max(substring(conninfo FROM '\\muser=(\\S+)')), '')
    FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming'))
"""


@dataclass(frozen=True)
class Wanted:
    """One of the cluster's roles: the login whose turn it is with its password, and the other's, as long as it is valid."""

    role: str
    login: str
    password: str
    former_password: str
    purpose: str

    @property
    def logins(self) -> dict[str, str]:
        """Who may log in, and with which password."""
        former = {other_login(self.role, self.login): self.former_password} if self.former_password else {}
        return {self.login: self.password, **former}


@dataclass(frozen=True)
class Found:
    """A role as PostgreSQL holds it, and whether it may do what the cluster needs it for."""

    password: str
    login: bool
    replication: bool
    rewind: bool


@dataclass(frozen=True)
class State:
    """What this member holds now; `streams_as` is by which login a standby streams from the primary."""

    in_recovery: bool
    roles: Mapping[str, Found] = field(default_factory=dict)
    standbys: Mapping[str, str] = field(default_factory=dict)
    streams_as: str = ""


def read_wanted(entries: Collection[Mapping[str, Any]]) -> tuple[Wanted, ...]:
    """Check the entries, never showing a password."""
    wanted = tuple(
        Wanted(
            entry["role"],
            entry.get("login") or entry["role"],
            entry["password"],
            entry.get("former_password") or "",
            entry["purpose"],
        )
        for entry in entries
    )
    for entry in wanted:
        if entry.login not in logins_of(entry.role):
            raise DatabasesError(f"logins: {entry.login!r} is none of {' and '.join(logins_of(entry.role))}")
        if entry.former_password == entry.password:
            raise DatabasesError(f"logins: {entry.role}: former_password is the password; a new one must differ")
    return wanted


def read_state(reply: Mapping[str, Any]) -> State:
    """Read what STATE_QUERY returns."""
    return State(
        in_recovery=reply["in_recovery"],
        roles={
            role["name"]: Found(role["password"], role["login"], role["replication"], role["rewind"])
            for role in reply["roles"]
        },
        standbys={standby["name"]: standby["login"] for standby in reply["standbys"]},
        streams_as=reply["streams_as"],
    )


def plan_logins(wanted: Collection[Wanted], state: State, salt: bytes) -> tuple[Statement, ...]:
    """Say how those logins that are valid come about, and how others are closed. A standby gets all that from the primary."""
    if state.in_recovery:
        return ()
    plan: list[Statement] = []
    for entry in wanted:
        for name in logins_of(entry.role):
            found = state.roles.get(name)
            if name in entry.logins:
                plan += _opening(entry, name, found, salt)
            elif found and (found.login or found.password):
                plan += _closing(name, state)
    return tuple(plan)


def _opening(entry: Wanted, name: str, found: Found | None, salt: bytes) -> list[Statement]:
    clauses = [] if found and found.login else ["LOGIN"]
    if entry.purpose == REPLICATION and not (found and found.replication):
        clauses.append("REPLICATION")
    plan = set_up_role(name, clauses, found.password if found else None, entry.logins[name], salt)
    if entry.purpose == REWIND and not (found and found.rewind):
        grants = [f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {quote(name)}" for function in FUNCTIONS]
        grants.append(f"GRANT CONNECT ON DATABASE postgres TO {quote(name)}")
        plan.append(Statement(f"let {name} read what an old primary must undo", ";\n".join(grants)))
    return plan


def _closing(name: str, state: State) -> list[Statement]:
    users = sorted(standby for standby, login in state.standbys.items() if login == name)
    if users:
        raise DatabasesError(
            f"{' and '.join(users)} still streams by the login {name}, so it stays open; site.yml --tags postgresql hands the present one to it"
        )
    return [close_login(name)]
