# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A migration's limits reach PostgreSQL, and what a broken one leaves is found by the deployment's own role, in a real catalogue."""

from __future__ import annotations

import json
import shlex
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.schema_changes import (
    Look,
    find_left,
    look_query,
    read_look,
)

testinfra_hosts = ["ansible://app_servers"]

ENVIRONMENT = "/etc/nectar/deployments/staging/migrate.env"
BREAK = (
    "CREATE TABLE left_behind (id integer PRIMARY KEY, twice integer)",
    "INSERT INTO left_behind VALUES (1, 1), (2, 1)",
    "ALTER TABLE left_behind ADD CONSTRAINT small CHECK (twice < 9) NOT VALID",
    "CREATE UNIQUE INDEX CONCURRENTLY never_done ON left_behind (twice)",
)


def psql(host: Any, *statements: str) -> Any:
    """Run statements as a migration would, each in a transaction of its own, and go on where one fails."""
    words = " ".join(f"--command {shlex.quote(statement)}" for statement in statements)
    with host.sudo():
        return host.run(f'set -a; . {ENVIRONMENT}; exec psql -AtqX --dbname "$ORDERS_DATABASE" {words}')


def look(host: Any) -> Look:
    """Look at the database as it is now."""
    return read_look(json.loads(psql(host, f"SET search_path = pg_catalog; {look_query('nobody')}").stdout))


def test_a_migration_is_known_by_its_name_and_gives_up_in_time(host: Any, planned: dict[str, Any]) -> None:
    names = ("application_name", "lock_timeout", "statement_timeout", "client_connection_check_interval")
    lock = planned["budget"]["timeouts"]["migration_lock"]["value"]
    shown = psql(host, *(f"SHOW {name}" for name in names)).stdout.split()
    assert shown == ["nectar-staging-migrate", f"{lock}s", "15min", "5s"]


def test_what_a_broken_migration_leaves_is_found(host: Any) -> None:
    before = look(host)
    try:
        assert "could not create unique index" in psql(host, *BREAK).stderr
        lines = find_left(before, look(host))
    finally:
        psql(host, "DROP TABLE IF EXISTS left_behind")
    told = "\n".join(lines)
    assert "table public.left_behind was made; take it back: DROP TABLE public.left_behind" in told
    assert "REINDEX INDEX CONCURRENTLY public.never_done" in told
    assert "ALTER TABLE public.left_behind VALIDATE CONSTRAINT small" in told
    assert find_left(before, look(host)) == []
