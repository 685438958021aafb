# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Statements that close and drop a database, and databases that are never touched."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.database_removal import (
    check_removable,
    plan_closing,
    plan_drop,
)
from ansible_collections.nectar.backend.plugins.module_utils.databases import Database, DatabasesError, Role, State


def state(login: bool = True, owner: str = "grace", powers: frozenset[str] = frozenset(), **changes: Any) -> State:
    given = {
        "in_recovery": False,
        "roles": {"grace": Role("grace", "x", login, powers, 20)},
        "databases": {"grace": Database("grace", owner, False)},
        "extensions": frozenset(),
        "admitted": frozenset(),
    }
    return State(**{**given, **changes})


def test_closing_comes_before_the_dump() -> None:
    assert [statement.sql for statement in plan_closing("grace", state())] == [
        'ALTER ROLE "grace" NOLOGIN',
        "DO $$ BEGIN PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'grace'; END $$",
    ]
    assert plan_closing("grace", state(login=False)) == ()
    assert plan_closing("grace", state(roles={})) == ()


def test_the_second_login_is_closed_and_dropped_too() -> None:
    present = state(roles={name: Role(name, "x", name != "grace", frozenset(), 20) for name in ("grace", "grace-2")})
    assert plan_closing("grace", present)[0].sql == 'ALTER ROLE "grace-2" NOLOGIN'
    assert [statement.sql for statement in plan_drop("grace", present)][1:] == [
        'DROP ROLE "grace-2"',
        'DROP ROLE "grace"',
    ]


@pytest.mark.parametrize(
    ("present", "statements"),
    [
        pytest.param(state(), ['DROP DATABASE "grace" WITH (FORCE)', 'DROP ROLE "grace"'], id="both"),
        pytest.param(state(databases={}), ['DROP ROLE "grace"'], id="cut off in between"),
        pytest.param(state(databases={}, roles={}), [], id="nothing is left"),
    ],
)
def test_drop(present: State, statements: list[str]) -> None:
    assert [statement.sql for statement in plan_drop("grace", present)] == statements


@pytest.mark.parametrize(
    ("name", "present", "claimed", "said"),
    [
        pytest.param("grace", state(in_recovery=True), [], "this server is a standby", id="a standby"),
        pytest.param("postgres", state(), [], "belongs to the system", id="the system's"),
        pytest.param("grace", state(), ["grace"], "or to a deployment that lives", id="claimed"),
        pytest.param(
            "grace", state(powers=frozenset({"SUPERUSER"})), [], "has the powers SUPERUSER", id="a mighty role"
        ),
        pytest.param("grace", state(owner="boss"), [], "belongs to the role boss", id="another owner"),
    ],
)
def test_refusals(name: str, present: State, claimed: list[str], said: str) -> None:
    with pytest.raises(DatabasesError, match=said):
        check_removable(name, present, claimed)
