# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often the gate `compare` falls back wrongly, and how soon rightly, beside Mann-Whitney and a fixed threshold.

Rollouts are simulated with the gate's own functions, as if asked after each pair of requests. It needs no look where no verdict could have
changed: the evidence grows only with a bad answer of the canary, by a known factor at most. So many such answers as are missing at
least are passed over at once, and the rest is the same to the last digit.
"""

import random
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from math import ceil, exp, log, log1p
from statistics import NormalDist

from ansible_collections.nectar.backend.plugins.module_utils.access_log import (
    BASELINE,
    BUCKETS_PER_OCTAVE,
    CANARY,
    LAST_BUCKET,
    Counts,
)
from ansible_collections.nectar.backend.plugins.module_utils.gate_compare import (
    ERRORS_PART,
    LATENCY_PART,
    NO_WORSE,
    NOT_ENOUGH,
    WORSE,
    Comparison,
    judge_as,
    judge_errors,
    judge_latency,
    judge_series,
    latency_evidence,
)
from ansible_collections.nectar.backend.plugins.module_utils.sequential import ODDS, log_evidence

from bench.harness import Figure, Run, Target
from bench.peers import DURATION, DURATION_PERCENT, SUCCESS_RATE, flagger_fails, kayenta_fails

RULE = Comparison()
REQUESTS = 100_000
ROLLOUTS_PER_ROUND = 1000
SEED = 5
# Requests of an arm in one point of a metric; Kayenta asks for at least 50 points, Flagger checks each.
POINT, POINTS = 100, 50
FIRST = POINT * POINTS
# Milliseconds of half the answers, and the spread of their logarithm.
MEDIAN, SIGMA = 100.0, 0.5
BUCKETS = BUCKETS_PER_OCTAVE / log(2)
ERRORS_NEED, LATENCY_NEED = log(1 / (RULE.alpha * ERRORS_PART)), log(1 / (RULE.alpha * LATENCY_PART))
MANN_WHITNEY, FIXED = "Mann-Whitney", "fixed threshold"

Places = list[int]
Draw = Callable[[random.Random, int, int], Places]


def steadily(rate: float) -> Draw:
    """Each request fails with the same chance, whatever the others do."""

    def draw(chance: random.Random, start: int, stop: int) -> Places:
        if not rate:
            return []
        places, at, scale, uniform = [], start - 1, 1 / log1p(-rate), chance.random
        while (at := at + 1 + int(log(1 - uniform()) * scale)) < stop:
            places.append(at)
        return places

    return draw


def in_bursts(rate: float, length: float) -> Draw:
    """As many errors, but in bursts of requests that all fail."""

    def draw(chance: random.Random, start: int, stop: int) -> Places:
        places: Places = []
        for begin in steadily(rate / length)(chance, start, stop):
            size = 1 + int(log(1 - chance.random()) / log1p(-1 / length))
            places += range(begin, min(stop, begin + size))
        return sorted(set(places))

    return draw


def from_then_on(first: int, rate: float) -> Draw:
    """Well at first, and then not."""

    def draw(chance: random.Random, start: int, stop: int) -> Places:
        return steadily(rate)(chance, max(first, start), stop) if stop > first else []

    return draw


@dataclass(frozen=True)
class Row:
    """Rollouts of one kind: the places of errors in both arms, and how much slower the canary is."""

    name: str
    canary: Draw
    baseline: Draw
    equal: bool = False
    # Requests of the baseline for each of the canary's.
    per: int = 1
    # None: all answer at once. 1: both alike.
    slower: float | None = None
    # So many pairs of requests in a row fail, whoever gets them: a failover of the database.
    outage: int = 0
    median_goal: float | None = None
    watch_passes: bool = False


def same(draw: Draw, name: str, per: int = 1, slower: float | None = None, outage: int = 0) -> Row:
    return Row(name, draw, draw, equal=True, per=per, slower=slower, outage=outage)


ROWS = (
    same(steadily(0.01), "equal, 1 % errors, latency too", slower=1.0),
    same(steadily(0.0), "equal, no errors"),
    same(steadily(0.05), "equal, 5 % errors"),
    same(steadily(0.01), "equal, 1 % errors, a tenth of the requests", per=9),
    same(in_bursts(0.01, 5), "equal, 1 % errors in bursts of 5"),
    same(steadily(0.01), "equal, 1 % errors, failover of 300 requests in both", outage=300),
    Row("5 % errors against 1 %", steadily(0.05), steadily(0.01), median_goal=600),
    Row("5 % errors against 1 %, a tenth of the requests", steadily(0.05), steadily(0.01), per=9),
    Row("5 % errors against none", steadily(0.05), steadily(0.0), median_goal=280),
    Row("latency up by half", steadily(0.0), steadily(0.0), slower=1.5, median_goal=1500),
    Row("10 points worse: 11 % against 1 %", steadily(0.11), steadily(0.01), watch_passes=True),
    Row("10 points worse: 20 % against 10 %", steadily(0.20), steadily(0.10), watch_passes=True),
    Row("all fail after 3,000 good requests", from_then_on(3000, 0.999), steadily(0.0)),
)


# Points of a metric: seven of ten at 100 against 1, and four errors in six samples against none.
ARRAYS = (
    (780, [100.0] * 7 + [1.0] * 3, [1.0] * 10, WORSE),
    (426, [0.0, 1.0, 2.0, 1.0, 0.0, 0.0], [0.0] * 6, NOT_ENOUGH),
)


@dataclass
class Tally:
    """What came of a row's rollouts."""

    rollouts: int = 0
    found: list[int] = field(default_factory=list)
    passed_wrongly: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    checks: list[int] = field(default_factory=list)

    def percent(self, count: int) -> float:
        return 100 * count / self.rollouts


