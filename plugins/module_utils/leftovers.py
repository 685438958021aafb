# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server carries of this project that no entry of the registry owns."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.nectar.backend.plugins.module_utils.databases import (
    SYSTEM_DATABASES,
    State,
    role_of_login,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SLOTS

USER_PREFIX = "nb-"
# See registry.py: a deployment's user, a member's account.
DEPLOYMENT_UIDS = range(30_001, 41_000)
LOGIN_UIDS = range(41_001, 52_000)
TARGET = re.compile(rf"nectar-(.+)-(?:{'|'.join(SLOTS)})\.target")
# Which slot a unit of a deployment belongs to, or that of its migrations.
PARTS = (*SLOTS, "migrate")
UNIT = re.compile(rf"nectar-(.+?)-(?:{'|'.join(PARTS)})(?:-.+)?\.(?:service|timer|target)")


@dataclass(frozen=True)
class Leftover:
    """A thing on a server: its kind, whose it was by its own name, and the number that its user id tells."""

    kind: str
    name: str
    number: int | None = None


@dataclass(frozen=True)
class Owned:
    """The names that the registry's entries own."""

    deployments: Collection[str]
    logins: Collection[str]
    databases: Collection[str]
    applications: Collection[str]
    maintenance_roles: Collection[str] = ()


@dataclass(frozen=True)
class Found:
    """What was found on a server; `accounts` are those in the members' group, and releases come with whether a slot holds them."""

    users: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    accounts: Mapping[str, int] = field(default_factory=dict)
    key_files: Collection[str] = ()
    folders: Collection[str] = ()
    settings: Collection[str] = ()
    units: Collection[str] = ()
    releases: Mapping[str, bool] = field(default_factory=dict)
    fragments: Collection[str] = ()
    routes: Collection[str] = ()
    cluster: State | None = None


def find_leftovers(found: Found, owned: Owned) -> tuple[Leftover, ...]:
    """Name everything that carries the project's marks and that nobody owns, in the order of names."""
    owners = unit_owners(found.units, {*owned.deployments, *found.folders})
    left = [
        *_users("user", found.users, owned.deployments),
        *_users("group", found.groups, owned.deployments),
        *_unowned("folder", found.folders, owned.deployments),
        *_unowned("settings", found.settings, owned.deployments),
        *_unowned("units", sorted(set(owners.values())), owned.deployments),
        *_unowned("fragment", found.fragments, owned.deployments),
        *_unowned("route", found.routes, owned.deployments),
        *_accounts(found.accounts, owned.logins),
        *_unowned("keys", found.key_files, owned.logins),
        *_unowned("release", _unused(found.releases), owned.applications, lambda name: name.rpartition("-")[0]),
        *(_of_cluster(found.cluster, owned) if found.cluster else ()),
    ]
    return tuple(sorted(left, key=lambda leftover: (leftover.name, leftover.kind)))


def unit_owners(units: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Return whose each unit is, as far as it is a slot's or a migration's.

    A process may be called like a slot, so deployments that are known by other signs decide before the name's own form.
    """
    names = {*known, *(match[1] for unit in units if (match := TARGET.fullmatch(unit)))}
    owners = {}
    for unit in units:
        holders = [name for name in names if _is_unit_of(unit, name)]
        match = UNIT.fullmatch(unit)
        if holders:
            owners[unit] = max(holders, key=len)
        elif match:
            owners[unit] = match[1]
    return owners


def _is_unit_of(unit: str, deployment: str) -> bool:
    return re.match(rf"nectar-{re.escape(deployment)}-(?:{'|'.join(PARTS)})[.-]", unit) is not None


def _users(kind: str, present: Mapping[str, int], deployments: Collection[str]) -> list[Leftover]:
    return [
        Leftover(kind, name.removeprefix(USER_PREFIX), uid - DEPLOYMENT_UIDS.start + 1)
        for name, uid in present.items()
        if name.startswith(USER_PREFIX) and uid in DEPLOYMENT_UIDS and name.removeprefix(USER_PREFIX) not in deployments
    ]


def _accounts(present: Mapping[str, int], logins: Collection[str]) -> list[Leftover]:
    return [
        Leftover("account", name, uid - LOGIN_UIDS.start + 1 if uid in LOGIN_UIDS else None)
        for name, uid in present.items()
        if name not in logins
    ]


def _unowned(
    kind: str, present: Iterable[str], owned: Collection[str], owner: Callable[[str], str] = str
) -> list[Leftover]:
    return [Leftover(kind, name) for name in present if owner(name) not in owned]


def _unused(releases: Mapping[str, bool]) -> list[str]:
    return [name for name, is_held in releases.items() if not is_held]


def _of_cluster(state: State, owned: Owned) -> list[Leftover]:
    """Databases and roles as the project makes them: both of one name, the role with a password and without powers."""
    if state.in_recovery:
        return []
    roles = {
        role_of_login(role.name)
        for role in state.roles.values()
        if role.password
        and not role.powers
        and role_of_login(role.name) not in (*owned.databases, *owned.maintenance_roles)
    }
    databases = [
        database.name
        for database in state.databases.values()
        if database.name == database.owner and database.name not in (*owned.databases, *SYSTEM_DATABASES)
    ]
    return [*(Leftover("role", name) for name in roles), *(Leftover("database", name) for name in databases)]
