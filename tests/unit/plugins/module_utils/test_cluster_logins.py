# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of the cluster's own logins are open, and that none is closed by which a standby streams."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.cluster_logins import (
    Found,
    State,
    plan_logins,
    read_state,
    read_wanted,
)
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError, make_verifier

REPLICATOR = {"role": "replicator", "purpose": "replication", "login": None, "password": "old", "former_password": None}
REWIND = {"role": "rewind", "purpose": "rewind", "login": "", "password": "older", "former_password": ""}
TURNED = {**REPLICATOR, "login": "replicator-2", "password": "new", "former_password": "old"}
MADE = Found(make_verifier("old", b"salt"), login=True, replication=True, rewind=False)
NEXT = Found(make_verifier("new", b"salt"), login=True, replication=True, rewind=False)
LOOKS = Found(make_verifier("older", b"salt"), login=True, replication=False, rewind=True)
CLOSED = Found("", login=False, replication=True, rewind=False)


def says(entry: dict[str, Any], state: State) -> list[str]:
    return [statement.says for statement in plan_logins(read_wanted([entry]), state, b"0" * 16)]


@pytest.mark.parametrize(
    ("entry", "roles", "expected"),
    [
        pytest.param(REPLICATOR, {"replicator": MADE}, [], id="as Patroni made it"),
        pytest.param(REWIND, {"rewind": LOOKS}, [], id="the other one, too"),
        pytest.param(
            TURNED,
            {"replicator": MADE},
            ["create the role replicator-2: login, replication, a password"],
            id="the second beside the first",
        ),
        pytest.param(TURNED, {"replicator": MADE, "replicator-2": NEXT}, [], id="both are valid already"),
        pytest.param(
            {**TURNED, "former_password": ""},
            {"replicator": MADE, "replicator-2": NEXT},
            ["close the login replicator"],
            id="the former one has had its day",
        ),
        pytest.param(
            {**TURNED, "former_password": ""}, {"replicator": CLOSED, "replicator-2": NEXT}, [], id="closed before"
        ),
        pytest.param(
            {**REPLICATOR, "password": "new", "former_password": "old"},
            {"replicator": CLOSED, "replicator-2": MADE},
            ["alter the role replicator: login, a password"],
            id="the first one's turn again",
        ),
        pytest.param(
            {**REWIND, "login": "rewind-2"},
            {"rewind": LOOKS},
            [
                "close the login rewind",
                "create the role rewind-2: login, a password",
                "let rewind-2 read what an old primary must undo",
            ],
            id="a backup that knows the first alone",
        ),
    ],
)
def test_what_is_done(entry: dict[str, Any], roles: dict[str, Found], expected: list[str]) -> None:
    assert says(entry, State(False, roles)) == expected


def test_a_standby_changes_nothing() -> None:
    assert says(TURNED, State(True)) == []


def test_a_login_by_which_a_standby_streams_stays_open() -> None:
    with pytest.raises(DatabasesError, match="db3 still streams by the login replicator, so it stays open"):
        says(
            {**TURNED, "former_password": ""},
            State(False, {"replicator": MADE, "replicator-2": NEXT}, {"db2": "replicator-2", "db3": "replicator"}),
        )


def test_no_statement_holds_a_password() -> None:
    statements = plan_logins(read_wanted([TURNED]), State(False), b"0" * 16)
    assert "SCRAM-SHA-256$" in statements[0].sql + statements[1].sql
    assert not any("'old'" in statement.sql or "'new'" in statement.sql for statement in statements)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param({**TURNED, "login": "postgres"}, "'postgres' is none of", id="a login of nobody"),
        pytest.param({**TURNED, "password": "old"}, "a new one must differ", id="the same twice"),
    ],
)
def test_what_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DatabasesError, match=message):
        read_wanted([entry])


def test_what_a_member_tells() -> None:
    role = {"name": "replicator", "password": "x", "login": True, "replication": True, "rewind": False}
    reply = {
        "in_recovery": True,
        "roles": [role],
        "standbys": [{"name": "db2", "login": "replicator"}],
        "streams_as": "replicator",
    }
    state = read_state(reply)
    assert (state.roles["replicator"].replication, state.standbys, state.streams_as) == (
        True,
        {"db2": "replicator"},
        "replicator",
    )
