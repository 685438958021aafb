"""Which migrations a database lacks."""

from __future__ import annotations

import pytest

from orders.migrations import Migration, MigrationError, in_order, is_pending, known_migrations, parse_migration

FIRST = Migration(1, "create orders", "CREATE TABLE orders ()")


def test_the_package_holds_numbered_migrations_without_a_gap() -> None:
    versions = [migration.version for migration in known_migrations()]
    assert versions == list(range(1, len(versions) + 1))


def test_the_listing_by_customer_is_left_without_an_index() -> None:
    assert not any("CREATE INDEX" in migration.sql.upper() for migration in known_migrations())


def test_a_file_name_says_number_and_purpose() -> None:
    assert parse_migration("0012_add_notes.sql", "SELECT 1") == Migration(12, "add notes", "SELECT 1")


@pytest.mark.parametrize("filename", ["12_add.sql", "0012.sql", "0012_Add.sql", "0012_add.sql.orig"])
def test_another_file_name_is_refused(filename: str) -> None:
    with pytest.raises(MigrationError, match="expected a name like"):
        parse_migration(filename, "")


def test_two_of_one_number_are_refused() -> None:
    with pytest.raises(MigrationError, match="0001: found twice"):
        in_order([FIRST, Migration(1, "create things", "")])


@pytest.mark.parametrize(
    ("applied", "pending"),
    [
        pytest.param({}, True, id="an empty database"),
        pytest.param({1: FIRST.checksum}, False, id="applied before"),
        pytest.param({1: FIRST.checksum, 2: "?"}, False, id="a newer release was here"),
    ],
)
def test_what_is_pending(applied: dict[int, str], pending: bool) -> None:
    assert is_pending(FIRST, applied) is pending


def test_a_changed_migration_is_refused() -> None:
    with pytest.raises(MigrationError, match="another text"):
        is_pending(FIRST, {1: "of an earlier text"})
