# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import (
    Database,
    DatabasesError,
    Role,
    State,
    Wanted,
    find_unclaimed,
    make_verifier,
    plan_databases,
    quote,
    read_state,
    read_wanted,
    verifies,
)

SALT = bytes(range(16))
# The example of RFC 7677, as PostgreSQL stores it.
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
ALICE = Wanted("alice", "alice", "pencil", 20)
ALICE_ROLE = Role("alice", PENCIL, True, frozenset(), 20)
ALICE_DATABASE = Database("alice", "alice", False)
SYSTEM = {
    "postgres": Database("postgres", "postgres", False),
    "template0": Database("template0", "postgres", True),
    "template1": Database("template1", "postgres", False),
}
SETTLED = State(
    in_recovery=False,
    roles={"alice": ALICE_ROLE, "rewind": Role("rewind", "", True, frozenset(), -1)},
    databases={**SYSTEM, "alice": ALICE_DATABASE},
    extensions=frozenset({"plpgsql", "pg_stat_statements"}),
    admitted=frozenset({"postgres", "rewind"}),
)


def plan(state: State, *wanted: Wanted) -> list[str]:
    """Plan, and return the SQL."""
    found = plan_databases(wanted or (ALICE,), state, ["rewind"], ["pg_stat_statements"], SALT)
    return [statement.sql for statement in found]


def with_role(role: Role) -> State:
    return replace(SETTLED, roles={**SETTLED.roles, "alice": role})


def with_database(database: Database) -> State:
    return replace(SETTLED, databases={**SETTLED.databases, database.name: database})


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(SETTLED, [], id="nothing to do"),
        pytest.param(
            with_role(replace(ALICE_ROLE, powers=frozenset({"SUPERUSER", "CREATEDB"}))),
            ['ALTER ROLE "alice" NOSUPERUSER NOCREATEDB'],
            id="powers are taken away",
        ),
        pytest.param(
            with_role(replace(ALICE_ROLE, login=False, connection_limit=-1)),
            ['ALTER ROLE "alice" LOGIN CONNECTION LIMIT 20'],
            id="login and limit",
        ),
        pytest.param(
            with_database(replace(ALICE_DATABASE, owner="bob")),
            ['ALTER DATABASE "alice" OWNER TO "alice"'],
            id="another owner",
        ),
        pytest.param(
            with_database(replace(ALICE_DATABASE, is_open=True)),
            ['REVOKE ALL ON DATABASE "alice" FROM PUBLIC'],
            id="open to all, as a run that was cut off leaves it",
        ),
        pytest.param(
            with_database(replace(SYSTEM["postgres"], is_open=True)),
            ['REVOKE ALL ON DATABASE "postgres" FROM PUBLIC', 'GRANT CONNECT ON DATABASE postgres TO "rewind"'],
            id="the system's database is closed, and its own let in",
        ),
        pytest.param(
            replace(SETTLED, admitted=frozenset({"postgres"})),
            ['GRANT CONNECT ON DATABASE postgres TO "rewind"'],
            id="its own were left out",
        ),
        pytest.param(
            replace(SETTLED, extensions=frozenset()), ['CREATE EXTENSION "pg_stat_statements"'], id="an extension"
        ),
    ],
)
def test_plan_databases(state: State, expected: list[str]) -> None:
    assert plan(state) == expected


@pytest.mark.parametrize(
    ("before", "seconds", "expected"),
    [
        pytest.param("", 0, [], id="none, and none wanted"),
        pytest.param("", 10, ["ALTER ROLE \"alice\" SET statement_timeout = '10s'"], id="the first"),
        pytest.param("10s", 10, [], id="as it is"),
        pytest.param("5000", 10, ["ALTER ROLE \"alice\" SET statement_timeout = '10s'"], id="another"),
        pytest.param("10s", 0, ['ALTER ROLE "alice" RESET statement_timeout'], id="no longer wanted"),
    ],
)
def test_statements_end_in_time(before: str, seconds: int, expected: list[str]) -> None:
    state = with_role(replace(ALICE_ROLE, statement_timeout=before))
    assert plan(state, replace(ALICE, statement_timeout=seconds)) == expected


