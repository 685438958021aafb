"""The settings, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class SettingsError(ValueError):
    """A setting that is missing or can't be used."""


@dataclass(frozen=True)
class Settings:
    """What a process of this application must know; see README.md for each."""

    database: str = field(repr=False)
    name: str = "orders"
    release: str = "unknown"
    connect_timeout: int = 2
    statement_timeout: int = 3000
    rehearse_errors: int = 0
    rehearse_after: int = 0


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings, or say which variable is wrong and what it should hold."""
    database = environment.get("ORDERS_DATABASE", "")
    if not database:
        raise SettingsError("ORDERS_DATABASE: not set; expected postgresql://user:password@host:port/name")
    return Settings(
        database=database,
        name=environment.get("ORDERS_NAME", Settings.name),
        release=environment.get("ORDERS_RELEASE", Settings.release),
        connect_timeout=_whole(environment, "ORDERS_CONNECT_TIMEOUT", Settings.connect_timeout, 2, 60),
        statement_timeout=_whole(environment, "ORDERS_STATEMENT_TIMEOUT", Settings.statement_timeout, 100, 60_000),
        rehearse_errors=_whole(environment, "ORDERS_REHEARSE_ERRORS", Settings.rehearse_errors, 0, 100),
        rehearse_after=_whole(environment, "ORDERS_REHEARSE_AFTER", Settings.rehearse_after, 0, 3600),
    )


def _whole(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise SettingsError(f"{name}: found {text!r}, expected a whole number from {least} to {most}")
    return int(text)
