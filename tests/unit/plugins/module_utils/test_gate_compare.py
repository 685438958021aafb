# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When the new release is worse than the old one, when it isn't, and when nobody can know yet."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.access_log import BASELINE, CANARY, Counts, Request
from ansible_collections.nectar.backend.plugins.module_utils.gate_compare import (
    ALONE_REQUESTS,
    BEFORE,
    Watch,
    add_arms,
    arms_from_data,
    arms_to_data,
    check,
    judge,
    judge_series,
)


def errors(requests: int, count: int, in_a_row: int = 1) -> Counts:
    return Counts(requests, count, count * in_a_row)


def slow(*buckets: tuple[int, int]) -> Counts:
    return Counts(requests=sum(dict(buckets).values()), latency=dict(buckets))


@pytest.mark.parametrize(
    ("canary", "baseline", "verdict", "outcome"),
    [
        pytest.param(errors(500, 25), errors(500, 2), "fail", "worse", id="5 % against 0.4 %"),
        pytest.param(errors(300, 15), errors(300, 0), "fail", "worse", id="5 % against none"),
        pytest.param(errors(60, 15), errors(540, 5), "fail", "worse", id="a tenth of the requests, most of the errors"),
        pytest.param(errors(500, 5), errors(500, 25), "pass", "no worse", id="better"),
        pytest.param(errors(500, 5), errors(500, 5), "pass", "no worse", id="alike"),
        pytest.param(errors(150, 0), errors(150, 0), "pass", "no worse", id="no errors at all"),
        pytest.param(errors(500, 250), errors(500, 250), "pass", "not enough data", id="half of all fail, of both"),
        pytest.param(errors(100_000, 1400), errors(100_000, 1000), "pass", "no worse", id="sure, but nobody minds"),
        pytest.param(errors(50, 0), errors(50, 0), "pass", "not enough data", id="few requests"),
        pytest.param(errors(6, 4), errors(6, 0), "pass", "not enough data", id="Kayenta's issue 426, as requests"),
        pytest.param(Counts(), Counts(), "pass", "not enough data", id="nothing"),
        pytest.param(errors(1000, 20, 20), errors(1000, 2), "pass", "no worse", id="one burst of 20"),
        pytest.param(errors(500, 200, 200), errors(500, 1), "fail", "worse", id="a burst that doesn't end"),
        pytest.param(errors(3120, 120, 120), errors(3120, 0), "fail", "worse", id="fails from some moment on"),
        pytest.param(Counts(500, 2, 2, reset=True), errors(500, 2), "pass", "not enough data", id="counters were reset"),
        pytest.param(errors(ALONE_REQUESTS, 10), Counts(), "fail", "worse", id="alone, half of all"),
        pytest.param(errors(ALONE_REQUESTS - 1, 10), Counts(), "pass", "not enough data", id="nothing beside it yet"),
        pytest.param(errors(500, 5), Counts(), "pass", "no worse", id="alone, one in a hundred"),
        pytest.param(slow((24, 500)), slow((27, 500)), "pass", "no worse", id="faster"),
        pytest.param(slow((27, 200)), slow((24, 200)), "fail", "worse", id="all slower by two thirds"),
        pytest.param(slow((25, 2000)), slow((24, 2000)), "pass", "no worse", id="slower by less than anybody minds"),
        pytest.param(slow((4, 200)), slow((0, 200)), "pass", "no worse", id="twice as slow, by a millisecond"),
        pytest.param(slow((20, 180), (32, 20)), slow((20, 200)), "fail", "worse", id="a slow tail"),
    ],
)  # fmt: skip
def test_verdicts(canary: Counts, baseline: Counts, verdict: str, outcome: str) -> None:
    judged = judge({}, {CANARY: canary, BASELINE: baseline})
    assert (judged.verdict, judged.evidence["outcome"]) == (verdict, outcome), judged.reason
    json.dumps(judged.data())


@pytest.mark.parametrize(
    ("spec", "final", "verdict"),
    [
        pytest.param({}, True, "pass", id="by default it passes"),
        pytest.param({"not_enough": "hold"}, True, "hold", id="it may hold"),
        pytest.param({"not_enough": "fail"}, True, "fail", id="or fail"),
        pytest.param({"not_enough": "fail"}, False, "hold", id="but not before the end"),
    ],
)
def test_what_is_not_enough_follows_the_policy(spec: Mapping[str, Any], final: bool, verdict: str) -> None:
    judged = judge(spec, {CANARY: errors(6, 4), BASELINE: errors(6, 0)}, final=final)
    assert (judged.verdict, judged.evidence["outcome"]) == (verdict, "not enough data")
    assert "6 requests of the new release" in judged.reason


def test_what_the_old_release_did_before_is_no_news() -> None:
    noisy = errors(1000, 50)
    assert judge({}, {CANARY: errors(500, 25), BASELINE: Counts()}).verdict == "fail"
    assert judge({}, {CANARY: errors(500, 25), BASELINE: Counts(), BEFORE: noisy}).verdict == "pass"


def test_a_verdict_says_what_it_rests_on() -> None:
    judged = judge({}, {CANARY: errors(500, 25), BASELINE: errors(500, 2)}, seconds=30.04)
    assert judged.reason == "25 errors in 500 requests (5.0%) against 2 in 500 (0.4%)"
    assert judged.evidence["seconds"] == 30.0
    assert judged.evidence["tests"]["errors"]["needed"] == 1667
    assert judged.evidence["alpha"] == 0.001


