# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `freeze`: a red switch that stops every rollout of an environment at its next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    HOLD,
    PASS,
    Verdict,
    check_fields,
    says_when,
)

GATE = "freeze"


@dataclass(frozen=True)
class FreezeFacts:
    """The environment's freeze, if there is one."""

    freeze: Mapping[str, Any] | None


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    return check_fields(spec, field, {})


def judge(spec: Mapping[str, Any], facts: FreezeFacts) -> Verdict:
    """Say whether the environment lets rollouts go on."""
    freeze = facts.freeze
    if freeze is None:
        return Verdict(GATE, PASS, "nobody has frozen the environment")
    person, since, why = (freeze.get(name) for name in ("person", "since", "why"))
    reason = f"{person or 'somebody'} froze the environment at {says_when(since)}: {why or 'no reason given'}"
    return Verdict(GATE, HOLD, reason, {"person": person, "since": since, "why": why})
