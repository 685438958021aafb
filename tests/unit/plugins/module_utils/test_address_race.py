"""Which address is tried, and when."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_race import Race, interleave


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["10.0.0.1"], ["10.0.0.1"], id="one"),
        pytest.param(["10.0.0.1", "10.0.0.2", "::1"], ["10.0.0.1", "::1", "10.0.0.2"], id="families alternate"),
        pytest.param(["::1", "10.0.0.1", "10.0.0.2"], ["::1", "10.0.0.1", "10.0.0.2"], id="the first keeps its place"),
        pytest.param(["10.0.0.1", "10.0.0.1"], ["10.0.0.1"], id="each once"),
        pytest.param(["a.test", "::1"], ["a.test", "::1"], id="names stand with IPv4"),
    ],
)
def test_interleave(candidates: list[str], expected: list[str]) -> None:
    assert interleave(candidates) == expected


def test_the_next_starts_after_the_stagger() -> None:
    race = Race(["a", "b", "c"])
    assert race.start_due(100.0) == "a"
    assert race.start_due(100.1) is None
    assert race.pause(100.1, 110.0) == pytest.approx(0.15)
    assert race.start_due(100.25) == "b"


def test_a_failure_starts_the_next_at_once() -> None:
    race = Race(["a", "b"])
    race.start_due(100.0)
    race.fail("a", "refused", 100.01)
    assert race.start_due(100.01) == "b"


def test_it_is_lost_when_all_have_failed() -> None:
    race = Race(["a", "b"])
    for candidate in ("a", "b"):
        race.start_due(100.0)
        assert not race.lost
        race.fail(candidate, "refused", 100.0)
    assert race.lost
    assert race.failed == {"a": "refused", "b": "refused"}


def test_with_all_started_only_the_deadline_is_awaited() -> None:
    race = Race(["a"])
    race.start_due(100.0)
    assert race.start_due(105.0) is None
    assert race.pause(100.5, 110.0) == 9.5
    assert race.pause(111.0, 110.0) == 0.0
