# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Kayenta and Flagger judge a canary as they are shipped, written anew from their sources and documentation."""

import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import copysign, sqrt
from statistics import NormalDist

# NetflixACAJudge's own: confidence of the interval, and the part of the shift that it must exceed.
CONFIDENCE, TOLERANCE = 0.98, 0.25
ACCURACY = 1e-4


@dataclass(frozen=True)
class MannWhitney:
    """The interval of the shift and its middle, as R's wilcox.test finds them for many points."""

    low: float
    high: float
    estimate: float


def mann_whitney(experiment: Sequence[float], control: Sequence[float], confidence: float = CONFIDENCE) -> MannWhitney:
    score = _score(experiment, control)
    least, most = min(experiment) - max(control), max(experiment) - min(control)
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    return MannWhitney(
        _root(score, quantile, least, most), _root(score, -quantile, least, most), _root(score, 0, least, most)
    )


def _score(experiment: Sequence[float], control: Sequence[float]) -> Callable[[float], float]:
    """The rank sum's distance from its mean, in standard deviations, once the experiment is shifted back."""
    groups, others = Counter(experiment), Counter(control)
    ordered = sorted(control)
    count, total = len(experiment), len(experiment) + len(control)
    middle = count * len(control) / 2

    def score(shift: float) -> float:
        above = 0
        sizes = others.copy()
        for value, size in groups.items():
            shifted = value - shift
            above += size * (bisect_left(ordered, shifted) + bisect_right(ordered, shifted))
            sizes[shifted] += size
        distance = above / 2 - middle
        tied = sum(size**3 - size for size in sizes.values() if size > 1)
        sigma = sqrt(middle / 6 * (total + 1 - tied / (total * (total - 1))))
        correction = copysign(0.5, distance) if distance else 0.0
        return (distance - correction) / sigma if sigma else 0.0

    return score


def _root(score: Callable[[float], float], level: float, least: float, most: float) -> float:
    """Where the falling score crosses a level; in steps, as R's zeroin takes them, for where it stops decides near a tie."""

    def distance(shift: float) -> float:
        return score(shift) - level

    if distance(least) <= 0:
        return least
    if distance(most) >= 0:
        return most
    return _brent(distance, least, most)


def _brent(function: Callable[[float], float], first: float, best: float) -> float:
    """Brent's method: interpolation where it helps, bisection where not."""
    at_first, at_best = function(first), function(best)
    other, at_other = first, at_first
    while True:
        former_step = best - first
        if abs(at_other) < abs(at_best):
            first, best, other = best, other, best
            at_first, at_best, at_other = at_best, at_other, at_best
        tolerance = 2 * sys.float_info.epsilon * abs(best) + ACCURACY / 2
        step = (other - best) / 2
        if abs(step) <= tolerance or at_best == 0:
            return best
        if abs(former_step) >= tolerance and abs(at_first) > abs(at_best):
            width, ratio = other - best, at_best / at_first
            if first == other:
                above, below = width * ratio, 1 - ratio
            else:
                outer, inner = at_first / at_other, at_best / at_other
                above = ratio * (width * outer * (outer - inner) - (best - first) * (inner - 1))
                below = (outer - 1) * (inner - 1) * (ratio - 1)
            above, below = (above, -below) if above > 0 else (-above, below)
            if above < 0.75 * width * below - abs(tolerance * below) / 2 and above < abs(former_step * below / 2):
                step = above / below
        if abs(step) < tolerance:
            step = copysign(tolerance, step)
        first, at_first = best, at_best
        best += step
        at_best = function(best)
        if at_best * at_other > 0:
            other, at_other = first, at_first


def kayenta_fails(experiment: Sequence[float], control: Sequence[float]) -> bool:
    """Whether a metric where more is worse is classified as high."""
    if sorted(experiment) == sorted(control) or len({*experiment, *control}) == 1:
        return False
    if _score(experiment, control)(-10 * ACCURACY) <= NormalDist().inv_cdf((1 + CONFIDENCE) / 2):
        # The interval begins below zero, and the rest would take most of the time.
        return False
    found = mann_whitney(experiment, control)
    return found.low > TOLERANCE * abs(found.estimate)


# Flagger's tutorials: five checks that pass promote (stepWeight 10, maxWeight 50), five that fail roll back (threshold 5);
# a check wants 99 % of requests without an error, and 99 % of them within 500 ms.
STEPS, THRESHOLD = 5, 5
SUCCESS_RATE, DURATION_PERCENT, DURATION = 0.99, 99, 500.0


def flagger_fails(checks: Iterable[bool]) -> int | None:
    """How many checks it took to roll back; None where it promoted first."""
    passed = failed = 0
    for fine in checks:
        passed, failed = passed + fine, failed + (not fine)
        if failed >= THRESHOLD:
            return passed + failed
        if passed >= STEPS:
            return None
    return None
