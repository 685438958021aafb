# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `lease`: the rollout still is the one that may change the deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    FAIL,
    HOLD,
    PASS,
    Verdict,
    check_fields,
    says_when,
)

GATE = "lease"


@dataclass(frozen=True)
class LeaseFacts:
    """The lease in etcd with its token, and the token of the rollout that asks, if it took one."""

    lease: Mapping[str, Any] | None
    held: int | None
    token: int | None


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    return check_fields(spec, field, {})


def judge(spec: Mapping[str, Any], facts: LeaseFacts) -> Verdict:
    """Say whether the lease is the asker's; without a token, whether it is free."""
    evidence = {"token": facts.token, "held": facts.held}
    if facts.lease is None:
        if not facts.token:
            return Verdict(GATE, PASS, "nobody holds the lease", evidence)
        return Verdict(GATE, FAIL, f"the lease with token {facts.token} has ended or was broken", evidence)
    holder = _holder(facts.lease)
    evidence |= {name: facts.lease.get(name) for name in ("person", "controller", "since")}
    if not facts.token:
        return Verdict(GATE, HOLD, holder, evidence)
    if facts.token == facts.held:
        return Verdict(GATE, PASS, f"the lease with token {facts.token} is held", evidence)
    return Verdict(GATE, FAIL, f"the lease with token {facts.token} was lost, and {holder}", evidence)


def _holder(lease: Mapping[str, Any]) -> str:
    where = f" on {lease['controller']}" if lease.get("controller") else ""
    why = f": {lease['why']}" if lease.get("why") else ""
    return f"{lease.get('person') or 'somebody'}{where} holds the lease since {says_when(lease.get('since'))}{why}"
