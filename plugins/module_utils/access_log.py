# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What HAProxy's access log says: requests, and the counts of each arm of a comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import ceil, log2
from typing import Any

CANARY, BASELINE = "canary", "baseline"
ARMS = (CANARY, BASELINE)

# Bounds of latency: four to an octave from 1 ms to two minutes. They are fixed, so that counts of several places add up.
BUCKETS_PER_OCTAVE = 4
LAST_BUCKET = 17 * BUCKETS_PER_OCTAVE
# How HAProxy says in a line's `state` that the client went away, or was too slow itself.
CLIENT_STATES = ("C", "c")
# HAProxy's counters of a server that rise when an attempt of its own failed and was made again.
RETRY_COUNTERS = ("wretr", "wredis")
DEFAULT_ERRORS = ("5xx",)


@dataclass(frozen=True)
class Request:
    """One line of the log: what was asked of a deployment, and which host and slot answered how and when."""

    time: float
    deployment: str
    host: str
    slot: str
    status: int
    # From the queue to the first byte of the answer; None where none came.
    milliseconds: float | None
    retries: int
    redispatched: bool
    state: str
    method: str = ""
    path: str = ""


@dataclass(frozen=True)
class Counts:
    """What one arm did. `errors` are failed attempts; retries, redispatches and connection errors are among them."""

    requests: int = 0
    errors: int = 0
    # The sum of the squares of how many errors came in a row: it tells bursts from as many errors one by one.
    run_squares: int = 0
    retries: int = 0
    redispatches: int = 0
    connection_errors: int = 0
    # Answers by bucket of latency; failed ones aren't in it.
    latency: Mapping[int, int] = field(default_factory=dict)
    # A counter was reset: what happened in between is unknown.
    reset: bool = False

    def __add__(self, other: Counts) -> Counts:
        sums = {
            entry.name: getattr(self, entry.name) + getattr(other, entry.name)
            for entry in fields(self)
            if entry.type == "int"
        }
        latency = dict(Counter(self.latency) + Counter(other.latency))
        return Counts(**sums, latency=latency, reset=self.reset or other.reset)

    @property
    def rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    def to_data(self) -> dict[str, Any]:
        data = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {**data, "latency": {str(bucket): count for bucket, count in sorted(self.latency.items())}}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Counts:
        known = {entry.name: data[entry.name] for entry in fields(cls) if entry.name in data}
        latency = {int(bucket): int(count) for bucket, count in data.get("latency", {}).items()}
        return cls(**{**known, "latency": latency})


def parse_line(line: str | bytes) -> Request | None:
    """Read one line of a deployment's traffic; other lines of the log, also broken ones, are None."""
    try:
        entry = json.loads(line)
        retries = str(entry["retries"])
        return Request(
            time=float(entry["time"]),
            deployment=str(entry["deployment"]),
            host=str(entry["server"]),
            slot=str(entry["slot"]),
            status=int(entry["status"]),
            milliseconds=_answer_time(entry),
            retries=int(retries.lstrip("+")),
            redispatched=retries.startswith("+"),
            state=str(entry["state"]),
            method=str(entry.get("method", "")),
            path=str(entry.get("path", "")),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _answer_time(entry: Mapping[str, Any]) -> float | None:
    """Milliseconds in queue, connecting and waiting for the answer; a client that left waited at least as long as it did."""
    if float(entry["response_time"]) < 0:
        return float(entry["total_time"]) if str(entry["state"])[:1] in CLIENT_STATES else None
    return sum(max(0.0, float(entry[name])) for name in ("queue_time", "connect_time", "response_time"))


def arm_of(request: Request, deployment: str, slot: str, hosts: Sequence[str], share: int = 50) -> str | None:
    """The arm that answered, for a step that opens `slot` on `hosts`.

    Both arms are of the same hosts; where the new slot takes all of them, the old one on other hosts is what there is to compare with.
    """
    if request.deployment != deployment:
        return None
    if request.slot == slot:
        return CANARY if request.host in hosts else None
    return BASELINE if request.slot in ("blue", "green") and (request.host in hosts or share >= 100) else None


def is_error(request: Request, errors: Sequence[str] = DEFAULT_ERRORS) -> bool:
    """Whether the answer counts as an error: by status (`5xx` or `404`), or because the server broke it off."""
    if request.state[:1] in CLIENT_STATES:
        return False
    if request.status < 100:
        return True
    return request.state[:1] in ("S", "s") or any(_matches(request.status, error) for error in errors)


def _matches(status: int, error: str) -> bool:
    return str(status) == error or (error.endswith("xx") and status // 100 == int(error[0]))


def bucket_of(milliseconds: float) -> int:
    return min(LAST_BUCKET, ceil(BUCKETS_PER_OCTAVE * log2(milliseconds))) if milliseconds > 1 else 0


def percentile(latency: Mapping[int, int], percent: float) -> float:
    """The milliseconds that `percent` of the answers stayed within, exact to a bucket (a fifth); 0 where there were none."""
    total = sum(latency.values())
    wanted, passed = total * percent / 100, 0
    for bucket, count in sorted(latency.items()):
        passed += count
        if count and passed >= wanted:
            inside = 1 - (passed - wanted) / count
            return float(2 ** ((bucket - 1 + inside) / BUCKETS_PER_OCTAVE))
    return 0.0


def counter_rise(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int] | None:
    """By how much a server's counters rose; None where one fell, for then they were reset."""
    rise = {name: int(after.get(name, 0)) - int(before.get(name, 0)) for name in RETRY_COUNTERS}
    return None if min(rise.values()) < 0 else rise


def count_by_hour(requests: Iterable[Request], deployment: str) -> dict[int, int]:
    """A deployment's requests by hour since 1970: what an off-peak window is proposed from."""
    return dict(Counter(int(request.time // 3600) for request in requests if request.deployment == deployment))
