# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide how a member of etcd that holds no data may come into its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class EtcdError(Exception):
    """The member can't come into the cluster this way."""


@dataclass(frozen=True)
class Member:
    """A member as the cluster lists it; one that never started has no name."""

    id: str
    name: str
    peer_urls: tuple[str, ...]


@dataclass(frozen=True)
class Join:
    """What the cluster must be told before the empty member starts."""

    remove: tuple[str, ...]
    add: bool


def read_members(reply: Mapping[str, Any]) -> tuple[Member, ...]:
    """Read the answer of /v3/cluster/member/list and of /v3/cluster/member/add."""
    try:
        return tuple(
            Member(str(entry["ID"]), entry.get("name", ""), tuple(entry["peerURLs"])) for entry in reply["members"]
        )
    except (KeyError, TypeError) as error:
        raise EtcdError(f"etcd listed its members in an unknown form, {reply!r}: {error}") from error


def check_membership(name: str, members: Mapping[str, str]) -> None:
    """Refuse a list of members that can't make a cluster with `name` in it."""
    if name not in members:
        raise EtcdError(f"members: {name} is not among {', '.join(sorted(members)) or 'them'}; add it with its address")
    if len(members) % 2 == 0:
        raise EtcdError(
            f"members: {len(members)} members bear no more losses than {len(members) - 1}; name an odd number"
        )
    if len(set(members.values())) < len(members):
        raise EtcdError(f"members: two of them share an address in {dict(members)!r}; give each its own")


def plan_join(name: str, peer_url: str, listed: tuple[Member, ...]) -> Join:
    """Plan the return of an empty member to a living cluster.

    Its old entry must go: a member that lost its data has forgotten its votes, and one that came back under
    the same identity could vote twice. An entry that never started holds no votes and is used as it is.
    """
    ours = [member for member in listed if member.name == name or peer_url in member.peer_urls]
    waiting = [member for member in ours if not member.name and member.peer_urls == (peer_url,)]
    if waiting:
        return Join(remove=tuple(member.id for member in ours if member not in waiting), add=False)
    return Join(remove=tuple(member.id for member in ours), add=True)


def initial_cluster(name: str, peer_url: str, listed: tuple[Member, ...]) -> str:
    """Write etcd's initial-cluster for a member that joins the cluster `listed`."""
    entries = {name: peer_url}
    for member in listed:
        if peer_url in member.peer_urls:
            continue
        if not member.name:
            raise EtcdError(
                f"the member with {', '.join(member.peer_urls)} was added but never started; "
                f"start it, or remove it with `etcdctl member remove {int(member.id):x}`"
            )
        entries[member.name] = member.peer_urls[0]
    return ",".join(f"{key}={entries[key]}" for key in sorted(entries))