SECOND = Role("alice-2", PENCIL, True, frozenset(), 20, acts_as="alice", member_of=frozenset({"alice"}))
TURNING = replace(ALICE, login="alice-2", former_password="pencil", password="crayon")


def test_a_second_login_comes_beside_the_first() -> None:
    role, membership, acts = plan(SETTLED, TURNING)
    assert role.startswith('CREATE ROLE "alice-2" LOGIN NOSUPERUSER ')
    assert verifies(role.split("'")[1], "crayon")
    assert membership == 'GRANT "alice" TO "alice-2"'
    assert acts == 'ALTER ROLE "alice-2" SET role = "alice"'


def test_both_logins_are_valid_while_one_takes_over() -> None:
    state = replace(SETTLED, roles={**SETTLED.roles, "alice-2": SECOND})
    assert plan(state, replace(TURNING, password="pencil", former_password="pencil")) == []


def test_a_second_login_that_was_cut_off_is_finished() -> None:
    bare = replace(SECOND, acts_as="", member_of=frozenset())
    state = replace(SETTLED, roles={**SETTLED.roles, "alice-2": bare})
    assert plan(state, replace(TURNING, password="pencil")) == [
        'GRANT "alice" TO "alice-2"',
        'ALTER ROLE "alice-2" SET role = "alice"',
    ]


@pytest.mark.parametrize(
    ("wanted", "closed"),
    [
        pytest.param(replace(ALICE, login="alice-2"), "alice", id="the first"),
        pytest.param(ALICE, "alice-2", id="the second"),
    ],
)
def test_a_login_that_had_its_turn_is_closed_and_its_sessions_end(wanted: Wanted, closed: str) -> None:
    state = replace(SETTLED, roles={**SETTLED.roles, "alice-2": SECOND})
    close, end = plan(state, wanted)
    assert close == f'ALTER ROLE "{closed}" NOLOGIN PASSWORD NULL'
    assert f"usename = '{closed}'" in end
    shut = replace(state.roles[closed], login=False, password="")
    assert plan(replace(state, roles={**state.roles, closed: shut}), wanted) == []


def test_a_role_whose_second_login_comes_first_owns_all_the_same() -> None:
    owner, *_rest = plan(SETTLED, ALICE, Wanted("bob", "bob", "paper", 5, login="bob-2"))
    assert owner == 'CREATE ROLE "bob" NOLOGIN'


def test_plan_for_a_new_deployment() -> None:
    role, database, closing = plan(SETTLED, ALICE, Wanted("bob", "bob", "paper", 5))
    assert role.startswith(
        'CREATE ROLE "bob" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5 PASSWORD '
    )
    assert verifies(role.split("'")[1], "paper")
    assert database == 'CREATE DATABASE "bob" OWNER "bob"'
    assert closing == 'REVOKE ALL ON DATABASE "bob" FROM PUBLIC'


def test_a_changed_password_is_the_only_change_and_is_never_shown() -> None:
    (statement,) = plan_databases([replace(ALICE, password="crayon")], SETTLED, [], [], SALT)
    assert verifies(statement.sql.split("'")[1], "crayon")
    assert statement.says == "alter the role alice: a password"
    assert "crayon" not in statement.sql


@pytest.mark.parametrize(
    ("state", "wanted", "message"),
    [
        pytest.param(replace(SETTLED, in_recovery=True), ALICE, "is a standby", id="no longer the primary"),
        pytest.param(SETTLED, replace(ALICE, name="rewind"), "belongs to the cluster", id="a role of the cluster"),
        pytest.param(replace(SETTLED, roles={}), ALICE, "rewind does not exist", id="no role to let in"),
    ],
)
def test_plan_databases_refuses(state: State, wanted: Wanted, message: str) -> None:
    with pytest.raises(DatabasesError, match=message):
        plan(state, wanted)


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "name": "alice",
        "database": "alice",
        "role": "alice",
        "password": "pencil",
        "connection_limit": None,
        **changes,
    }


