# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rollouts under a constant load, and what the requests met meanwhile."""

import itertools
import json
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from bench.constant import STATUS, TRUNCATED, Failure, Result
from bench.harness import ROOT, BenchError, Figure, Run
from bench.place import DEPLOY, DEPLOYMENT, ROLLBACK, THROUGH_VIRTUAL, Place
from bench.playing import NICENESS, PLANNED, Played, Registry, play, results_of, why_failed

LOAD = ROOT / "bench/constant.py"
PATH, IDENTITIES = "/orders/{identity}", 500
# Connections that are kept to each door.
CONNECTIONS = 8

# A full run: so many requests while rollouts go on, or so many rounds, whichever is first.
ENOUGH, ROUNDS = 100_000, 12
MOST_SECONDS, MOST_REQUESTS = 5400.0, 400_000
IDLE_WANTED, IDLE_TOLERANCE = 0.40, 0.05
TRIAL_RATE, SLOWEST, FASTEST = 60, 40, 400
TRIAL_SECONDS, BEFORE_SECONDS, BEFORE_SHORT = 10.0, 60.0, 20.0
PLAY_LIMIT = 600.0

BAD = {"ORDERS_REHEARSE_ERRORS": "60"}
# The first step is open long enough to find what is bad, and for reloads meanwhile.
FALLBACK_STEPS = {"steps": [{"hosts": 1, "share": 20, "bake": 40}, {"hosts": "100%", "share": 100, "bake": 4}]}

# Tasks of role rollout: what is read, and what reloads begin and end with.
WATCHED = "See what they saw"
STARTED = "Start the idle slots, and wait until they are ready"
GIVEN_BACK = "Give the requests back to the slots that served"
PROMOTION, WAY_BACK, FALLBACK, FALLBACK_RELOADED = "promotion", "rollback", "fallback", "fallback, reloads"
# Seconds from an open share to the first reload, and between reloads. compare leaves out the first 3.
FIRST_RELOAD, NEXT_RELOAD = 2.5, 1.5
SECONDS_RIGHT_AFTER = 3.0
STALL = 1000.0
GOAL_RATIO, GOAL_WITHDRAWAL = 1.3, 1.0


@dataclass(frozen=True)
class Answered:
    """A line of the access log: when the request was handed to a slot, in seconds since 1970, and what it answered."""

    handed: float
    status: int
    request_id: str


@dataclass(frozen=True)
class Withdrawal:
    """A bad revision's end: the first verdict, and by load balancer its last request and the last reload before the verdict."""

    verdict: float
    last: Mapping[str, float | None]
    reloads: Mapping[str, float | None]

    @property
    def seconds(self) -> float:
        """From the verdict to the last request that any load balancer handed over; 0 where none came after it."""
        return max(0.0, *(moment - self.verdict for moment in self.last.values() if moment is not None), 0.0)

    @property
    def is_right_after_reload(self) -> bool:
        return any(
            moment is not None and 0 <= self.verdict - moment <= SECONDS_RIGHT_AFTER for moment in self.reloads.values()
        )


@dataclass
class Seen:
    """What the rollouts were, and what came of them."""

    plays: list[tuple[str, Played]] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    # What the bad revisions themselves answered.
    bad_answers: dict[str, int] = field(default_factory=dict)
    reloads: int = 0


@dataclass(frozen=True)
class Counted:
    """The requests of a span of time, and what was wrong with them."""

    requests: int
    by_bad: int
    truncated: int
    failed: Mapping[str, int]
    stalled: int


class Loading:
    """The load as it goes on, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", result: Path) -> None:
        self.process, self.result = process, result
        self.sent = self.failed = 0
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            told = json.loads(line)
            self.sent, self.failed = told["sent"], told["failed"]

    def check(self) -> None:
        """See that it still goes on."""
        if self.process.poll() is not None:
            said = (self.process.stderr.read() if self.process.stderr else "").strip()
            raise BenchError(f"the load ended before its time: {said or self.process.returncode}")

    def finish(self) -> Result:
        """Stop it, and read what it counted."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            raise BenchError("the load didn't end within 30 s") from None
        if self.process.returncode or not self.result.exists():
            self.check()
        found = json.loads(self.result.read_text(encoding="ascii"))
        return Result(**{**found, "failures": [Failure(**entry) for entry in found["failures"]]})


