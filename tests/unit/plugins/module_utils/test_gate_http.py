# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the gate `http` makes of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_http import HttpFacts, Sample, check, judge


def answers(count: int, status: int = 200, milliseconds: float = 20, revision: str = "r2") -> list[Sample]:
    return [Sample(status, milliseconds, revision, server="app1-green")] * count


@pytest.mark.parametrize(
    ("spec", "samples", "verdict", "words"),
    [
        pytest.param({}, answers(5), "pass", "5 answers", id="all well"),
        pytest.param({}, answers(4), "hold", "4 answers so far, 5 are needed", id="more to come"),
        pytest.param({}, [], "hold", "0 answers", id="none yet"),
        pytest.param({"samples": 2}, answers(2), "pass", "", id="fewer are enough"),
        pytest.param({}, [*answers(4), *answers(1, 500)], "fail", "1 of 5 answers failed, the first with status 500", id="an error"),
        pytest.param({"failures": 1}, [*answers(4), *answers(1, 500)], "pass", "", id="which is allowed"),
        pytest.param({"status": [200, 204]}, answers(5, 204), "pass", "", id="another status"),
        pytest.param({}, [Sample(0, 0, problem="connection refused")], "fail", "connection refused", id="no answer"),
        pytest.param({}, answers(1, revision="r1"), "fail", "app1-green says that it is revision 'r1', expected 'r2'", id="another revision, at once"),
        pytest.param({}, answers(5, revision=""), "pass", "", id="no identity asked for"),
        pytest.param({"milliseconds": {95: 100}}, [*answers(19), *answers(1, milliseconds=900)], "pass", "", id="one slow"),
        pytest.param(
            {"milliseconds": {95: 100}}, [*answers(18), *answers(2, milliseconds=900)], "fail", "95 % of answers took 900 ms, 100 ms is the limit",
            id="two slow",
        ),
    ],
)  # fmt: skip
def test_verdicts(spec: Mapping[str, Any], samples: Sequence[Sample], verdict: str, words: str) -> None:
    judged = judge(spec, HttpFacts(samples, "r2"))
    assert judged.verdict == verdict, judged.reason
    assert words in judged.reason


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        pytest.param({}, "", id="empty"),
        pytest.param({"status": [200], "samples": 10, "failures": 1, "milliseconds": {95: 500}}, "", id="all fine"),
        pytest.param({"status": 200}, "Write it as [200, 204]", id="no list"),
        pytest.param({"status": [99]}, "status", id="no status"),
        pytest.param({"samples": 0}, "samples", id="no samples"),
        pytest.param({"milliseconds": {"p95": 1}}, "{95: 500}", id="percent as text"),
    ],
)
def test_entries_of_the_registry(spec: Mapping[str, Any], word: str) -> None:
    problems = "\n".join(check(spec, "http"))
    assert bool(problems) == bool(word)
    assert word in problems
