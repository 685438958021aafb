# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of several addresses to try, and when: RFC 8305 ("Happy Eyeballs"), without sockets or a clock."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

STAGGER = 0.25  # seconds between attempts, as RFC 8305 recommends


def interleave(candidates: Sequence[str]) -> list[str]:
    """Alternate between address families, each in its own order, beginning with the first candidate's."""
    unique = list(dict.fromkeys(candidates))
    if not unique:
        return []
    first = [item for item in unique if is_ipv6(item) == is_ipv6(unique[0])]
    second = [item for item in unique if item not in first]
    return [item for pair in itertools.zip_longest(first, second) for item in pair if item is not None]


def is_ipv6(candidate: str) -> bool:
    return ":" in candidate


@dataclass
class Race:
    """The state of one race; whoever runs it says what time it is and what happened."""

    candidates: list[str]
    stagger: float = STAGGER
    next_start: float = 0.0
    started: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def start_due(self, now: float) -> str | None:
        """The candidate to start now, if it is time for one."""
        waiting = self.waiting
        if not waiting or now < self.next_start:
            return None
        self.started.append(waiting[0])
        self.next_start = now + self.stagger
        return waiting[0]

    def fail(self, candidate: str, reason: str, now: float) -> None:
        """A candidate that fails lets the next one start at once."""
        self.failed[candidate] = reason
        self.next_start = min(self.next_start, now)

    @property
    def waiting(self) -> list[str]:
        return self.candidates[len(self.started) :]

    @property
    def lost(self) -> bool:
        """Whether every candidate has failed."""
        return len(self.failed) == len(self.candidates)

    def pause(self, now: float, deadline: float) -> float:
        """Seconds until something is due: the next start, or the end of the race."""
        due = min(self.next_start, deadline) if self.waiting else deadline
        return max(0.0, due - now)
