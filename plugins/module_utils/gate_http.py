# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `http`: whether the new release answers at all, in time, and says that it is the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import FAIL, HOLD, PASS, Verdict, check_fields
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Field, is_number

GATE = "http"
STATUSES = (200,)
SAMPLES = 5


@dataclass(frozen=True)
class Sample:
    """One answer to a request of the gate's own: status 0 and a problem where none came; `revision` is what the identity says."""

    status: int
    milliseconds: float
    revision: str = ""
    problem: str = ""
    server: str = ""


@dataclass(frozen=True)
class HttpFacts:
    """What was asked and answered, and the revision that should have been it."""

    samples: Sequence[Sample]
    revision: str = ""


def _is_statuses(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_status(item) for item in value)


def _is_status(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 100 <= value <= 599


def _is_limits(value: object) -> bool:
    return isinstance(value, dict) and all(_is_limit(percent, limit) for percent, limit in value.items())


def _is_limit(percent: object, limit: object) -> bool:
    return (
        isinstance(percent, int | float)
        and 0 < percent <= 100
        and isinstance(limit, int | float)
        and not isinstance(limit, bool)
        and limit > 0
    )


def _is_count(least: int, most: int) -> Field:
    def accepts(value: object) -> bool:
        return is_number(value) and isinstance(value, int) and least <= value <= most

    return Field(accepts, f"a whole number from {least} to {most}", "write it without quotes")


FIELDS = {
    "status": Field(_is_statuses, "a list of statuses from 100 to 599", "write it as [200, 204]"),
    "samples": _is_count(1, 1000),
    "failures": _is_count(0, 100),
    "milliseconds": Field(_is_limits, "limits in milliseconds by percent of answers", "write it as {95: 500}"),
}


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the registry's entry."""
    return check_fields(spec, field, FIELDS)


def judge(spec: Mapping[str, Any], facts: HttpFacts) -> Verdict:
    """A foreign identity fails at once; answers that aren't enough yet hold."""
    samples, wanted = facts.samples, int(spec.get("samples", SAMPLES))
    statuses = tuple(spec.get("status", STATUSES))
    failed = [sample for sample in samples if sample.status not in statuses]
    foreign = [sample for sample in samples if _is_foreign(sample, facts.revision)]
    evidence: dict[str, Any] = {"samples": len(samples), "failed": len(failed), "foreign": len(foreign)}
    if foreign:
        one = foreign[0]
        says = f"{one.server or 'the new slot'} says that it is revision {one.revision!r}, expected {facts.revision!r}"
        return Verdict(GATE, FAIL, says, evidence)
    if len(failed) > int(spec.get("failures", 0)):
        expected = " or ".join(str(status) for status in statuses)
        says = f"{len(failed)} of {len(samples)} answers failed, the first with {_describe(failed[0])}; expected {expected}"
        return Verdict(GATE, FAIL, says, evidence)
    if len(samples) < wanted:
        return Verdict(GATE, HOLD, f"{len(samples)} answers so far, {wanted} are needed", evidence)
    answered = sorted(sample.milliseconds for sample in samples if sample.status)
    for percent, limit in sorted(dict(spec.get("milliseconds", {})).items()):
        taken = answered[max(0, ceil(len(answered) * float(percent) / 100) - 1)] if answered else 0.0
        evidence[f"p{percent:g}"] = round(taken, 1)
        if taken > limit:
            return Verdict(
                GATE, FAIL, f"{percent:g} % of answers took {taken:.0f} ms, {limit:g} ms is the limit", evidence
            )
    return Verdict(GATE, PASS, f"{len(samples)} answers are as expected", evidence)


def _is_foreign(sample: Sample, revision: str) -> bool:
    return bool(sample.revision and revision and sample.revision != revision)


def _describe(sample: Sample) -> str:
    return f"status {sample.status}" if sample.status else sample.problem or "no answer"