@pytest.mark.parametrize(
    ("canary", "baseline", "verdict", "outcome"),
    [
        pytest.param([100.0] * 7 + [1.0] * 3, [1.0] * 10, "fail", "worse", id="Kayenta's issue 780"),
        pytest.param([0, 1, 2, 1, 0, 0], [0] * 6, "pass", "not enough data", id="Kayenta's issue 426"),
        pytest.param([1.0] * 10, [1.0] * 10, "pass", "no worse", id="the same"),
        pytest.param([1.0] * 10, [100.0] * 10, "pass", "no worse", id="better"),
        pytest.param([1.1] * 10, [1.0] * 10, "pass", "no worse", id="sure, but nobody minds"),
        pytest.param([], [1.0] * 10, "pass", "not enough data", id="silent"),
    ],
)
def test_series(canary: list[float], baseline: list[float], verdict: str, outcome: str) -> None:
    judged = judge_series({}, canary, baseline)
    assert (judged.verdict, judged.evidence["outcome"]) == (verdict, outcome), judged.reason


def request(second: float, status: int = 200, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "time": second, "deployment": "alice", "host": "app1", "slot": "green", "status": status, "milliseconds": 10.0,
        "retries": 0, "redispatched": False, "state": "--",
    }  # fmt: skip
    return Request(**{**values, **changes})


def test_a_watch_fails_while_it_counts_and_leaves_the_warm_up_out() -> None:
    watch = Watch({"warm_up": 5}, began=1000)
    for second in range(1000, 1005):
        watch.add(CANARY, request(second, 500))
        watch.add(BASELINE, request(second))
    assert watch.arms[CANARY] == Counts()
    seen = []
    for second in range(1005, 1040):
        watch.add(CANARY, request(second, 500))
        watch.add(BASELINE, request(second))
        seen.append(watch.verdict().verdict)
    assert seen.index("fail") == 25, "no more than a burst would do, until then"
    assert set(seen[:25]) == {"hold"}
    assert watch.verdict().evidence["seconds"] == 34


def test_attempts_that_failed_count_against_who_failed() -> None:
    watch = Watch({}, counters=False)
    watch.add(CANARY, request(1, retries=1))
    watch.add(CANARY, request(2, retries=1, redispatched=True))
    watch.add(BASELINE, request(3, 503, state="SC", milliseconds=None))
    watch.charge(CANARY, {"wretr": 1, "wredis": 2})
    canary, baseline = watch.arms[CANARY], watch.arms[BASELINE]
    assert (canary.requests, canary.errors, canary.redispatches, canary.reset) == (5, 4, 2, False)
    assert (baseline.errors, baseline.connection_errors) == (1, 1)
    watch.charge(CANARY, None)
    assert watch.arms[CANARY].reset
    counted = Watch({}, counters=True)
    counted.add(CANARY, request(1, retries=1))
    assert counted.arms[CANARY].errors == 0, "the counter says it too"


def test_failed_answers_are_in_no_latency() -> None:
    watch = Watch({})
    watch.add(CANARY, request(1, 500))
    watch.add(CANARY, request(2))
    assert watch.arms[CANARY].latency == {14: 1}
    assert watch.arms[CANARY].run_squares == 1


def test_balancers_sum_up_to_what_neither_knows() -> None:
    half = {CANARY: errors(150, 8), BASELINE: errors(150, 0)}
    assert judge({}, half, final=False).verdict == "hold"
    watch = Watch({})
    for second in range(150):
        watch.add(CANARY, request(second, 500 if second % 19 == 0 else 200))
        watch.add(BASELINE, request(second))
    assert watch.verdict().verdict == "hold"
    assert watch.verdict(peers=[arms_from_data(arms_to_data(half))]).verdict == "fail"
    assert add_arms([half, half])[CANARY] == errors(300, 16)


def test_equal_latencies_are_no_evidence_at_any_time() -> None:
    chance = random.Random(7)
    watch = Watch({})
    for second in range(1500):
        for arm in (CANARY, BASELINE):
            watch.add(arm, request(second, milliseconds=chance.lognormvariate(4, 1)))
        assert watch.verdict().verdict == "hold"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({}, [], id="all by default"),
        pytest.param(
            {"alpha": 0.01, "percentiles": [50, 99], "errors": ["5xx", "404"], "not_enough": "hold", "warm_up": 10},
            [],
            id="all fine",
        ),
        pytest.param({"alpha": 1}, ["compare: alpha", "0.05"], id="alpha"),
        pytest.param({"errors": ["500s"]}, ["errors", "5xx"], id="errors"),
        pytest.param({"errors": [404]}, ["errors", "quotes"], id="a status without quotes"),
        pytest.param({"percentiles": []}, ["percentiles"], id="no percentile"),
        pytest.param({"not_enough": "skip"}, ["not_enough", "pass, hold or fail"], id="policy"),
        pytest.param({"warmup": 3}, ["warmup", "warm_up"], id="a misspelt field"),
    ],
)
def test_entries_of_the_registry(spec: Mapping[str, Any], words: list[str]) -> None:
    problems = "\n".join(check(spec, "compare"))
    assert bool(problems) == bool(words)
    assert all(word in problems for word in words), problems
