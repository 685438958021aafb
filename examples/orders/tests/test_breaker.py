"""Who may try while the database is away."""

from __future__ import annotations

from orders.breaker import Breaker


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_everyone_may_try_until_it_fails() -> None:
    breaker = Breaker(1.0, Clock())
    assert breaker.admits()
    assert breaker.admits()


def test_after_a_failure_one_may_try_per_pause() -> None:
    clock = Clock()
    breaker = Breaker(1.0, clock)
    breaker.failed()
    assert not breaker.admits()
    clock.now = 1.0
    assert breaker.admits()
    assert not breaker.admits(), "only one of those who wait may find out"
    clock.now = 2.0
    assert breaker.admits(), "the one who tried may have died"


def test_a_success_lets_everyone_in_again() -> None:
    breaker = Breaker(1.0, Clock())
    breaker.failed()
    breaker.worked()
    assert breaker.admits()
