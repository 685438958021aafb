# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HypoPG is at hand on every database server and in no database; no index was left unfinished."""

from __future__ import annotations

import json
from typing import Any

testinfra_hosts = ["ansible://database_servers"]


def query(host: Any, database: str, sql: str) -> Any:
    """Ask this member as the superuser, who comes by the socket."""
    with host.sudo("postgres"):
        return json.loads(host.check_output("psql -h /var/run/postgresql -d %s -AtXc %s", database, sql))


def test_hypopg_is_at_hand(host: Any) -> None:
    # Debian 12's PostgreSQL can't explain what would be tried.
    sql = "SELECT json_build_array(current_setting('server_version_num')::int >= 160000, count(*) = 1) FROM pg_available_extensions"
    is_able, is_there = query(host, "postgres", f"{sql} WHERE name = 'hypopg'")
    assert is_able == is_there


def test_advice_left_nothing_in_any_database(host: Any) -> None:
    names = query(host, "postgres", "SELECT json_agg(datname) FROM pg_database WHERE NOT datistemplate")
    for name in names:
        left = "(SELECT count(*) FROM pg_extension WHERE extname = 'hypopg') + (SELECT count(*) FROM pg_index WHERE NOT indisvalid)"
        assert query(host, name, f"SELECT to_json({left})") == 0, name
