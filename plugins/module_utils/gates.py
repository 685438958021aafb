# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a gate is: a verdict with its evidence, and what sets each gate apart.

Every gate has a file of its own, gate_<name>.py, with `check(spec, field)` for what the registry says of it, and
`judge(spec, facts)` for its verdict. Both are pure: whoever asks reads the world and passes it in.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    Field,
    Report,
    Spot,
    check_entry,
    is_number,
)

PASS, HOLD, FAIL = "pass", "hold", "fail"
SEVERITY = (PASS, HOLD, FAIL)
# Seconds for which a gate that holds is waited for, unless it says otherwise.
DEADLINE = 300
LONGEST_DEADLINE = 86_400


class GateError(ValueError):
    """A gate that nobody can judge."""


@dataclass(frozen=True)
class Gate:
    """What everybody needs to know of a gate without asking it."""

    says: str
    always: bool = False  # judged whether a policy names it or not, and never in shadow
    needs_release: bool = False  # measured while the new release serves, by the load balancers
    blames: bool = False  # a fail says that the release is bad, not that the time or the place was


GATES: Mapping[str, Gate] = {
    "lease": Gate("the rollout still holds the deployment's lease", always=True),
    "freeze": Gate("nobody has frozen the environment", always=True),
    "window": Gate("the time is one in which changes are wanted"),
    "approval": Gate("somebody else has agreed"),
    "capacity": Gate("enough servers stay in service, and there is memory for a second slot"),
    "database": Gate("replicas, transactions, disk and backups leave room for a change"),
    "prometheus": Gate("the environment's own figures are in their bounds", blames=True),
    "command": Gate("the team's own check agrees", blames=True),
    "http": Gate(
        "the new release answers as it should, and says that it is the new one", needs_release=True, blames=True
    ),
    "compare": Gate("the new release is no worse than the one beside it", needs_release=True, blames=True),
}
NOT_MEASURABLE = "not yet measurable"


@dataclass(frozen=True)
class Verdict:
    """What a gate says, with its reason in one sentence and the figures behind it."""

    gate: str
    verdict: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    shadow: bool = False

    def data(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return {
            "gate": self.gate,
            "verdict": self.verdict,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "shadow": self.shadow,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Verdict:
        """Read a verdict from plain data."""
        return cls(
            data["gate"], data["verdict"], data["reason"], data.get("evidence") or {}, bool(data.get("shadow", False))
        )


def worst(verdicts: Iterable[Verdict]) -> str:
    """Sum verdicts up; those in shadow don't count, and no verdict at all is a pass."""
    return max((item.verdict for item in verdicts if not item.shadow), key=SEVERITY.index, default=PASS)


def blames_release(verdicts: Iterable[Verdict]) -> bool:
    """Whether a fail among the verdicts is the release's own, so that it is to be marked bad."""
    return any(item.verdict == FAIL and not item.shadow and GATES[item.gate].blames for item in verdicts)


def needs_new_release(gate: str) -> bool:
    """Whether a gate can be measured only once the new release serves."""
    return GATES[gate].needs_release


def settle(verdict: Verdict, waited: float, deadline: float) -> Verdict:
    """End the waiting for a gate that holds: at its deadline, or at once when it knows that it will hold for longer."""
    if verdict.verdict != HOLD:
        return verdict
    left = verdict.evidence.get("seconds_left")
    if left is not None and waited + left > deadline:
        return replace(verdict, verdict=FAIL, reason=f"{verdict.reason}, later than the deadline of {deadline:g} s")
    if waited >= deadline:
        return replace(
            verdict, verdict=FAIL, reason=f"{verdict.reason}; waited {waited:.0f} s, the deadline is {deadline:g} s"
        )
    return verdict


def silent(gate: str, source: str, error: str) -> Verdict:
    """The verdict where a source that the environment declares doesn't answer."""
    return Verdict(gate, HOLD, f"{source} is silent: {error}", {"silent": source})


def is_deadline(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 0 <= value <= LONGEST_DEADLINE


# What every gate's entry may hold beside its own fields.
COMMON_FIELDS = {
    "deadline": Field(is_deadline, f"whole seconds from 0 to {LONGEST_DEADLINE}", "write it without quotes, as 300")
}


def check_fields(spec: object, where: str, fields: Mapping[str, Field]) -> list[str]:
    """Everything wrong with an entry of these fields, a sentence each."""
    report = Report()
    check_entry(report, Spot((), where), spec, {**fields, **COMMON_FIELDS})
    return flaws(report)


def flaw(where: str, found: str, expected: str, remedy: str) -> str:
    """One thing to put right, in the words that every part of the registry uses."""
    report = Report()
    report.add(Spot((), where), found, expected, remedy)
    return flaws(report)[0]


def flaws(report: Report) -> list[str]:
    return [str(problem) for problem in report.problems]


def deadline_of(spec: Mapping[str, Any], otherwise: float = DEADLINE) -> float:
    return float(spec.get("deadline", otherwise))


def instant(value: object) -> float | None:
    """Seconds since 1970, from a number or ISO 8601 with its offset; None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        moment = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def says_when(value: object) -> str:
    """A time as people read it, whatever it was written as."""
    seconds = instant(value)
    return str(value) if seconds is None else moment(seconds)


def moment(seconds: float) -> str:
    """A time as people read it, to the minute, in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
