# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every deployment reaches its database through the pooler, with its password and not without."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import role_of_login

testinfra_hosts = ["ansible://app_servers"]

QUERY = "psql -X -w -At -h 127.0.0.1 -p 6432 -U {user} -d {database} -c '{sql}'"


@pytest.fixture
def databases(host: Any) -> list[str]:
    """Return what the pooler says it serves, by database."""
    with host.sudo("postgres"):
        rows = host.check_output("psql -X -At -h /run/postgresql -p 6432 -U pgbouncer pgbouncer -c 'SHOW DATABASES'")
    names = [row.split("|")[0] for row in rows.splitlines()]
    return [name for name in names if name != "pgbouncer"]


@pytest.fixture
def logins(host: Any) -> dict[str, tuple[str, str]]:
    """Return every database's login and its password: its role, or the role's second login, which takes turns with it."""
    with host.sudo():
        lines = host.file("/etc/pgbouncer/userlist.txt").content_string
    found = re.findall(r'^"(.+)" "(.*)"$', lines, re.MULTILINE)
    return {role_of_login(user): (user, password.replace('""', '"')) for user, password in found}


def query(
    host: Any, database: str, login: tuple[str, str], sql: str = "SELECT pg_is_in_recovery(), current_database()"
) -> Any:
    """Ask as a deployment does."""
    user, password = login
    secret = password.replace("\\", "\\\\").replace(":", "\\:")
    script = "file=$(mktemp) && trap 'rm -f $file' EXIT && printf '%s\\n' \"$1\" >$file && PGPASSFILE=$file eval \"$2\""
    return host.run(
        "bash -c %s - %s %s", script, f"*:*:*:*:{secret}", QUERY.format(user=user, database=database, sql=sql)
    )


def test_every_database_leads_to_the_primary(
    host: Any, databases: list[str], logins: dict[str, tuple[str, str]]
) -> None:
    assert databases
    for database in databases:
        answer = query(host, database, logins[database])
        assert answer.stdout.strip() == f"f|{database}", answer.stderr


def test_a_wrong_password_is_refused(host: Any, databases: list[str]) -> None:
    answer = query(host, databases[0], (databases[0], "not-the-password"))
    assert answer.rc != 0
    assert "password authentication failed" in answer.stderr or "SASL authentication failed" in answer.stderr


def test_passwords_are_readable_by_root_and_the_pooler_alone(host: Any) -> None:
    with host.sudo():
        userlist = host.file("/etc/pgbouncer/userlist.txt")
        assert (userlist.user, userlist.group, userlist.mode) == ("root", "postgres", 0o640)


def test_nobody_else_reaches_the_pooler(host: Any) -> None:
    addresses = {
        socket.rpartition(":")[0] for socket in host.socket.get_listening_sockets() if socket.endswith(":6432")
    }
    assert {address for address in addresses if address.startswith("tcp")} == {"tcp://127.0.0.1", "tcp://::1"}


def ask(host: Any, command: str) -> list[dict[str, str]]:
    """Ask the pooler about itself, and return its rows by column."""
    with host.sudo("postgres"):
        shown = host.check_output("psql -X -A -h /run/postgresql -p 6432 -U pgbouncer pgbouncer -c %s", command)
    header, *rows = [line.split("|") for line in shown.splitlines() if "|" in line]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_each_pool_has_its_share(host: Any, databases: list[str], planned: dict[str, Any]) -> None:
    shares = {entry["database"]: str(entry["share"]["pool_size"]) for entry in planned["deployments"].values()}
    rows = {row["name"]: row for row in ask(host, "SHOW DATABASES")}
    for name in databases:
        assert (rows[name]["pool_size"], rows[name]["max_connections"]) == (shares[name], shares[name]), name


def test_it_waits_as_long_as_the_budget_says(host: Any, planned: dict[str, Any]) -> None:
    settings = {row["key"]: row["value"] for row in ask(host, "SHOW CONFIG")}
    timeouts = planned["budget"]["timeouts"]
    assert settings["query_wait_timeout"] == str(timeouts["query_wait"]["value"])
    assert settings["idle_transaction_timeout"] == str(timeouts["idle_transaction"]["value"])


def test_a_statement_ends_in_time(
    host: Any, databases: list[str], logins: dict[str, tuple[str, str]], planned: dict[str, Any]
) -> None:
    seconds = planned["budget"]["timeouts"]["statement"]["value"]
    for database in databases:
        assert query(host, database, logins[database], "SHOW statement_timeout").stdout.strip() == f"{seconds}s"
