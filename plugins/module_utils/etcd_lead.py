# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which member of etcd is to lead in place of the one that shares its host with the primary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class LeadError(Exception):
    """etcd's answer can't be used."""


@dataclass(frozen=True)
class Heir:
    """A member that could lead; the number is a text, for it takes 64 bits."""

    name: str
    number: str


def plan_heirs(status: Mapping[str, Any], listing: Mapping[str, Any]) -> tuple[Heir, ...]:
    """Return the members that could lead in this one's place, in the order of trying; none where it doesn't lead."""
    try:
        own, leader = status["header"]["member_id"], status.get("leader", "0")
        members = [(entry.get("name", ""), entry["ID"], bool(entry.get("isLearner"))) for entry in listing["members"]]
    except (KeyError, TypeError) as error:
        raise LeadError(
            f"etcd answered in an unknown form, {str(status)[:200]}, {str(listing)[:200]}: {error}"
        ) from error
    if own != leader:
        return ()
    # One without a name was added and has never started.
    return tuple(
        Heir(name, number) for name, number, learns in sorted(members) if number != own and name and not learns
    )
