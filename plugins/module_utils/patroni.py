# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a Patroni cluster's state, and decide what its settings lack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

LEADERS = frozenset({"leader", "master", "standby_leader"})
SYNCHRONOUS = frozenset({"sync_standby", "quorum_standby"})
WORKING = frozenset({"running", "streaming"})
# How modules find the REST API, described in doc_fragments/patroni_members.py; and what those take that change something
# through it, described in doc_fragments/patroni_api.py.
MEMBER_ARGUMENTS: dict[str, Any] = {
    "servers": {"type": "list", "elements": "str", "required": True},
    "port": {"type": "int", "default": 8008},
    "ca_file": {"type": "path", "required": True},
}
API_ARGUMENTS: dict[str, Any] = {
    **MEMBER_ARGUMENTS,
    "cert_file": {"type": "path"},
    "key_file": {"type": "path", "no_log": False},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "former_password": {"type": "str", "no_log": True},
}
# Those of them that say who asks.
CALLER = ("ca_file", "cert_file", "key_file", "username", "password", "former_password")
API_TOGETHER = [("cert_file", "key_file")]


class PatroniError(Exception):
    """The cluster's state or settings can't be used."""


@dataclass(frozen=True)
class Member:
    """A member as the cluster sees it."""

    name: str
    role: str
    state: str
    pending_restart: bool = False


@dataclass(frozen=True)
class Cluster:
    """The members of a cluster, as one of them told."""

    members: tuple[Member, ...]

    @property
    def leader(self) -> str | None:
        """Name the member that takes writes, if one does."""
        for member in self.members:
            if member.role in LEADERS and member.state in WORKING:
                return member.name
        return None

    @property
    def synchronous(self) -> tuple[str, ...]:
        """Name the standbys that a commit may wait for."""
        return tuple(m.name for m in self.members if m.role in SYNCHRONOUS and m.state in WORKING)

    @property
    def pending_restart(self) -> tuple[str, ...]:
        """Name the members that must restart before all their settings hold."""
        return tuple(member.name for member in self.members if member.pending_restart)


def read_cluster(reply: Mapping[str, Any]) -> Cluster:
    """Read the answer of GET /cluster."""
    try:
        members = tuple(
            Member(entry["name"], entry["role"], entry.get("state", "unknown"), bool(entry.get("pending_restart")))
            for entry in reply["members"]
        )
    except (KeyError, TypeError) as error:
        raise PatroniError(f"Patroni listed its members in an unknown form, {reply!r}: {error}") from error
    return Cluster(tuple(sorted(members, key=lambda member: member.name)))


def find_lacks(cluster: Cluster, expected: Collection[str], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what keeps the cluster from serving writes with every expected member; nothing means it does."""
    lacks = []
    if cluster.leader is None:
        lacks.append("no member leads")
    elif settings.get("synchronous_mode_strict") and not cluster.synchronous:
        lacks.append("no standby is synchronous yet, so commits would wait")
    known = {member.name: member for member in cluster.members}
    for name in sorted(expected):
        if name not in known:
            lacks.append(f"{name} is not in the cluster")
        elif not is_serving(known[name]):
            lacks.append(f"{name} is {known[name].role} and {known[name].state}")
    return tuple(lacks)


def is_serving(member: Member) -> bool:
    """Say whether a member does its part: a leader runs, a standby streams."""
    # Patroni 3.0 calls a streaming standby "running" where later versions say "streaming".
    return member.state in WORKING


def merge_settings(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `wanted` into `current` as Patroni does with PATCH: deep, and null takes a key away."""
    merged = dict(current)
    for key, value in wanted.items():
        before = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = merge_settings(before if isinstance(before, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def select_settings(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Pick from `current` the keys that `wanted` speaks of: what a diff may show."""
    picked: dict[str, Any] = {}
    for key, value in wanted.items():
        if key not in current:
            continue
        before = current[key]
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            picked[key] = select_settings(before, value)
        else:
            picked[key] = before
    return picked
