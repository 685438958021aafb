# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `approval`: somebody other than the one who asks has agreed, for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    HOLD,
    PASS,
    Verdict,
    check_fields,
    instant,
    moment,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Field, is_list_of_text

GATE = "approval"


def _is_logins(value: object) -> bool:
    return is_list_of_text(value) and bool(value)


FIELDS = {"by": Field(_is_logins, "a list of logins", "write it as [alice, bob], or leave it out for anybody else")}


@dataclass(frozen=True)
class ApprovalFacts:
    """The approval in etcd, if there is one, and for whose rollout of what it is asked."""

    approval: Mapping[str, Any] | None
    deployment: str
    release: str
    person: str
    now: float


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    return check_fields(spec, field, FIELDS)


def judge(spec: Mapping[str, Any], facts: ApprovalFacts) -> Verdict:
    """Say whether the approval that there is counts for this rollout."""
    approval, by = facts.approval or {}, spec.get("by")
    until = instant(approval.get("until"))
    if lack := _lack(approval, until, by, facts):
        return Verdict(GATE, HOLD, f"{lack}; {_whom_to_ask(by, facts)}", dict(approval))
    why = f": {approval['why']}" if approval.get("why") else ""
    return Verdict(GATE, PASS, f"{approval['person']} approved until {moment(until or 0)}{why}", dict(approval))


def _whom_to_ask(by: list[str] | None, facts: ApprovalFacts) -> str:
    able = [login for login in by or () if login != facts.person]
    if by and not able:
        return f"only {facts.person} may approve by the registry; add somebody else to rollout.gates.approval.by"
    who = " or ".join(able) or f"somebody other than {facts.person}"
    return f"{who} may run playbooks/approve.yml -e deployment={facts.deployment}"


def _lack(approval: Mapping[str, Any], until: float | None, by: list[str] | None, facts: ApprovalFacts) -> str:
    """What the approval lacks; nothing where it counts."""
    if not approval:
        return "nobody has approved"
    person, release = approval.get("person"), approval.get("release") or ""
    if not person:
        return "the approval names nobody"
    if person == facts.person:
        return f"{person} can't approve a rollout of their own"
    if by and person not in by:
        return f"{person} approved, who isn't among {', '.join(by)}"
    if release and release != facts.release:
        return f"{person} approved {release}, not {facts.release}"
    if until is None:
        return f"{person}'s approval says no time until which it counts"
    if until <= facts.now:
        return f"{person}'s approval ended at {moment(until)}"
    return ""
