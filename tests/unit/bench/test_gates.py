# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated rollouts pass nothing over that counts, and the peers judge as the real ones do."""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from math import log

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.access_log import Counts
from ansible_collections.nectar.backend.plugins.module_utils.gate_compare import judge_errors, judge_latency

from bench.harness import Run
from bench.peers import flagger_fails, kayenta_fails, mann_whitney
from bench.targets import gates


def test_mann_whitney_gives_what_kayenta_gives() -> None:
    """Figures of its own tests, and of the comment of 2021-07-12 on its makers' issue 6278."""
    simple = mann_whitney([10, 20, 30, 40], [1, 2, 3, 4], 0.95)
    assert (simple.low, simple.high, simple.estimate) == pytest.approx((6, 39, 22.5))
    tied = mann_whitney([100.0] * 7 + [1.0] * 3, [1.0] * 10)
    assert tied.low == pytest.approx(6.825022991538781e-5, rel=1e-9)
    assert (tied.high, tied.estimate) == pytest.approx((99, 98.99992904170193), rel=1e-12)


@pytest.mark.parametrize(
    ("experiment", "control", "fails"),
    [
        pytest.param([100.0] * 7 + [1.0] * 3, [1.0] * 10, False, id="issue 780: seven of ten pass"),
        pytest.param([100.0] * 8 + [1.0] * 2, [1.0] * 10, True, id="eight of ten fail"),
        pytest.param([0.0, 1, 2, 1, 0, 0], [0.0] * 6, False, id="issue 426 passes"),
        pytest.param([1.0] * 50, [1.0] * 50, False, id="all the same"),
        pytest.param([1.0, 2.0], [2.0, 1.0], False, id="the same in another order"),
        pytest.param(range(100, 150), range(50), True, id="all above"),
        pytest.param(range(50), range(100, 150), False, id="all below"),
    ],
)
def test_kayenta(experiment: Sequence[float], control: Sequence[float], fails: bool) -> None:
    assert kayenta_fails(experiment, control) is fails


@pytest.mark.parametrize(
    ("checks", "after"),
    [
        pytest.param([True] * 5, None, id="promoted"),
        pytest.param([False] * 5, 5, id="rolled back"),
        pytest.param([True, False] * 5, None, id="the fifth good one came first"),
        pytest.param([False, True] * 5, 9, id="the fifth bad one came first"),
    ],
)
def test_flagger(checks: Sequence[bool], after: int | None) -> None:
    assert flagger_fails(checks) == after


def asked_each_time(canary: Sequence[int], baseline: Sequence[int], per: int, limit: int) -> int | None:
    run = squares = hits = 0
    for at in range(limit):
        if at in canary:
            hits, squares, run = hits + 1, squares + 2 * run + 1, run + 1
        else:
            run = 0
        others = bisect_left(baseline, (at + 1) * per)
        if judge_errors(gates.RULE, Counts(at + 1, hits, squares), Counts((at + 1) * per, others)).is_worse:
            return at + 1
    return None


@pytest.mark.parametrize("per", [1, 9])
@pytest.mark.parametrize(
    ("canary", "baseline"),
    [
        pytest.param(gates.steadily(0.06), gates.steadily(0.01), id="worse"),
        pytest.param(gates.in_bursts(0.08, 4), gates.steadily(0.02), id="in bursts"),
        pytest.param(gates.from_then_on(200, 0.9), gates.steadily(0.0), id="from some moment on"),
        pytest.param(gates.steadily(0.02), gates.steadily(0.02), id="alike"),
    ],
)
def test_errors_that_are_passed_over_change_nothing(canary: gates.Draw, baseline: gates.Draw, per: int) -> None:
    for seed in range(6):
        chance = random.Random(seed)
        ours, theirs = canary(chance, 0, 600), baseline(chance, 0, 600 * per)
        assert gates.found_by_errors(ours, theirs, per) == asked_each_time(ours, theirs, per, 600)


@pytest.mark.parametrize("slower", [1.5, 1.2, 1.0])
def test_answers_that_are_passed_over_change_nothing(slower: float) -> None:
    for seed in range(3):
        answers = gates.Answers(slower, random.Random(seed))
        ours, theirs = (gates.buckets(logs[:300]) for logs in answers.first)
        counts: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        expected = None
        for pair, (our, their) in enumerate(zip(ours, theirs, strict=True), 1):
            counts[0][our] += 1
            counts[1][their] += 1
            if judge_latency(gates.RULE, *(Counts(pair, latency=latency) for latency in counts)).is_worse:
                expected = pair
                break
        assert answers.found(300) == expected


def test_what_is_drawn_is_what_is_said() -> None:
    chance = random.Random(1)
    for draw in (gates.steadily(0.05), gates.in_bursts(0.05, 5)):
        assert len(draw(chance, 0, 200_000)) == pytest.approx(10_000, rel=0.08)
    assert gates.steadily(0.0)(chance, 0, 1000) == []
    assert min(gates.from_then_on(500, 0.5)(chance, 0, 1000)) >= 500
    counts = gates.draw_counts(chance, log(gates.MEDIAN), 100_000)
    assert counts.total() == 100_000
    # Bucket 26 ends at 90.5 ms, where 42.1 % of the answers are.
    assert sum(count for bucket, count in counts.items() if bucket <= 26) == pytest.approx(42_100, abs=900)


def test_every_row_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "ROLLOUTS_PER_ROUND", 2)
    said: list[str] = []
    figures = gates.measure(Run(said.append, 1))
    assert len(said) == len(gates.ROWS)
    for row in gates.ROWS:
        assert {figure.peer for figure in figures if figure.figure == f"{row.name}: falls back"} == {
            gates.MANN_WHITNEY,
            gates.FIXED,
        }
    assert all(figure.meets_goal for figure in figures if "Kayenta" in figure.figure)
    assert next(figure for figure in figures if "all fail" in figure.figure and "median" in figure.figure).value > 3000