@contextmanager
def loading(place: Place, rate: float, folder: Path, seconds: float) -> Iterator[Loading]:
    """Ask at a rate until the block ends, or for so long at most."""
    plan = {
        "name": place.name, "doors": place.doors, "port": place.port, "ca_file": str(place.lab.ca_file), "path": PATH,
        "identities": IDENTITIES, "connections": CONNECTIONS, "rate": rate, "seconds": seconds, "requests": MOST_REQUESTS,
    }  # fmt: skip
    result = folder / "load.json"
    result.unlink(missing_ok=True)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(LOAD), json.dumps(plan), str(result)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield Loading(process, result)
        finally:
            if process.poll() is None:
                process.kill()


def read_idle(text: str) -> tuple[int, int]:
    """The idle and all ticks of /proc/stat's first line."""
    ticks = [int(word) for word in text.splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def idle_part(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def idle_over(seconds: float) -> float:
    """Wait, and say which part of the machine's processors was idle meanwhile."""
    stat = Path("/proc/stat")
    before = read_idle(stat.read_text(encoding="ascii"))
    time.sleep(seconds)
    return idle_part(before, read_idle(stat.read_text(encoding="ascii")))


def choose_rate(idle: float, idle_at_trial: float) -> int:
    """The rate that leaves IDLE_WANTED, by what a trial at TRIAL_RATE took of it; within bounds, in steps of 5."""
    cost = max(1e-5, (idle - idle_at_trial) / TRIAL_RATE)
    rate = round((idle - IDLE_WANTED) / cost / 5) * 5
    return max(SLOWEST, min(FASTEST, rate))


def find_rate(place: Place, folder: Path, say: Callable[[str], None]) -> int:
    """Try a rate, and reckon from it."""
    alone = idle_over(TRIAL_SECONDS)
    with loading(place, TRIAL_RATE, folder, 4 * TRIAL_SECONDS) as load:
        time.sleep(1)
        tried = idle_over(TRIAL_SECONDS)
        load.check()
        failures = load.finish().failures
    if failures:
        raise BenchError(
            f"{DEPLOYMENT} isn't well even before: {failures[0].kind} {failures[0].status} {failures[0].detail}"
        )
    rate = choose_rate(alone, tried)
    say(f"{alone:.0%} of the processors idle without load, {tried:.0%} at {TRIAL_RATE}/s: {rate}/s it is")
    return rate


class Reloads:
    """Reloads of all load balancers that a task of a playbook sets off, until another one, or its end."""

    def __init__(self, place: Place, at: str, until: str, first: float = 1.0, every: float | None = None) -> None:
        self.place, self.at, self.until, self.first, self.every = place, at, until, first, every
        self.over = threading.Event()
        self.thread: threading.Thread | None = None
        self.done: list[tuple[str, float]] = []
        self.error: BenchError | None = None

    def hear(self, task: str) -> None:
        if task == self.at and self.thread is None:
            self.thread = threading.Thread(target=self._work, daemon=True)
            self.thread.start()
        elif task == self.until:
            self.over.set()

    def _work(self) -> None:
        pause: float | None = self.first
        try:
            while pause is not None and not self.over.wait(pause):
                for host in self.place.balancers:
                    self.place.on(host, "systemctl reload haproxy.service")
                    self.done.append((host, time.time()))
                pause = self.every
        except BenchError as error:
            self.error = error

    def finish(self) -> list[tuple[str, float]]:
        """Let no more begin, and answer those that were: host and moment."""
        self.over.set()
        if self.thread:
            self.thread.join(60)
        if self.error:
            raise self.error
        return self.done


def reloads_for(kind: str, place: Place) -> Reloads:
    """One reload in the middle of what goes well; none, or one after the other, while a bad release is found."""
    match kind:
        case "fallback":
            return Reloads(place, at="", until="")
        case "fallback, reloads":
            return Reloads(place, at=WATCHED, until=GIVEN_BACK, first=FIRST_RELOAD, every=NEXT_RELOAD)
        case "promotion":
            return Reloads(place, at=WATCHED, until="")
        case _:
            return Reloads(place, at=STARTED, until="")


class Rollouts:
    """One rollout after another, and what is seen of them."""

    def __init__(self, place: Place, registry: Registry, say: Callable[[str], None]) -> None:
        self.place, self.registry, self.say = place, registry, say
        self.seen = Seen()
        # A revision that was marked bad stays so: each run's must be its own.
        self.names = (f"{DEPLOYMENT}-{int(time.time())}-{number}" for number in itertools.count(1))

    def release(self, kind: str) -> None:
        """Carry out one kind of rollout, and see that it ended as it should."""
        name = next(self.names)
        if kind == PROMOTION:
            self.registry.change(DEPLOYMENT, {"ORDERS_NAME": name})
        elif kind != WAY_BACK:
            self.registry.change(DEPLOYMENT, {"ORDERS_NAME": name, **BAD}, FALLBACK_STEPS)
        playbook = ROLLBACK if kind == WAY_BACK else DEPLOY
        reloads = reloads_for(kind, self.place)
        try:
            played = self.play(playbook, reloads.hear)
        finally:
            done = reloads.finish()
        self.seen.reloads += len(done)
        self.seen.plays.append((kind, played))
        if kind in (FALLBACK, FALLBACK_RELOADED):
            self.examine(played, done)
        elif played.code:
            raise BenchError(f"the {kind} failed:\n{why_failed(played)}")
        self.say(f"  {kind}: {played.seconds:.0f} s{', ' + str(len(done)) + ' reloads' if done else ''}")

    def play(self, playbook: str, on_task: Callable[[str], None] = lambda _task: None) -> Played:
        sources = (self.place.sources[0], str(self.registry.path))
        return play(playbook, sources, {"deployment": DEPLOYMENT}, limit=PLAY_LIMIT, niceness=NICENESS, on_task=on_task)

    def examine(self, played: Played, reloads: Sequence[tuple[str, float]]) -> None:
        """See that the bad release was found by what it did, and what it was handed until then and after."""
        verdict = first_verdict(played)
        if not played.code or verdict is None:
            raise BenchError(f"the bad release wasn't found by its watch:\n{why_failed(played)}")
        slot = slot_of(played)
        answered = {host: self.answers(host, slot, played) for host in self.place.balancers}
        self.seen.bad_answers |= {item.request_id: item.status for found in answered.values() for item in found}
        withdrawal = withdrawal_of(verdict, answered, reloads)
        self.seen.withdrawals.append(withdrawal)
        self.say(
            f"  {sum(map(len, answered.values()))} requests at the bad revision; the last one {withdrawal.seconds:.2f} s after the verdict"
        )

    def answers(self, host: str, slot: str, played: Played) -> list[Answered]:
        """What a slot answered during a rollout, by a load balancer's log; the journal is a moment late."""
        span = f"--since=@{int(played.began)} --until=@{ceil(played.ended)}"
        # Only what is wanted comes over the network, and takes no processor here.
        script = (
            f"journalctl --namespace=haproxy --output=cat {span} | grep -F {shlex.quote(f'"slot":"{slot}"')} || true"
        )
        return read_answers(self.place.on(host, f"sh -c {shlex.quote(script)}"))


def first_verdict(played: Played) -> float | None:
    """When the first load balancer knew that the release is bad, in seconds since 1970."""
    watched = [
        result["results"].get(DEPLOYMENT, {})
        for result in results_of(played.events, WATCHED)
        if isinstance(result.get("results"), dict)
    ]
    return min(
        (item["judged"] for item in watched if item.get("verdict") == "fail" and item.get("judged")), default=None
    )


def slot_of(played: Played) -> str:
    """The slot that the run prepared."""
    slots = {result["steps"][DEPLOYMENT]["slot"] for result in results_of(played.events, PLANNED) if "steps" in result}
    if len(slots) != 1:
        raise BenchError(f"the plan names the slots {sorted(slots)} for {DEPLOYMENT}, expected one")
    return str(slots.pop())


def read_answers(text: str) -> list[Answered]:
    """The deployment's requests in an access log."""
    entries = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [
        Answered(
            # It came, was read, and waited in the queue; -1 where it didn't come so far.
            entry["time"] + sum(max(0, entry[part]) for part in ("request_time", "queue_time")) / 1000,
            entry["status"],
            entry["request_id"],
        )
        for entry in entries
        if entry.get("deployment") == DEPLOYMENT
    ]


def withdrawal_of(
    verdict: float, answered: Mapping[str, Sequence[Answered]], reloads: Sequence[tuple[str, float]]
) -> Withdrawal:
    """What each load balancer handed over last, and when it was last reloaded before the verdict."""
    return Withdrawal(
        verdict,
        {host: max((item.handed for item in found), default=None) for host, found in answered.items()},
        {
            host: max((moment for name, moment in reloads if name == host and moment <= verdict), default=None)
            for host in answered
        },
    )


def count(result: Result, spans: Iterable[tuple[float, float]], bad_answers: Mapping[str, int]) -> Counted:
    """The requests that were due in some spans of time; what the bad revision answered itself is told apart by its identity."""
    numbers = [number for span in spans for number in numbers_in(result, span)]
    wanted = set(numbers)
    failures = [failure for failure in result.failures if failure.number in wanted]
    by_bad = [
        failure
        for failure in failures
        if failure.kind == STATUS and failure.status == 500 == bad_answers.get(failure.request_id)
    ]
    rest = [failure for failure in failures if failure not in by_bad]
    milliseconds = [result.milliseconds[number] for number in numbers]
    return Counted(
        requests=len(numbers),
        by_bad=len(by_bad),
        truncated=sum(failure.kind == TRUNCATED for failure in rest),
        failed=Counter(
            f"{failure.kind} {failure.status or ''}".strip() for failure in rest if failure.kind != TRUNCATED
        ),
        stalled=sum(taken is not None and taken > STALL for taken in milliseconds),
    )


def numbers_in(result: Result, span: tuple[float, float]) -> range:
    """The requests that were due in a span of seconds since 1970."""
    first, last = (max(0, ceil((moment - result.began) * result.rate)) for moment in span)
    return range(min(first, len(result.milliseconds)), min(last, len(result.milliseconds)))


def percentile(result: Result, spans: Iterable[tuple[float, float]], percent: float) -> float:
    """The milliseconds that so many percent of the requests of some spans stayed within."""
    found = sorted(
        taken
        for span in spans
        for number in numbers_in(result, span)
        if (taken := result.milliseconds[number]) is not None
    )
    if not found:
        raise BenchError("no request was due in the time that was measured; give it more ROUNDS.")
    return found[ceil(len(found) * percent / 100) - 1]


@dataclass(frozen=True)
class Loaded:
    """A whole measurement under load: the rate, which part of the processors it left idle, and what was seen."""

    rate: int
    idle: float
    before: tuple[float, float]
    unchanging: Played
    result: Result
    seen: Seen


def measure_load(place: Place, registry: Registry, folder: Path, run: Run) -> Loaded:
    """Rollouts under load, until enough requests were counted, or so many rounds are over."""
    rate = find_rate(place, folder, run.say)
    rollouts = Rollouts(place, registry, run.say)
    until = time.monotonic() + MOST_SECONDS - 5 * PLAY_LIMIT
    with loading(place, rate, folder, MOST_SECONDS) as load:
        time.sleep(2)
        since = time.time()
        idle = idle_over(BEFORE_SHORT if run.rounds < ROUNDS else BEFORE_SECONDS)
        before = (since, time.time())
        load.check()
        run.say(f"{idle:.0%} of the processors idle at {rate}/s")
        unchanging = rollouts.play(DEPLOY)
        counted_from = load.sent
        for number in range(1, run.rounds + 1):
            for kind in (PROMOTION, WAY_BACK, FALLBACK, FALLBACK_RELOADED):
                rollouts.release(kind)
                load.check()
            so_far = load.sent - counted_from
            run.say(f"round {number} of at most {run.rounds}: {so_far:,} requests, {load.failed} not as they should be")
            if so_far >= ENOUGH or time.monotonic() > until:
                break
        return Loaded(rate, idle, before, unchanging, load.finish(), rollouts.seen)


def describe_load(loaded: Loaded) -> list[Figure]:
    """What the requests met while rollouts went on."""
    result, seen = loaded.result, loaded.seen
    spans = [(played.began, played.ended) for _kind, played in seen.plays]
    counted = count(result, [(spans[0][0], spans[-1][1])], seen.bad_answers)
    before, during = (percentile(result, found, 99) for found in ([loaded.before], spans))
    unchanging = percentile(result, [(loaded.unchanging.began, loaded.unchanging.ended)], 99)
    kinds = ", ".join(f"{number} x {kind}" for kind, number in Counter(kind for kind, _played in seen.plays).items())
    how = (
        f"GET {PATH.format(identity='<id>')} of {DEPLOYMENT} at a constant {loaded.rate}/s, due whatever becomes of others, which left "
        f"{loaded.idle:.0%} of the processors idle before the rollouts; kept HTTPS connections, {THROUGH_VIRTUAL} of 10 requests through the "
        f"virtual address and one straight to each load balancer. Meanwhile {kinds}, and {seen.reloads} reloads; the controller, on the same "
        f"machine, at nice {NICENESS}"
    )
    said = ", ".join(f"{number} x {kind}" for kind, number in counted.failed.items()) or "none"
    latency = f"{how}. Latency from when a request was due; 99 % within {before:.1f} ms before, {during:.1f} ms during rollouts"
    return [
        Figure(figure="processors idle before", value=100 * loaded.idle, unit="%", better="higher", how=how,
               goal=100 * (IDLE_WANTED - IDLE_TOLERANCE)),
        Figure(figure="rate", value=loaded.rate, unit="/s", better="higher", how=how),
        Figure(figure="requests counted", value=counted.requests, unit="", better="higher", how=how, goal=ENOUGH),
        Figure(figure="failed requests", value=sum(counted.failed.values()), unit="", better="lower", how=f"{how}. Failed: {said}", goal=0),
        Figure(figure="answered 500 by the bad revision itself", value=counted.by_bad, unit="", better="lower",
               how=f"{how}. Told by the request's identity in the load balancers' logs"),
        Figure(figure="truncated answers", value=counted.truncated, unit="", better="lower", how=how, goal=0),
        Figure(figure="stalls over 1 s", value=counted.stalled, unit="", better="lower", how=how, goal=0),
        Figure(figure="p99 during rollouts, times before", value=during / before, unit="x", better="lower", how=latency,
               goal=GOAL_RATIO, peer="a deploy that changes nothing", peer_value=unchanging / before),
        *describe_withdrawals(seen.withdrawals),
    ]  # fmt: skip


def describe_withdrawals(withdrawals: Sequence[Withdrawal]) -> list[Figure]:
    """How soon a bad revision got no more requests."""
    how = "from the first load balancer's verdict `fail` to the last request that any load balancer handed to the bad revision, by their logs"
    kinds = {
        "verdict to last request at the bad revision": list(withdrawals),
        f"the same, within {SECONDS_RIGHT_AFTER:g} s of a reload": [
            item for item in withdrawals if item.is_right_after_reload
        ],
    }
    return [
        Figure(figure=figure, value=max(item.seconds for item in found), unit="s", better="lower", goal=GOAL_WITHDRAWAL,
               how=f"{how}; the longest of {len(found)} fallbacks, 0 where none came after the verdict")
        for figure, found in kinds.items() if found
    ]  # fmt: skip