def roll_out(row: Row, chance: random.Random, tally: Tally) -> None:
    """One rollout, judged by all three on the same requests."""
    canary, baseline = _places(row, chance, 0, FIRST)
    answers = Answers(row.slower, chance) if row.slower is not None else None
    _judge_by_peers(row, canary, baseline, answers, tally)
    found = _found(row, canary, baseline, answers, FIRST)
    if found is None:
        last = REQUESTS // row.per
        later, others = _places(row, chance, FIRST, last)
        found = _found(row, canary + later, baseline + others, answers, last)
    tally.rollouts += 1
    if found is not None:
        tally.found.append(found)
    if row.watch_passes:
        tally.passed_wrongly += _is_called_no_worse(canary, baseline, found or REQUESTS)
    elif found is None and not row.equal:
        tally.passed_wrongly += 1


def _judge_by_peers(row: Row, canary: Places, baseline: Places, answers: "Answers | None", tally: Tally) -> None:
    """What the others make of the first points: Kayenta once, of all of them; Flagger of one after the other."""
    rates, others = _points(canary, POINT), _points(baseline, POINT * row.per)
    slow = (
        [[_order(logs, percent) for logs in _chunks(answers.first[0])] for percent in (95, DURATION_PERCENT)]
        if answers
        else []
    )
    high = kayenta_fails(rates, others)
    if answers:
        high = high or kayenta_fails(slow[0], [_order(logs, 95) for logs in _chunks(answers.first[1])])
    tally.failed[MANN_WHITNEY] += high
    fine = [
        rate <= 100 * (1 - SUCCESS_RATE) and (not slow or slow[1][point] <= DURATION)
        for point, rate in enumerate(rates)
    ]
    checks = flagger_fails(fine)
    if checks is not None:
        tally.failed[FIXED] += 1
        tally.checks.append(checks * POINT)


