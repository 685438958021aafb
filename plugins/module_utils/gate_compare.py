# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `compare`: whether the new release does worse than the old one beside it, in the same time on the same hosts.

`fail` needs both: evidence that chance doesn't give (sequential.py), and an effect that somebody would mind. It may be asked after every request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import exp, log
from statistics import median
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.access_log import (
    ARMS,
    BASELINE,
    CANARY,
    DEFAULT_ERRORS,
    LAST_BUCKET,
    Counts,
    Request,
    bucket_of,
    is_error,
    percentile,
)
from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    FAIL,
    HOLD,
    PASS,
    Verdict,
    check_fields,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Field, is_switch
from ansible_collections.nectar.backend.plugins.module_utils.sequential import (
    add_logs,
    burst_factor,
    log_evidence,
    log_evidence_against,
    rank_sum_chance,
    rate_bound,
    shift,
)

GATE = "compare"
# What a comparison comes to, before the policy makes a verdict of it.
WORSE, NO_WORSE, NOT_ENOUGH = "worse", "no worse", "not enough data"
# Of alpha, what each of the two tests may use up; both together stay within it.
ERRORS_PART, LATENCY_PART = 0.6, 0.4
# The chance to call a release no worse that is worse by more than `worst_points`.
PASSED_WRONGLY = 0.0001
# A series of fewer points can't tell a difference from chance.
SERIES_POINTS = 10
SERIES_ALPHA = 0.002
# One that stands alone is compared with this rate of errors, or with what the old release was seen to have before.
LEAST_LIMIT = 0.01
# Earlier than that, the old release's first request may just be to come.
ALONE_REQUESTS = 20
BEFORE = "before"
UNLIKELY = -700.0


@dataclass(frozen=True)
class Comparison:
    """What is compared and when it matters: the registry's entry `compare`, with its defaults."""

    # The chance that a step with an equal release falls back, over errors and latency and all looks together.
    alpha: float = 0.001
    # Points of the error rate (0.5 is from 1 % to 1.5 %) that somebody would mind.
    error_points: float = 0.5
    # Percent by which one of the percentiles has to grow, and milliseconds.
    latency_increase: float = 25
    latency_milliseconds: float = 10
    percentiles: tuple[float, ...] = (50, 95)
    # A release passes once it can't be worse than the old one by more than these points of the error rate.
    worst_points: float = 10
    # Seconds at the start of a step that are left out.
    warm_up: float = 3
    not_enough: str = PASS
    errors: tuple[str, ...] = DEFAULT_ERRORS
    latency: bool = True

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Comparison:
        known: dict[str, Any] = {entry.name: spec[entry.name] for entry in fields(cls) if entry.name in spec}
        for name in known.keys() & {"percentiles", "errors"}:
            known[name] = tuple(known[name])
        return cls(**known)


def _between(low: float, high: float) -> Field:
    def accepts(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    return Field(accepts, f"a number from {low:g} to {high:g}", "write it without quotes")


def _is_percentiles(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_between(1, 99.9).accepts(item) for item in value)


def _is_errors(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, str) and re.fullmatch("[45]([0-9][0-9]|xx)", item) for item in value
    )


FIELDS = {
    "alpha": _between(0.000001, 0.05),
    "error_points": _between(0, 50),
    "latency_increase": _between(0, 1000),
    "latency_milliseconds": _between(0, 60_000),
    "percentiles": Field(_is_percentiles, "a list of percentages from 1 to 99.9", "write it as [50, 95]"),
    "worst_points": _between(0.1, 50),
    "warm_up": _between(0, 600),
    "not_enough": Field(lambda value: value in (PASS, HOLD, FAIL), f"{PASS}, {HOLD} or {FAIL}", "choose one of them"),
    "errors": Field(_is_errors, "a list of statuses of errors", "write it as ['5xx', '404'], with quotes"),
    "latency": Field(is_switch, "true or false", "write it without quotes"),
}


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the registry's entry."""
    return check_fields(spec, field, FIELDS)