def test_read_wanted_takes_the_common_limit_unless_an_entry_has_its_own() -> None:
    entries = [entry(), entry(name="bob", database="bob", role="bob", connection_limit=-1)]
    assert read_wanted(entries, 20) == (ALICE, Wanted("bob", "bob", "pencil", -1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"database": "template1"}, "alice.database: 'template1' can't name", id="the system's"),
        pytest.param({"database": "pg_alice"}, "alice.database: 'pg_alice' can't name", id="reserved beginning"),
        pytest.param({"database": "a" * 64}, "at most 63", id="too long"),
        pytest.param({"database": 'a"; DROP'}, "can't name a deployment's database", id="no identifier"),
        pytest.param({"role": "owner"}, "alice.role: 'owner' differs from the database 'alice'", id="two names"),
        pytest.param({"password": ""}, "alice.password: it is missing", id="no password"),
        pytest.param({"password": "pässword"}, "alice.password: it holds characters", id="beyond ASCII"),
        pytest.param({"password": "pen\ncil"}, "alice.password: it holds characters", id="a line break"),
        pytest.param({"login": "bob"}, "alice.login: 'bob' is none of the role's", id="another's login"),
        pytest.param({"former_password": "pencil"}, "former_password: it is the password", id="nothing new"),
        pytest.param({"former_password": "pen\ncil"}, "former_password: it holds characters", id="a broken former one"),
        pytest.param(
            {"database": "a" * 62, "role": "a" * 62, "login": "a" * 62 + "-2"}, "longer than 63", id="a long login"
        ),
    ],
)
def test_read_wanted_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatabasesError, match=message) as refusal:
        read_wanted([entry(**changes)], 20)
    assert "pencil" not in str(refusal.value) and "pässword" not in str(refusal.value)


def test_read_wanted_tells_all_errors_at_once() -> None:
    with pytest.raises(DatabasesError, match=r"alice\.password: .*\n.*bob\.database: 'alice' belongs to alice already"):
        read_wanted([entry(password=""), entry(name="bob")], 20)


def test_read_state() -> None:
    reply = {
        "in_recovery": False,
        "roles": [
            {
                "name": "alice",
                "password": PENCIL,
                "login": True,
                "powers": [],
                "connection_limit": 20,
                "statement_timeout": "",
                "acts_as": "",
                "member_of": [],
            }
        ],
        "databases": [{"name": "alice", "owner": "alice", "is_open": False}],
        "extensions": ["plpgsql"],
        "admitted": ["postgres"],
        "weakened": [{"role": "alice", "database": "", "value": "local"}],
    }
    state = read_state(reply)
    assert state.roles == {"alice": ALICE_ROLE}
    assert state.databases == {"alice": ALICE_DATABASE}
    assert state.weakened == ("the role alice has synchronous_commit local",)


def test_find_unclaimed() -> None:
    assert find_unclaimed([ALICE], with_database(Database("grace", "grace", False))) == ("grace",)


@pytest.mark.parametrize(
    ("stored", "password", "expected"),
    [
        pytest.param(PENCIL, "pencil", True, id="PostgreSQL's own"),
        pytest.param(PENCIL, "crayon", False, id="another password"),
        pytest.param(make_verifier("pencil", SALT, 8192), "pencil", True, id="more iterations"),
        pytest.param("md5" + "0" * 32, "pencil", False, id="an MD5 hash is replaced"),
        pytest.param("", "pencil", False, id="none"),
    ],
)
def test_verifies(stored: str, password: str, expected: bool) -> None:
    assert verifies(stored, password) is expected


def test_quote() -> None:
    assert quote('od"d') == '"od""d"'
