# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verdicts, how they sum up, and how waiting for one ends."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    Verdict,
    blames_release,
    check_fields,
    flaw,
    instant,
    moment,
    needs_new_release,
    settle,
    worst,
)


def verdict(value: str, gate: str = "window", **more: Any) -> Verdict:
    return Verdict(gate, value, "the reason", **more)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        pytest.param([], "pass", id="nothing to say"),
        pytest.param(["pass", "pass"], "pass", id="all pass"),
        pytest.param(["pass", "hold", "pass"], "hold", id="one holds"),
        pytest.param(["hold", "fail", "pass"], "fail", id="one fails"),
    ],
)
def test_worst(verdicts: list[str], expected: str) -> None:
    assert worst(verdict(value) for value in verdicts) == expected


def test_shadow_blocks_nothing_and_blames_nobody() -> None:
    verdicts = [verdict("hold"), verdict("fail", "compare", shadow=True)]
    assert worst(verdicts) == "hold"
    assert not blames_release(verdicts)


@pytest.mark.parametrize(
    ("gate", "blamed"),
    [("compare", True), ("http", True), ("command", True), ("prometheus", True), ("window", False), ("lease", False)],
)
def test_only_some_gates_speak_of_the_release(gate: str, blamed: bool) -> None:
    assert blames_release([verdict("fail", gate)]) is blamed
    assert not blames_release([verdict("hold", gate)])


@pytest.mark.parametrize(("gate", "needs"), [("compare", True), ("http", True), ("database", False)])
def test_what_needs_the_new_release(gate: str, needs: bool) -> None:
    assert needs_new_release(gate) is needs


def test_a_verdict_travels_as_data() -> None:
    told = verdict("hold", evidence={"lag": 3}, shadow=True)
    assert Verdict.of(told.data()) == told


@pytest.mark.parametrize(
    ("value", "left", "waited", "expected"),
    [
        pytest.param("pass", None, 500, "pass", id="a pass stays"),
        pytest.param("hold", None, 10, "hold", id="there is time"),
        pytest.param("hold", None, 300, "fail", id="time is up"),
        pytest.param("hold", 290, 0, "hold", id="it opens in time"),
        pytest.param("hold", 290, 20, "fail", id="it opens too late: nobody waits for that"),
    ],
)
def test_a_hold_ends_at_its_deadline(value: str, left: float | None, waited: float, expected: str) -> None:
    evidence = {} if left is None else {"seconds_left": left}
    settled = settle(verdict(value, evidence=evidence), waited, 300)
    assert settled.verdict == expected
    assert ("deadline of 300 s" in settled.reason or "deadline is 300 s" in settled.reason) is (expected == "fail")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param({}, None, id="empty"),
        pytest.param({"deadline": 60}, None, id="a deadline"),
        pytest.param({"deadline": "60"}, 'deadline is "60"; expected whole seconds from 0 to 86400', id="a text"),
        pytest.param({"dedline": 60}, "Did you mean deadline?", id="a slip"),
        pytest.param([], "gates.lease: is []; expected a mapping of fields", id="a list"),
    ],
)
def test_an_entry_is_checked(spec: object, said: str | None) -> None:
    problems = check_fields(spec, "gates.lease", {})
    assert [said in problem for problem in problems] == [True] if said else problems == []


def test_a_flaw_is_one_sentence_and_a_remedy() -> None:
    assert flaw("here", "x is 1", "2", "write it as 2") == "here: x is 1; expected 2. Write it as 2."


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5.0),
        (5.5, 5.5),
        ("1970-01-01T00:00:05+00:00", 5.0),
        ("1970-01-01T01:00:05+01:00", 5.0),
        ("1970-01-01T00:00:05Z", 5.0),
        ("1970-01-01T00:00:05", None),
        ("soon", None),
        (None, None),
        (True, None),
    ],
)
def test_instant(value: object, seconds: float | None) -> None:
    assert instant(value) == seconds


def test_moment() -> None:
    assert moment(90) == "1970-01-01 00:01 UTC"