@dataclass(frozen=True)
class Finding:
    """One test's result: how strong the evidence is (its logarithm), what it needs to be, and whether anybody would mind."""

    name: str
    evidence: float
    needed: float
    minded: bool
    says: str

    @property
    def is_worse(self) -> bool:
        return self.minded and self.evidence >= self.needed


def judge(
    spec: Mapping[str, Any], arms: Mapping[str, Counts], seconds: float | None = None, final: bool = True
) -> Verdict:
    """Judge the arms' counts; before the end of a step, what isn't known yet holds.

    The optional arm `before` is the baseline of earlier steps, for a step that leaves the old release no requests.
    """
    return judge_as(Comparison.of(spec), arms, seconds, final)


def judge_as(rule: Comparison, arms: Mapping[str, Counts], seconds: float | None, final: bool) -> Verdict:
    canary, baseline = arms.get(CANARY, Counts()), arms.get(BASELINE, Counts())
    alone = not baseline.requests and canary.requests >= ALONE_REQUESTS
    findings = [_judge_alone(rule, canary, arms) if alone else judge_errors(rule, canary, baseline)]
    if rule.latency:
        findings.append(judge_latency(rule, canary, baseline))
    evidence: dict[str, Any] = {
        "requests": {CANARY: canary.requests, BASELINE: baseline.requests},
        "errors": {CANARY: canary.errors, BASELINE: baseline.errors},
        "alpha": rule.alpha,
        "tests": {finding.name: _as_data(finding) for finding in findings},
        **({} if seconds is None else {"seconds": round(seconds, 1)}),
    }
    worse = [finding for finding in findings if finding.is_worse]
    if worse:
        return Verdict(GATE, FAIL, "; ".join(finding.says for finding in worse), {**evidence, "outcome": WORSE})
    points = worst_points(canary, baseline) if final else 100.0
    if final and points <= rule.worst_points and not (canary.reset or baseline.reset):
        reason = f"no worse: {findings[0].says}, at most {points:.1f} points more"
        return Verdict(GATE, PASS, reason, {**evidence, "outcome": NO_WORSE, "points": round(points, 1)})
    reason = f"{NOT_ENOUGH}: {_lack(rule, canary, baseline, points, final)}"
    return Verdict(GATE, rule.not_enough if final else HOLD, reason, {**evidence, "outcome": NOT_ENOUGH})


def _lack(rule: Comparison, canary: Counts, baseline: Counts, points: float, final: bool) -> str:
    seen = f"{canary.requests} requests of the new release and {baseline.requests} of the old one"
    if canary.reset or baseline.reset:
        return f"counters were reset, so that {seen} aren't all"
    if not final:
        return f"{seen} so far show no difference that counts"
    return f"{seen} leave up to {points:.0f} points more errors possible, where {rule.worst_points:g} are let pass"


def worst_points(canary: Counts, baseline: Counts) -> float:
    """The points of the error rate by which the canary may be worse, given what was seen."""
    highest = rate_bound(canary.errors, canary.requests, PASSED_WRONGLY / 2, upper=True)
    return 100 * (highest - rate_bound(baseline.errors, baseline.requests, PASSED_WRONGLY / 2, upper=False))


def judge_errors(rule: Comparison, canary: Counts, baseline: Counts) -> Finding:
    share = canary.requests / max(1, canary.requests + baseline.requests)
    found = log_evidence(canary.errors, canary.errors + baseline.errors, share)
    if found > 0:
        found /= burst_factor(canary.errors, canary.run_squares, canary.requests)
    says = (
        f"{canary.errors} errors in {canary.requests} requests ({canary.rate:.1%}) against "
        f"{baseline.errors} in {baseline.requests} ({baseline.rate:.1%})"
    )
    minded = 100 * (canary.rate - baseline.rate) >= rule.error_points
    return Finding("errors", found, log(1 / (rule.alpha * ERRORS_PART)), minded, says)


