# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the settings by which a commit is acknowledged before it is safe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# What each parameter may be without any acknowledged commit being lost.
SAFE = {
    "synchronous_commit": ("on", "remote_apply"),
    "fsync": ("on",),
    "full_page_writes": ("on",),
}
# PostgreSQL takes these for one another, and YAML makes truth values of some.
SPELLINGS = {"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off"}


def losing_parameters(parameters: Mapping[str, Any]) -> list[str]:
    """Say which parameters lose what was acknowledged; one that is taken away has PostgreSQL's own value, which doesn't."""
    return [
        f"{name} is {plain(parameters[name])}, expected {' or '.join(safe)}"
        for name, safe in SAFE.items()
        if parameters.get(name) is not None and plain(parameters[name]) not in safe
    ]


def plain(value: object) -> str:
    """Spell a value as PostgreSQL shows it."""
    text = str(value).strip().strip("'").lower()
    return SPELLINGS.get(text, text)


def find_weakened(settings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the roles and databases whose own settings acknowledge commits that aren't safe; an empty name stands for all."""
    return tuple(
        sorted(
            f"{_whose(entry['role'], entry['database'])} has synchronous_commit {plain(entry['value'])}"
            for entry in settings
            if plain(entry["value"]) not in SAFE["synchronous_commit"]
        )
    )


def _whose(role: str, database: str) -> str:
    if role and database:
        return f"the role {role} in the database {database}"
    return f"the role {role}" if role else f"the database {database}" if database else "every role"
