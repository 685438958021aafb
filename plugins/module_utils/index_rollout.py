# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the gates are told of a deployment whose indexes are built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_policy import full_policy

# The others ask about a new release and the requests that it answers.
ASKED = ("lease", "freeze", "window", "approval", "database")


def index_gates(deployments: Iterable[Mapping[str, Any]], leases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The deployments whose lease is held, as rollout_gate wants them; the database is asked unless the registry says no."""
    entries = []
    for deployment in deployments:
        name = str(deployment["name"])
        lease = leases.get(name, {})
        if lease.get("state") != "held":
            continue
        own = deployment.get("rollout") or {}
        policy = full_policy(own)
        gates = {gate: spec for gate, spec in policy["gates"].items() if gate in ASKED}
        if (own.get("gates") or {}).get("database") is not False:
            gates.setdefault("database", {})
        entries.append(
            {
                "name": name,
                "policy": {**policy, "gates": gates, "shadow": [gate for gate in policy["shadow"] if gate in gates]},
                "step": {"index": 0, "hosts": list(deployment.get("hosts", ())), "share": 100, "bake": 0},
                "hosts": list(deployment.get("hosts", ())),
                "person": lease.get("person", ""),
                "token": lease.get("token"),
                "began": lease.get("since"),
            }
        )
    return entries