def _judge_alone(rule: Comparison, canary: Counts, arms: Mapping[str, Counts]) -> Finding:
    before = arms.get(BEFORE, Counts())
    limit = LEAST_LIMIT
    if before.requests:
        limit = max(limit, rate_bound(before.errors, before.requests, rule.alpha, upper=True))
    found = log_evidence_against(canary.errors, canary.requests, limit)
    if found > 0:
        found /= burst_factor(canary.errors, canary.run_squares, canary.requests)
    says = f"{canary.errors} errors in {canary.requests} requests ({canary.rate:.1%}), with none beside it, where {limit:.1%} is the limit"
    minded = 100 * (canary.rate - limit) >= rule.error_points
    return Finding("errors", found, log(1 / (rule.alpha * ERRORS_PART)), minded, says)


def judge_latency(rule: Comparison, canary: Counts, baseline: Counts) -> Finding:
    slower = [
        (percent, percentile(canary.latency, percent), percentile(baseline.latency, percent))
        for percent in rule.percentiles
    ]
    percent, ours, theirs = max(slower, key=lambda entry: entry[1] / entry[2] if entry[2] else 0.0)
    minded = theirs > 0 and ours >= theirs * (1 + rule.latency_increase / 100)
    minded = minded and ours - theirs >= rule.latency_milliseconds
    says = f"{percent:g} % of answers within {ours:.0f} ms against {theirs:.0f} ms"
    answers, others = sum(canary.latency.values()), sum(baseline.latency.values())
    found = latency_evidence(canary.latency, baseline.latency, answers / max(1, answers + others))
    return Finding("latency", found, log(1 / (rule.alpha * LATENCY_PART)), minded, says)


def latency_evidence(canary: Mapping[int, int], baseline: Mapping[int, int], share: float) -> float:
    """The logarithm of the mean, over all bounds of latency, of the evidence that the canary exceeds that bound more often."""
    logs: list[float] = []
    hits = events = 0
    last = LAST_BUCKET
    for bucket in sorted(canary.keys() | baseline.keys(), reverse=True):
        # Between two buckets that are in use, all bounds see the same.
        if events and hits > share * events:
            logs.append(log_evidence(hits, events, share) + log(last - bucket))
        hits += canary.get(bucket, 0)
        events += canary.get(bucket, 0) + baseline.get(bucket, 0)
        last = bucket
    return max(UNLIKELY, add_logs(logs) - log(LAST_BUCKET)) if logs else UNLIKELY


def _as_data(finding: Finding) -> dict[str, Any]:
    """As odds, which people read, no larger than what a float of JSON takes."""
    return {
        "evidence": float(f"{exp(min(finding.evidence, 500.0)):.3g}"),
        "needed": round(exp(finding.needed)),
        "minded": finding.minded,
        "says": finding.says,
    }


class _Arm:
    """One arm while it is counted."""

    def __init__(self) -> None:
        self.requests = self.errors = self.run_squares = self.retries = self.redispatches = self.connection_errors = 0
        self.latency: dict[int, int] = {}
        self.reset = False
        # Errors in a row, until now.
        self.run = 0

    def fail(self) -> None:
        self.errors += 1
        self.run_squares += 2 * self.run + 1
        self.run += 1

    def counts(self) -> Counts:
        return Counts(
            self.requests, self.errors, self.run_squares, self.retries, self.redispatches, self.connection_errors,
            dict(self.latency), self.reset,
        )  # fmt: skip


