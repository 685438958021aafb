# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide whether the lead may go to another member now, and to which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gate_database import STREAMING, Replica
from ansible_collections.nectar.backend.plugins.module_utils.gates import PASS, Verdict
from ansible_collections.nectar.backend.plugins.module_utils.patroni import Cluster

ANSWER = re.compile(r'ed over to "([^"]+)"')


class SwitchoverError(Exception):
    """No member can take the lead; nothing overrides that."""


@dataclass(frozen=True)
class Switchover:
    """Who hands the lead over, who may take it, the likeliest first, and what speaks against doing it now.

    Patroni is told whom to hand it to, the `named`, only where it must be: a person named one, there is but one, or Patroni is paused. Then
    the others sleep for 2 s before they follow (`process_unhealthy_cluster` in Patroni 4.0's ha.py), and commits wait for them.
    """

    leader: str
    candidates: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    named: str = ""

    @property
    def order(self) -> dict[str, str]:
        """What Patroni is asked for, as its REST API takes it."""
        return {"leader": self.leader, **({"candidate": self.named} if self.named else {})}


def plan_switchover(
    cluster: Cluster, settings: Mapping[str, Any], replicas: tuple[Replica, ...], verdict: Verdict, wanted: str = ""
) -> Switchover:
    """Choose who may take over: the wanted member, or every standby that holds what was acknowledged, the one that is least behind first."""
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
    named = wanted or (able[0] if len(able) == 1 else "")
    doubts = () if verdict.verdict == PASS else (verdict.reason,)
    if settings.get("pause"):
        named = named or able[0]
        doubts = ("Patroni is paused, and acts on nothing by itself; `patronictl resume` ends that", *doubts)
    return Switchover(leader, (named,) if named else tuple(able), doubts, named)


def read_answer(answer: str) -> str:
    """Return who leads now by what Patroni answered: `Successfully switched over to "db2"`, or `Switched over to "db3" instead of "db2"`."""
    found = ANSWER.search(answer)
    if not found:
        raise SwitchoverError(f"Patroni answered {answer!r}; see who leads with `patronictl list`")
    return found[1]


def fit_standbys(cluster: Cluster, settings: Mapping[str, Any], replicas: tuple[Replica, ...]) -> list[str]:
    """Name the standbys that may take over, the one that is least behind first."""
    lags = {replica.name: replica.lag or 0 for replica in replicas if replica.state == STREAMING}
    known = {member.name for member in cluster.members}
    chosen = cluster.synchronous if settings.get("synchronous_mode") else tuple(known)
    return sorted((name for name in chosen if name in lags), key=lambda name: (lags[name], name))
