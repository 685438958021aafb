# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide whether the lead may go to another member now, and to which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gate_database import STREAMING, Replica
from ansible_collections.nectar.backend.plugins.module_utils.gates import PASS, Verdict
from ansible_collections.nectar.backend.plugins.module_utils.patroni import Cluster


class SwitchoverError(Exception):
    """No member can take the lead; nothing overrides that."""


@dataclass(frozen=True)
class Switchover:
    """Who hands the lead over, who may take it, the likeliest first, and what speaks against doing it now."""

    leader: str
    candidates: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def plan_switchover(
    cluster: Cluster, settings: Mapping[str, Any], replicas: tuple[Replica, ...], verdict: Verdict, wanted: str = ""
) -> Switchover:
    """Choose who may take over: the wanted member, or every synchronous standby, the one that is least behind first."""
    leader = cluster.leader
    if leader is None:
        raise SwitchoverError("no member leads now, so there is no lead to hand over; see why with `patronictl list`")
    if wanted == leader:
        raise SwitchoverError(f"candidate: {wanted} leads already; name a standby, or none")
    able = fit_standbys(cluster, settings, replicas)
    if not able:
        raise SwitchoverError(
            f"no standby of {leader} holds every acknowledged commit; see what they lack with `patronictl list`"
        )
    if wanted and wanted not in able:
        raise SwitchoverError(f"candidate: {wanted} can't take over; expected one of {', '.join(able)}, or none")
    doubts = () if verdict.verdict == PASS else (verdict.reason,)
    if settings.get("pause"):
        doubts = ("Patroni is paused, and acts on nothing by itself; `patronictl resume` ends that", *doubts)
    return Switchover(leader, (wanted,) if wanted else tuple(able), doubts)


def order(plan: Switchover, wanted: str) -> dict[str, str]:
    """Return what Patroni is asked for, as its REST API takes it: without a candidate, its standbys contend for the lead."""
    return {"leader": plan.leader, **({"candidate": wanted} if wanted else {})}


def fit_standbys(cluster: Cluster, settings: Mapping[str, Any], replicas: tuple[Replica, ...]) -> list[str]:
    """Name the standbys that may take over, the one that is least behind first."""
    lags = {replica.name: replica.lag or 0 for replica in replicas if replica.state == STREAMING}
    known = {member.name for member in cluster.members}
    chosen = cluster.synchronous if settings.get("synchronous_mode") else tuple(known)
    return sorted((name for name in chosen if name in lags), key=lambda name: (lags[name], name))
