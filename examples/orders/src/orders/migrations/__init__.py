"""The numbered SQL files that make the schema, and which of them a database still lacks."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources


class MigrationError(ValueError):
    """Migrations that don't fit each other or the database."""


@dataclass(frozen=True)
class Migration:
    """One numbered SQL file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells a file that was changed after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def parse_migration(filename: str, sql: str) -> Migration:
    """Read a migration from a file named like 0001_create_orders.sql."""
    match = re.fullmatch(r"([0-9]{4})_([a-z0-9_]+)\.sql", filename)
    if not match:
        raise MigrationError(f"{filename}: expected a name like 0001_create_orders.sql")
    return Migration(int(match[1]), match[2].replace("_", " "), sql)


def known_migrations() -> list[Migration]:
    """The migrations of this release, in order."""
    files = [entry for entry in resources.files(__name__).iterdir() if entry.name.endswith(".sql")]
    return in_order(parse_migration(entry.name, entry.read_text(encoding="utf-8")) for entry in files)


def in_order(migrations: Iterable[Migration]) -> list[Migration]:
    """Sort migrations, and refuse two of one number."""
    ordered = sorted(migrations, key=lambda migration: migration.version)
    for one, other in itertools.pairwise(ordered):
        if one.version == other.version:
            raise MigrationError(f"{one.version:04}: found twice ({one.name}, {other.name}); give one a new number")
    return ordered


def is_pending(migration: Migration, applied: Mapping[int, str]) -> bool:
    """Whether a database lacks this migration; `applied` maps versions to checksums."""
    if migration.version not in applied:
        return True
    if applied[migration.version] != migration.checksum:
        raise MigrationError(
            f"{migration.version:04} {migration.name}: the database holds another text of it; "
            "take the change back and write it as a new migration"
        )
    return False
