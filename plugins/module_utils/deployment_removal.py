# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must go of a retired deployment on an application server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.nectar.backend.plugins.module_utils.leftovers import unit_owners
from ansible_collections.nectar.backend.plugins.module_utils.slots import Record


class RemovalError(ValueError):
    """Something that bears the name and is somebody else's."""


@dataclass(frozen=True)
class Present:
    """What the server has: units of this project, records of all deployments, releases, and the ids of users and groups."""

    units: Collection[str]
    records: Mapping[str, Record]
    releases: Collection[str]
    users: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True)
class Removal:
    """What goes: units and releases by name, and whether the user and the group do."""

    units: tuple[str, ...]
    releases: tuple[str, ...]
    user: bool
    group: bool


def plan_removal(name: str, user: str, uid: int, present: Present) -> Removal:
    """Say what goes with a deployment; what another one needs stays, and a user of other id is refused."""
    for kind, ids in (("user", present.users), ("group", present.groups)):
        if ids.get(user, uid) != uid:
            raise RemovalError(
                f"{kind} {user} has the id {ids[user]} here instead of {uid}, so it isn't this deployment's; "
                "correct the tombstone's number, or remove it by hand"
            )
    return Removal(
        units=units_of(name, present.units, present.records),
        releases=tuple(sorted(_only_held_by(name, present.records) & set(present.releases))),
        user=user in present.users,
        group=user in present.groups,
    )


def units_of(name: str, units: Collection[str], known: Collection[str]) -> tuple[str, ...]:
    """Return the deployment's own units."""
    return tuple(sorted(unit for unit, owner in unit_owners(units, {*known, name}).items() if owner == name))


def _only_held_by(name: str, records: Mapping[str, Record]) -> set[str]:
    others = _held(record for key, record in records.items() if key != name)
    return _held([records[name]] if name in records else []) - others


def _held(records: Iterable[Record]) -> set[str]:
    return {content.release for record in records for content in record.slots.values()}
