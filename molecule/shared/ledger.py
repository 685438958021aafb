# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Numbered writes through an application's own path: what was acknowledged must be there afterwards, whatever was lost meanwhile."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from client import Answer

# Numbers of one ledger lie in a block of their own, which the clock chooses, so that those of an earlier one are not taken for them.
BLOCK, BLOCKS = 1_000_000, 2_000


@dataclass(frozen=True)
class Entry:
    """An acknowledged write: its number, what the application named it, and when it was sent and acknowledged (monotonic seconds)."""

    number: int
    identity: int
    sent: float
    done: float


@dataclass
class Ledger:
    """Writes from several threads until the block ends; `ask` posts one order, as Door.ask does."""

    ask: Callable[..., Answer]
    writers: int = 4
    pause: float = 0.05
    entries: list[Entry] = field(default_factory=list)
    refused: list[Answer] = field(default_factory=list)
    first: int = field(default_factory=lambda: int(time.time()) % BLOCKS * BLOCK + 1)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Ledger:
        self._numbers = itertools.count(self.first)
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(self.writers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _write(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers)
            order = {"customer": 1 + number % 500, "quantity": 1, "total_cents": number}
            answer = self.ask("/orders", post=order, seconds=5.0)
            with self._lock:
                if answer.status == 201:
                    self.entries.append(Entry(number, int(json.loads(answer.body)["id"]), answer.sent, answer.done))
                else:
                    self.refused.append(answer)
            self._stop.wait(self.pause)

    def acknowledged(self, since: float, until: float = float("inf")) -> list[Entry]:
        """The writes that were sent after one moment and acknowledged before another."""
        with self._lock:
            # They come in the order in which they were done, but for the moment until a thread has written down its own.
            recent = itertools.takewhile(lambda entry: entry.done > since - 1, reversed(self.entries))
            return [entry for entry in recent if entry.sent >= since and entry.done <= until][::-1]

    def silence(self, since: float, until: float) -> float:
        """The longest time without an acknowledgement that reaches into these moments, in seconds."""
        with self._lock:
            return longest_silence([entry.done for entry in self.entries], since, until)

    def lost(self, kept: Mapping[int, int], until: float = float("inf")) -> list[Entry]:
        """The writes, acknowledged before a moment, that the database doesn't hold; `kept` is its identities by number."""
        with self._lock:
            return [entry for entry in self.entries if entry.done <= until and kept.get(entry.number) != entry.identity]

    @property
    def query(self) -> str:
        """What reads this ledger's writes, as lines of `number identity`."""
        last = self.first + BLOCK
        return f"COPY (SELECT total_cents, id FROM orders WHERE total_cents >= {self.first} AND total_cents < {last}) TO STDOUT (DELIMITER ' ')"


def read_kept(lines: str) -> dict[int, int]:
    """Read what the database holds."""
    return {int(number): int(identity) for number, identity in (line.split() for line in lines.splitlines())}


def longest_silence(moments: Iterable[float], since: float, until: float) -> float:
    """The longest time between two of the moments that reaches into the span from `since` to `until`."""
    ordered = [*sorted(moment for moment in moments if moment <= until), until]
    return max(
        (after - before for before, after in itertools.pairwise(ordered) if after >= since), default=until - since
    )


@dataclass(frozen=True)
class Act:
    """A commit that a server acknowledged to the witness on it: on which timeline, when it began, and when it was done (seconds since 1970)."""

    host: str
    timeline: int
    began: float
    done: float


def read_acts(host: str, lines: str) -> list[Act]:
    """Read what a witness wrote; a commit whose wait was cancelled brings a warning, and isn't acknowledged."""
    acts: list[Act] = []
    warned = False
    for line in lines.splitlines():
        words = line.partition("NOTICE:")[2].split()
        if words[:1] == ["acknowledged"] and len(words) == 4 and not warned:
            acts.append(Act(host, int(words[1], 16), float(words[2]), float(words[3])))
        # What explains the warning is on further lines.
        warned = "WARNING:" in line or (warned and "NOTICE:" not in line)
    return acts


def find_rivals(acts: Sequence[Act]) -> list[tuple[Act, Act]]:
    """Pairs of acknowledgements that no single primary can have given: one timeline on two hosts, or a former one after the next."""
    rivals: list[tuple[Act, Act]] = []
    owners: dict[int, Act] = {}
    earliest: dict[int, Act] = {}
    for act in sorted(acts, key=lambda act: act.done):
        owner = owners.setdefault(act.timeline, act)
        if owner.host != act.host:
            rivals.append((owner, act))
        earliest.setdefault(act.timeline, act)
        later = [first for timeline, first in earliest.items() if timeline > act.timeline and first.done < act.began]
        rivals += [(first, act) for first in later[:1]]
    return rivals


def summarise(values: Sequence[float]) -> dict[str, float]:
    """Min, median, p95 and max; with few values the p95 is the largest."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

    last = min(len(ordered) - 1, -(-95 * len(ordered) // 100) - 1)
    return {"min": ordered[0], "median": at(0.5), "p95": ordered[last], "max": ordered[-1]}


def describe(values: Mapping[str, Any]) -> str:
    """One line for people."""
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())
