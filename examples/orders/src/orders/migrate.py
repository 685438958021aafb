"""orders-migrate: bring the database to this release's schema, once, whoever else tries at the same time."""

from __future__ import annotations

import os
import sys
import time

import psycopg

from orders.migrations import Migration, MigrationError, is_pending, known_migrations
from orders.settings import SettingsError, read_settings

# "orders" in ASCII. Advisory locks belong to one database, so other deployments' migrations don't wait.
LOCK = 0x6F7264657273
# Seconds that a migration may wait for a table while requests go on.
LOCK_TIMEOUT = 10
REGISTER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def main() -> int:
    """Apply what is pending; say what was done, or in one line why not."""
    try:
        settings = read_settings(os.environ)
        with psycopg.connect(settings.database, autocommit=True, connect_timeout=5, prepare_threshold=None) as database:
            for migration in known_migrations():
                started = time.monotonic()
                outcome = "applied" if apply(database, migration) else "already applied"
                print(f"{migration.version:04} {migration.name}: {outcome} ({time.monotonic() - started:.1f} s)")
    except (SettingsError, MigrationError, psycopg.Error) as error:
        print(f"orders-migrate: {str(error).strip()}", file=sys.stderr)
        return 1
    return 0


def apply(database: psycopg.Connection, migration: Migration) -> bool:
    """Apply one migration in a transaction of its own, if the database lacks it."""
    with database.transaction():
        # The transaction's own lock: it ends with it, also when a pooler stands between.
        database.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        database.execute("SET LOCAL statement_timeout = 0")
        database.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
        database.execute("SET LOCAL client_min_messages = warning")
        database.execute(REGISTER)
        applied: dict[int, str] = dict(database.execute("SELECT version, checksum FROM schema_migrations").fetchall())
        if not is_pending(migration, applied):
            return False
        database.execute(migration.sql.encode())
        database.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
            (migration.version, migration.name, migration.checksum),
        )
    return True