def _points(places: Places, size: int) -> list[float]:
    """The percentage of errors in each point."""
    counts = Counter(place // size for place in places)
    return [100 * counts[point] / size for point in range(POINTS)]


def _chunks(logs: Sequence[float]) -> Iterator[Sequence[float]]:
    return (logs[first : first + POINT] for first in range(0, FIRST, POINT))


def _order(logs: Sequence[float], percent: int) -> float:
    """The milliseconds that so many percent stayed within."""
    return exp(sorted(logs)[ceil(len(logs) * percent / 100) - 1])


def _places(row: Row, chance: random.Random, start: int, stop: int) -> tuple[Places, Places]:
    canary = row.canary(chance, start, stop)
    baseline = row.baseline(chance, start * row.per, stop * row.per)
    if row.outage and not start:
        begin = chance.randrange(FIRST - row.outage)
        outage = range(begin, begin + row.outage)
        return sorted({*canary, *outage}), sorted({*baseline, *outage})
    return canary, baseline


def _found(row: Row, canary: Places, baseline: Places, answers: "Answers | None", limit: int) -> int | None:
    by_errors = found_by_errors(canary, baseline, row.per)
    by_latency = answers.found(limit) if answers else None
    return min((at for at in (by_errors, by_latency) if at is not None), default=None)


def found_by_errors(canary: Places, baseline: Places, per: int = 1) -> int | None:
    """The requests per arm after which the canary's errors fail; only one of these errors can bring it about."""
    squares = list(accumulate(2 * before + 1 for before in _runs(canary)))
    share = 1 / (1 + per)
    most = max(log(ratio / (1 + share * (ratio - 1))) for ratio, _ in ODDS)
    hits = 1
    while hits <= len(canary):
        requests = canary[hits - 1] + 1
        others = bisect_left(baseline, requests * per)
        evidence = log_evidence(hits, hits + others, share)
        if evidence >= ERRORS_NEED:
            ours, theirs = Counts(requests, hits, squares[hits - 1]), Counts(requests * per, others, others)
            if judge_errors(RULE, ours, theirs).is_worse:
                return requests
        hits += max(1, ceil((ERRORS_NEED - evidence) / most))
    return None


def _runs(places: Places) -> Iterator[int]:
    """For each error, how many came right before it."""
    run, before = 0, -2
    for place in places:
        run = run + 1 if place == before + 1 else 0
        before = place
        yield run


class Answers:
    """Latencies of both arms: each of the first ones, for the peers want them, and later ones as counts."""

    def __init__(self, slower: float, chance: random.Random) -> None:
        self.chance = chance
        self.logs = (log(MEDIAN * slower), log(MEDIAN))
        self.first = tuple([middle + SIGMA * chance.gauss() for _ in range(FIRST)] for middle in self.logs)
        self.counts: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self.seen = 0

    def found(self, limit: int) -> int | None:
        while self.seen < limit:
            size = min(max(16, self.seen // 10), limit - self.seen)
            if self.seen < FIRST:
                size = min(size, FIRST - self.seen)
                found = self._cross(*(buckets(logs[self.seen : self.seen + size]) for logs in self.first))
            else:
                found = self._cross_counted(size)
            if found is not None:
                return found
        return None

    def _cross_counted(self, size: int) -> int | None:
        more = [draw_counts(self.chance, middle, size) for middle in self.logs]
        if not self._could_fail(more[0]):
            self._add(more[0], more[1], size)
            return None
        orders = [list(counts.elements()) for counts in more]
        for order in orders:
            self.chance.shuffle(order)
        return self._cross(*orders)

    def _cross(self, ours: Sequence[int], theirs: Sequence[int]) -> int | None:
        """Add these answers; where they could fail the canary, half of them at a time, down to a pair."""
        more = Counter(ours)
        if len(ours) == 1 or not self._could_fail(more):
            self._add(more, Counter(theirs), len(ours))
            return self.seen if len(ours) == 1 and self._fails() else None
        half = len(ours) // 2
        found = self._cross(ours[:half], theirs[:half])
        return self._cross(ours[half:], theirs[half:]) if found is None else found

    def _could_fail(self, more: Counter[int]) -> bool:
        return latency_evidence(self.counts[0] + more, self.counts[1], 0.5) >= LATENCY_NEED

    def _add(self, ours: Counter[int], theirs: Counter[int], size: int) -> None:
        self.counts[0].update(ours)
        self.counts[1].update(theirs)
        self.seen += size

    def _fails(self) -> bool:
        ours, theirs = (Counts(self.seen, latency=counts) for counts in self.counts)
        return judge_latency(RULE, ours, theirs).is_worse


def buckets(logs: Sequence[float]) -> list[int]:
    return [ceil(value * BUCKETS) for value in logs]


def draw_counts(chance: random.Random, middle: float, size: int) -> Counter[int]:
    """So many latencies, by bucket."""
    counts: Counter[int] = Counter()
    left, passed = size, 0.0
    for bucket, below in _distribution(middle):
        part = chance.binomialvariate(left, min(1.0, (below - passed) / (1 - passed))) if left else 0
        if part:
            counts[bucket] = part
        left, passed = left - part, below
    counts[LAST_BUCKET] += left
    return counts


@cache
def _distribution(middle: float) -> list[tuple[int, float]]:
    normal = NormalDist(middle, SIGMA)
    edges = ((bucket, normal.cdf(bucket / BUCKETS)) for bucket in range(LAST_BUCKET))
    return [(bucket, below) for bucket, below in edges if 1e-15 < below < 1 - 1e-15]


def _is_called_no_worse(canary: Places, baseline: Places, until: int) -> bool:
    """Whether a step that ended at any of many moments before it was found would have let it pass as no worse."""
    ends = (requests for requests in range(25, min(until, FIRST), 25))
    return any(
        judge_as(
            RULE,
            {
                CANARY: Counts(requests, bisect_left(canary, requests)),
                BASELINE: Counts(requests, bisect_left(baseline, requests)),
            },
            None,
            True,
        ).evidence["outcome"]
        == NO_WORSE
        for requests in ends
    )


def measure(run: Run) -> list[Figure]:
    figures = show_arrays()
    for row in ROWS:
        tally = Tally()
        for number in range(run.rounds):
            # Each round's rollouts are the same in every run, whatever else is simulated.
            chance = random.Random(f"{SEED} {row.name} {number}")
            for _ in range(ROLLOUTS_PER_ROUND):
                roll_out(row, chance, tally)
        run.say(describe(row, tally))
        figures += show(row, tally)
    return figures


def show_arrays() -> list[Figure]:
    """What is made of the points that people showed to Kayenta's makers; 1 where it is what they wanted."""
    return [
        Figure(
            figure=f"Kayenta's issue {issue}: {wanted}", value=judge_series({}, canary, baseline).evidence["outcome"] == wanted,
            unit="", better="higher", how="1 is yes", goal=1, peer=MANN_WHITNEY,
            peer_value=kayenta_fails(canary, baseline) if wanted == WORSE else 0,
        )
        for issue, canary, baseline, wanted in ARRAYS
    ]  # fmt: skip


def describe(row: Row, tally: Tally) -> str:
    """A row's results, one beside the other."""
    median = f", median {statistics.median(tally.found):,.0f} requests per arm" if tally.found and not row.equal else ""
    wrongly = "" if row.equal else f", promoted {tally.passed_wrongly}"
    return (
        f"{row.name}: fell back {tally.percent(len(tally.found)):.2f} %{median}{wrongly}; "
        f"{MANN_WHITNEY} {tally.percent(tally.failed[MANN_WHITNEY]):.2f} %, {FIXED} {tally.percent(tally.failed[FIXED]):.2f} %"
    )


def show(row: Row, tally: Tally) -> list[Figure]:
    how = (
        f"{tally.rollouts:,} rollouts, looked at after each pair of requests up to {REQUESTS // row.per:,} of the canary; "
        f"{MANN_WHITNEY} once, after {POINTS} points of {POINT} requests; {FIXED} after each {POINT} requests"
    )
    ours = tally.percent(len(tally.found))
    figures = [
        Figure(
            figure=f"{row.name}: falls back", value=ours, unit="%", better="lower" if row.equal else "higher", how=how,
            goal=0.1 if row.equal else None, peer=peer, peer_value=tally.percent(tally.failed[peer]),
        )
        for peer in (MANN_WHITNEY, FIXED)
    ]  # fmt: skip
    if not row.equal:
        figures += _show_speed(row, tally, how)
    if row.watch_passes:
        wrongly = tally.passed_wrongly
        promoted = f"{row.name}: promoted, of {tally.rollouts:,}"
        figures.append(Figure(figure=promoted, value=wrongly, unit="", better="lower", how=how, goal=0))
    return figures


def _show_speed(row: Row, tally: Tally, how: str) -> list[Figure]:
    if len(tally.found) * 2 <= tally.rollouts:
        return []
    peers = {MANN_WHITNEY: [FIRST] * tally.failed[MANN_WHITNEY], FIXED: tally.checks}
    usual: dict[str | None, float | None] = {
        peer: statistics.median(found) for peer, found in peers.items() if len(found) * 2 > tally.rollouts
    }
    return [
        Figure(
            figure=f"{row.name}: median requests to find it", value=statistics.median(tally.found), unit="requests",
            better="lower", how=how, goal=row.median_goal, peer=peer, peer_value=value,
        )
        for peer, value in (usual or {None: None}).items()
    ]  # fmt: skip


TARGET = Target(
    purpose="falling back wrongly and rightly, simulated, against Mann-Whitney as Kayenta has it and a threshold as Flagger has it",
    needs="nothing",
    takes="two minutes a round of 1,000 rollouts",
    rounds=10,
    missing=lambda: None,
    measure=measure,
)