class Watch:
    """Counts a step's requests as they come, and says at any time what they come to.

    `began` is when the step's weights took effect, in the log's seconds; what came within the warm-up after it isn't counted.
    With `counters`, failed attempts are charged from the load balancer's counters, and the log's own aren't counted twice.
    """

    def __init__(self, spec: Mapping[str, Any], began: float = 0.0, counters: bool = False) -> None:
        self.rule = Comparison.of(spec)
        self.counted_from = began + self.rule.warm_up if began else 0.0
        self.began = began
        self.counters = counters
        self._arms = {arm: _Arm() for arm in ARMS}
        self._newest = 0.0

    def add(self, arm: str, request: Request) -> None:
        """Count a request that an arm answered, or failed to."""
        if request.time < self.counted_from:
            return
        self._newest = max(self._newest, request.time)
        counted = self._arms[arm]
        counted.requests += 1
        counted.retries += request.retries
        # Whether it was sent to this server again; after a redispatch it was another one that failed.
        again = request.retries > 0 and not request.redispatched and not self.counters
        if again or is_error(request, self.rule.errors):
            counted.fail()
            counted.connection_errors += request.status == 503 and request.state[:2] in ("SC", "sC")
            return
        counted.run = 0
        if request.milliseconds is not None:
            bucket = bucket_of(request.milliseconds)
            counted.latency[bucket] = counted.latency.get(bucket, 0) + 1

    def charge(self, arm: str, rise: Mapping[str, int] | None) -> None:
        """Charge the attempts that failed on an arm's server and were made elsewhere, from `access_log.counter_rise`; None is a reset."""
        counted = self._arms[arm]
        if rise is None:
            counted.reset = True
            return
        counted.redispatches += rise.get("wredis", 0)
        for _attempt in range(sum(rise.values())):
            counted.requests += 1
            counted.fail()

    @property
    def arms(self) -> dict[str, Counts]:
        return {arm: counted.counts() for arm, counted in self._arms.items()}

    def verdict(self, peers: Iterable[Mapping[str, Counts]] = (), final: bool = False) -> Verdict:
        """Judge what was counted here and by peers; before the end, what isn't known yet holds."""
        seconds = max(0.0, self._newest - self.counted_from) if self._newest else None
        return judge_as(self.rule, add_arms([self.arms, *peers]), seconds, final)


def add_arms(several: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    """The arms of several load balancers together."""
    total: dict[str, Counts] = {}
    for arms in several:
        for arm, counts in arms.items():
            total[arm] = total.get(arm, Counts()) + counts
    return total


def arms_to_data(arms: Mapping[str, Counts]) -> dict[str, Any]:
    return {arm: counts.to_data() for arm, counts in arms.items()}


def arms_from_data(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Counts]:
    return {arm: Counts.from_data(counts) for arm, counts in data.items()}


def judge_series(spec: Mapping[str, Any], canary: Sequence[float], baseline: Sequence[float]) -> Verdict:
    """Judge a metric's points (from Prometheus, say) where more is worse: once, at the end of a step, not after each.

    Points are few, so that the chance of a false fallback is SERIES_ALPHA and not `alpha`.
    """
    rule = Comparison.of(spec)
    shortest = min(len(canary), len(baseline))
    if not shortest:
        reason = f"{NOT_ENOUGH}: {len(canary)} points of the new release and {len(baseline)} of the old one"
        return Verdict(GATE, rule.not_enough, reason, {"outcome": NOT_ENOUGH})
    chance = rank_sum_chance(canary, baseline)
    more = shift(canary, baseline)
    ordinary = abs(median(baseline))
    minded = more > 0 and more >= ordinary * rule.latency_increase / 100
    evidence = {"chance": float(f"{chance:.3g}"), "needed": SERIES_ALPHA, "shift": more, "median": ordinary}
    says = f"{len(canary)} points lie {more:g} above {len(baseline)} of the old release, with a chance of {chance:.2g}"
    if minded and chance <= SERIES_ALPHA:
        return Verdict(GATE, FAIL, says, {**evidence, "outcome": WORSE})
    if shortest < SERIES_POINTS:
        reason = f"{NOT_ENOUGH}: {says}, where {SERIES_POINTS} points each are needed"
        return Verdict(GATE, rule.not_enough, reason, {**evidence, "outcome": NOT_ENOUGH})
    return Verdict(GATE, PASS, f"no worse: {says}", {**evidence, "outcome": NO_WORSE})
