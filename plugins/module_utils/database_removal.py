# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which statements close a retired deployment's database, and drop it."""

from __future__ import annotations

from collections.abc import Collection

from ansible_collections.nectar.backend.plugins.module_utils.databases import (
    SYSTEM_DATABASES,
    DatabasesError,
    State,
    Statement,
    logins_of,
    quote,
)


def check_removable(name: str, state: State, claimed: Collection[str]) -> None:
    """Refuse what isn't a retired deployment's, and a server that can't change anything."""
    if state.in_recovery:
        raise DatabasesError("this server is a standby; another member has become the primary, so run again")
    if name in SYSTEM_DATABASES or name in claimed:
        raise DatabasesError(f"the database {name} belongs to the system or to a deployment that lives; name another")
    role = state.roles.get(name)
    if role and role.powers:
        raise DatabasesError(
            f"the role {name} has the powers {', '.join(sorted(role.powers))}, which no deployment's role has; look who made it"
        )
    database = state.databases.get(name)
    if database and database.owner != name:
        raise DatabasesError(
            f"the database {name} belongs to the role {database.owner}, not to one of its own name; look who made it"
        )


def plan_closing(name: str, state: State) -> tuple[Statement, ...]:
    """Say how nobody writes any more, so that the last dump is the last word."""
    plan: list[Statement] = []
    for login in logins_of(name):
        role = state.roles.get(login)
        if role is None or not role.login:
            continue
        # The name was checked against the state, where PostgreSQL itself keeps it; a literal needs its quotes doubled.
        literal = "'" + login.replace("'", "''") + "'"
        sessions = f"pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {literal}"
        plan += [
            Statement(f"close the role {login}", f"ALTER ROLE {quote(login)} NOLOGIN"),
            Statement(f"end the sessions of {login}", f"DO $$ BEGIN PERFORM {sessions}; END $$"),
        ]
    return tuple(plan)


def plan_drop(name: str, state: State) -> tuple[Statement, ...]:
    """Say how database and role go, and with the role its second login."""
    return (
        *(
            [Statement(f"drop the database {name}", f"DROP DATABASE {quote(name)} WITH (FORCE)")]
            if name in state.databases
            else []
        ),
        *(
            Statement(f"drop the role {login}", f"DROP ROLE {quote(login)}")
            for login in reversed(logins_of(name))
            if login in state.roles
        ),
    )
