"""Saying no at once while the database is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class Breaker:
    """Lets one caller try every `pause` seconds after a failure, and all of them after a success.

    Without it every request of an outage would wait its turn for a connection, the few threads would all be
    waiting, and not even the health check would be answered.
    """

    def __init__(self, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._clock = clock
        self._lock = Lock()
        self._try_again_at: float | None = None

    def admits(self) -> bool:
        """Whether this caller may try."""
        with self._lock:
            if self._try_again_at is None:
                return True
            if self._clock() < self._try_again_at:
                return False
            self._try_again_at = self._clock() + self._pause
            return True

    def failed(self) -> None:
        """Remember that a caller found the database away."""
        with self._lock:
            self._try_again_at = self._clock() + self._pause

    def worked(self) -> None:
        """Remember that a caller found the database there."""
        with self._lock:
            self._try_again_at = None
