# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence, bounds and rank sums, against what can be computed otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import comb, exp, log

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.sequential import (
    EXACT_POINTS,
    ODDS,
    add_logs,
    burst_factor,
    log_evidence,
    log_evidence_against,
    rank_sum_chance,
    rate_bound,
    shift,
)


def test_stakes_are_one_stake_split_up() -> None:
    assert sum(dict(ODDS).values()) == pytest.approx(1)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("events", [1, 2, 20])
def test_evidence_is_one_on_average_where_both_are_alike(share: float, events: int) -> None:
    """What makes it an e-process: no bet wins on average, however many events there were."""
    mean = sum(
        comb(events, hits) * share**hits * (1 - share) ** (events - hits) * exp(log_evidence(hits, events, share))
        for hits in range(events + 1)
    )
    assert mean == pytest.approx(1)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.2])
def test_evidence_against_a_limit_never_wins_on_average_at_or_below_it(limit: float) -> None:
    for rate in (limit, limit / 2):
        mean = sum(
            comb(30, events) * rate**events * (1 - rate) ** (30 - events) * exp(log_evidence_against(events, 30, limit))
            for events in range(31)
        )
        assert mean <= 1 + 1e-9


@pytest.mark.parametrize(
    ("hits", "events", "share", "low", "high"),
    [
        pytest.param(0, 0, 0.5, 1, 1, id="nothing went wrong"),
        pytest.param(5, 5, 1.0, 1, 1, id="nobody to compare with"),
        pytest.param(13, 13, 0.5, 1667, 3000, id="thirteen errors, all the canary's"),
        pytest.param(12, 12, 0.5, 500, 1667, id="twelve aren't enough yet"),
        pytest.param(50, 100, 0.5, 0, 0.1, id="half of them, as was its share"),
        pytest.param(50, 100, 0.1, 1e6, 1e30, id="half of them, with a tenth of the requests"),
        pytest.param(1, 100, 0.5, 0, 1e-3, id="better than the baseline is no evidence"),
    ],
)
def test_evidence(hits: int, events: int, share: float, low: float, high: float) -> None:
    assert low <= exp(log_evidence(hits, events, share)) <= high


def test_sums_of_logarithms_stand_what_floats_do_not() -> None:
    assert add_logs([-2000.0, -2000.0]) == pytest.approx(-2000 + log(2))
    assert add_logs([]) == float("-inf")


@pytest.mark.parametrize(
    ("events", "squares", "requests", "expected"),
    [
        pytest.param(0, 0, 100, 1.0, id="nothing went wrong"),
        pytest.param(10, 10, 1000, 1.0, id="one by one"),
        pytest.param(13, 15, 260, 1.0, id="two in a row, as chance has it"),
        pytest.param(20, 40, 10_000, 1.79, id="two in a row, always"),
        pytest.param(20, 400, 10_000, 10.0, id="all in a row"),
        pytest.param(15, 225, 15, 1.94, id="all failed, from the start"),
    ],
)
def test_bursts_count_less(events: int, squares: int, requests: int, expected: float) -> None:
    assert burst_factor(events, squares, requests) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("events", "requests", "upper", "low", "high"),
    [
        pytest.param(0, 0, True, 1, 1, id="nothing seen, at most all"),
        pytest.param(0, 0, False, 0, 0, id="nothing seen, at least none"),
        pytest.param(10, 10, True, 1, 1, id="all failed"),
        pytest.param(0, 125, True, 0.08, 0.1, id="125 without an error"),
        pytest.param(50, 100, True, 0.7, 0.78, id="half, from above"),
        pytest.param(50, 100, False, 0.22, 0.3, id="half, from below"),
        pytest.param(1000, 100_000, True, 0.0113, 0.012, id="many requests"),
    ],
)
def test_bounds_of_a_rate(events: int, requests: int, upper: bool, low: float, high: float) -> None:
    assert low <= rate_bound(events, requests, 0.00005, upper=upper) <= high


@pytest.mark.parametrize(
    ("values", "others"),
    [
        pytest.param([3, 4, 5], [1, 2, 2.5], id="all above"),
        pytest.param([1, 2, 2, 9], [2, 2, 3], id="ties"),
        pytest.param([1, 1], [1, 1], id="all the same"),
        pytest.param([0, 1, 2, 1, 0, 0], [0, 0, 0, 0, 0, 0], id="sparse"),
    ],
)
def test_the_chance_of_a_rank_sum_is_counted(values: Sequence[float], others: Sequence[float]) -> None:
    pooled = [*values, *others]
    ranks = [sum(other < value for other in pooled) + sum(other == value for other in pooled) / 2 for value in pooled]
    observed = sum(ranks[: len(values)])
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(values))]
    expected = sum(total >= observed for total in sums) / len(sums)
    assert rank_sum_chance(values, others) == pytest.approx(expected)


def test_the_chance_of_many_points_follows_that_of_fewer() -> None:
    half = EXACT_POINTS // 2
    exact = rank_sum_chance(range(8, half + 8), range(half))
    near = rank_sum_chance([*range(8, half + 8), 14.5], range(half))
    assert exact / 2 < near < exact * 2
    assert rank_sum_chance([1.0] * 50, [1.0] * 50) == 1.0


def test_the_shift_is_the_median_difference() -> None:
    assert shift([100.0] * 7 + [1.0] * 3, [1.0] * 10) == 99
    assert shift([3, 5], [1]) == 3
