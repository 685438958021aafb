# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Figures of the environment's Prometheus, and their bounds."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_prometheus import (
    PrometheusFacts,
    check,
    judge,
    query_paths,
    read_answer,
)
from ansible_collections.nectar.backend.plugins.module_utils.gates import GateError

ERRORS = {"query": "errors", "max": 0.01}
READY = {"query": "up", "min": 1}


@pytest.mark.parametrize(
    ("queries", "answers", "verdict", "reason"),
    [
        pytest.param([ERRORS], [(0.005,)], "pass", "errors is 0.005", id="in bounds"),
        pytest.param([ERRORS], [(0.005, 0.01)], "pass", "errors is 0.005 to 0.01", id="the bound itself"),
        pytest.param([ERRORS], [(0.0, 0.02)], "fail", "errors is 0.02, over 0.01", id="one series is over"),
        pytest.param([READY], [(1.0, 0.0)], "fail", "up is 0, under 1", id="one series is under"),
        pytest.param([{"query": "q", "min": 1, "max": 2}], [(1.0, 2.0)], "pass", "q is 1 to 2", id="both bounds"),
        pytest.param([ERRORS], [()], "hold", "errors has no value", id="no series"),
        pytest.param([ERRORS], [(float("nan"),)], "hold", "errors has no value", id="not a number"),
        pytest.param([ERRORS], ["refused"], "hold", "errors: Prometheus is silent: refused", id="silent"),
        pytest.param(
            [ERRORS, READY], [(0.02,), ()], "fail", "errors is 0.02, over 0.01", id="a fail is worse than a hold"
        ),
        pytest.param([ERRORS, READY], [(0.0,), (1.0,)], "pass", "errors is 0; up is 1", id="two"),
    ],
)
def test_judge(queries: list[Any], answers: list[Any], verdict: str, reason: str) -> None:
    found = judge({"queries": queries}, PrometheusFacts(answers))
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"status": "success", "data": {"resultType": "scalar", "result": [1, "2.5"]}}, (2.5,)),
        ({"status": "success", "data": {"resultType": "vector", "result": []}}, ()),
        (
            {
                "status": "success",
                "data": {"resultType": "vector", "result": [{"value": [1, "3"]}, {"value": [1, "4"]}]},
            },
            (3.0, 4.0),
        ),
    ],
)
def test_read_answer(reply: Any, expected: tuple[float, ...]) -> None:
    assert read_answer(reply) == expected


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"status": "error", "error": "parse error"}, "parse error"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "came to a matrix"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{}]}}, "unknown form"),
        ({}, "unknown form"),
        ("<html>", "unknown form"),
    ],
)
def test_an_answer_that_is_none(reply: Any, said: str) -> None:
    with pytest.raises(GateError, match=said):
        read_answer(reply)


def test_a_query_may_name_the_rollout() -> None:
    spec = {"queries": [{"query": 'rate(x{d="$deployment"}[1m])', "max": 1}]}
    names = {"deployment": "shop", "release": "orders-1", "revision": "abc"}
    assert query_paths(spec, names) == ["/api/v1/query?query=rate%28x%7Bd%3D%22shop%22%7D%5B1m%5D%29"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"queries": [ERRORS, READY], "url": "http://192.0.2.41:9090"}, None),
        ({}, "queries is missing"),
        ({"queries": []}, "queries is []"),
        ({"queries": [{"query": "x"}]}, "prometheus.queries[0]: has no bound; expected min, max or both"),
        ({"queries": [{"max": 1}]}, "query is missing"),
        ({"queries": [{"query": "x", "max": "1"}]}, 'max is "1"; expected a number'),
        ({"queries": [{"query": "x", "max": float("nan")}]}, "max is NaN"),
        ({"queries": [ERRORS], "url": "ops1:9090"}, 'url is "ops1:9090"'),
    ],
)
def test_check(spec: dict[str, Any], said: str | None) -> None:
    problems = check(spec, "prometheus")
    assert [said in problem for problem in problems] == ([True] if said else [])
