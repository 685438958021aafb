# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence that may be looked at after every request, without a look costing certainty.

Of all bad events (errors, or answers slower than some limit) a share falls on the canary. If both revisions are alike, that is the share
of the requests that it was given, whatever else happens to both. Each way of being worse is a bet against that; the mean of
the bets is an e-process: with equal revisions it ever exceeds 1/alpha with a chance of at most alpha (Ville's inequality).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from math import comb, erfc, exp, inf, lgamma, log, log1p, sqrt

# How many times as often a canary's request may go wrong, and how much of the stake is laid on each.
ODDS: tuple[tuple[float, float], ...] = ((1.5, 0.1), (2.5, 0.2), (5.0, 0.45), (40.0, 0.25))
STAKES = tuple((log(ratio), ratio - 1, log(stake)) for ratio, stake in ODDS)
# The exact null distribution of a rank sum is counted up to this many points; beyond it the normal one is close.
EXACT_POINTS = 40
# Requests that are taken for granted before the first one, so that a burst right at the start is seen as one.
UNSEEN_REQUESTS = 5
# What chance alone makes of a few independent events.
BURST_SLACK = 0.2
# One that fails only after many good requests has to be found, too.
MOST_BURSTY = 10.0
HALVINGS = 40


def log_evidence(hits: int, events: int, share: float) -> float:
    """The logarithm of the evidence that `hits` of `events` are more than the canary's `share` of requests explains."""
    if not events or not 0 < share < 1:
        return 0.0
    return add_logs([stake + hits * gain - events * log1p(share * excess) for gain, excess, stake in STAKES])


def log_evidence_against(events: int, requests: int, limit: float) -> float:
    """The logarithm of the evidence that a rate is above a limit: the same bets, against a known rate."""
    worse = [(min(0.999, limit * ratio), log(stake)) for ratio, stake in ODDS]
    return add_logs(
        [
            stake + events * log(rate / limit) + (requests - events) * (log1p(-rate) - log1p(-limit))
            for rate, stake in worse
            if rate > limit
        ]
    )


def add_logs(terms: Sequence[float]) -> float:
    """The logarithm of a sum, from the terms' logarithms."""
    if not terms:
        return -inf
    top = max(terms)
    return top + log(sum(exp(term - top) for term in terms)) if top > -inf else -inf


def burst_factor(events: int, squares: int, requests: int) -> float:
    """By how much events that come one right after another count less than independent ones, at least 1.

    `squares` is the sum of the squares of how many came in a row: by it, bursts make a count's variance grow. Independent
    events follow each other by chance, too, the more the more there are: a release that always fails is discounted little.
    """
    if not events:
        return 1.0
    rate = events / (requests + UNSEEN_REQUESTS)
    return min(MOST_BURSTY, max(1.0, squares / events * (1 - rate) / (1 + rate) - BURST_SLACK))


def rate_bound(events: int, requests: int, alpha: float, *, upper: bool) -> float:
    """The rate's bound that holds at all times together, with a chance of at most `alpha` to be ever wrong."""
    if not requests:
        return 1.0 if upper else 0.0
    if events == (requests if upper else 0):
        return 1.0 if upper else 0.0
    misses = requests - events
    # The mixture over Jeffreys' prior against one rate; its highest point is at the observed rate.
    mixture = lgamma(events + 0.5) + lgamma(misses + 0.5) - lgamma(requests + 1) - 2 * lgamma(0.5)
    level = mixture + log(alpha)
    low, high = (events / requests, 1.0) if upper else (0.0, events / requests)
    for _halving in range(HALVINGS):
        middle = (low + high) / 2
        likelihood = (events * log(middle) if events else 0.0) + (misses * log1p(-middle) if misses else 0.0)
        if (likelihood >= level) == upper:
            low = middle
        else:
            high = middle
    return high if upper else low


def rank_sum_chance(values: Sequence[float], others: Sequence[float]) -> float:
    """The chance that as high a rank sum as `values` have comes about by chance: one-sided, ties in the middle of their ranks."""
    pooled = sorted([*values, *others])
    # Twice the middle rank is a whole number.
    doubled: dict[float, int] = {}
    sizes: list[int] = []
    position = 0
    for value, group in itertools.groupby(pooled):
        size = len(list(group))
        doubled[value] = 2 * position + size + 1
        sizes.append(size)
        position += size
    observed = sum(doubled[value] for value in values)
    if len(pooled) <= EXACT_POINTS:
        return _exact_chance([doubled[value] for value in pooled], len(values), observed)
    count, total = len(values), len(pooled)
    tied = sum(size**3 - size for size in sizes) / (total * (total - 1))
    variance = count * (total - count) / 12 * (total + 1 - tied)
    if variance <= 0:
        return 1.0
    return erfc((observed / 2 - count * (total + 1) / 2 - 0.5) / sqrt(2 * variance)) / 2


def _exact_chance(ranks: Iterable[int], count: int, observed: int) -> float:
    """Count the ways to choose `count` of the ranks that reach the observed sum."""
    ways: list[dict[int, int]] = [{0: 1}, *({} for _taken in range(count))]
    number = 0
    for rank in ranks:
        number += 1
        for taken in range(min(count, number), 0, -1):
            here = ways[taken]
            for total, times in ways[taken - 1].items():
                here[total + rank] = here.get(total + rank, 0) + times
    return sum(times for total, times in ways[count].items() if total >= observed) / comb(number, count)


def shift(values: Sequence[float], others: Sequence[float]) -> float:
    """By how much `values` lie above `others`: the median of all differences (Hodges and Lehmann)."""
    differences = sorted(value - other for value in values for other in others)
    middle = len(differences) // 2
    return differences[middle] if len(differences) % 2 else (differences[middle - 1] + differences[middle]) / 2
