# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers that stay in service, and memory for the second slot."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_capacity import CapacityFacts, Room, check, judge

UP, DOWN, UNKNOWN = Room(True, 200, 64), Room(False, 200, 64), Room()


@pytest.mark.parametrize(
    ("spec", "rooms", "step", "verdict", "reason"),
    [
        pytest.param(
            {},
            {"app1": UP, "app2": UP},
            ["app1"],
            "pass",
            "2 of 2 servers serve, and there is room on app1",
            id="all well",
        ),
        pytest.param({}, {"app1": UP, "app2": DOWN}, ["app1"], "pass", "1 of 2 servers serve", id="half is enough"),
        pytest.param({}, {"app1": UP}, ["app1"], "pass", "1 of 1 servers serve", id="one server alone"),
        pytest.param({"keep": 2}, {"app1": UP}, ["app1"], "pass", "1 of 1", id="no more than there are"),
        pytest.param(
            {"keep": "100%"},
            {"app1": UP, "app2": DOWN},
            ["app1"],
            "hold",
            "1 of 2 servers serve, and 2 must",
            id="all must",
        ),
        pytest.param(
            {}, {"app1": DOWN, "app2": DOWN}, [], "hold", "0 of 2 servers serve, and 1 must", id="none serves"
        ),
        pytest.param(
            {"keep": 2}, {"app1": UP, "app2": UNKNOWN}, [], "hold", "2 must, and nothing is known of app2", id="silent"
        ),
        pytest.param({"keep": 0}, {"app1": DOWN}, ["app1"], "pass", "0 of 1 servers serve", id="nobody need serve"),
        pytest.param(
            {},
            {"app1": Room(True, 90, 64)},
            ["app1"],
            "hold",
            "app1 has 90 MiB free, and the slot takes 64 beside a reserve of 32",
            id="too little memory",
        ),
        pytest.param(
            {"reserve": "1M"}, {"app1": Room(True, 65, 64)}, ["app1"], "pass", "there is room on app1", id="just enough"
        ),
        pytest.param(
            {}, {"app1": Room(True, None, 64)}, ["app1"], "hold", "free memory of app1 isn't known", id="unknown"
        ),
        pytest.param(
            {}, {"app1": Room(True, 5, 0)}, ["app1"], "pass", "there is room on app1", id="the slot already runs"
        ),
        pytest.param(
            {}, {"app1": UP, "app2": Room(True, 1, 64)}, ["app1"], "pass", "there is room on app1", id="not in the step"
        ),
    ],
)
def test_judge(spec: dict[str, Any], rooms: dict[str, Room], step: list[str], verdict: str, reason: str) -> None:
    found = judge(spec, CapacityFacts(list(rooms), step, rooms))
    assert found.verdict == verdict
    assert reason in found.reason


def test_a_host_of_which_nothing_is_said_is_unknown() -> None:
    assert judge({}, CapacityFacts(["app1"], ["app1"], {})).verdict == "hold"


@pytest.mark.parametrize(
    ("spec", "problems"),
    [({}, 0), ({"keep": 1, "reserve": "64M"}, 0), ({"keep": "0%"}, 1), ({"keep": -1}, 1), ({"keep": True}, 1), ({"reserve": 64}, 1)],
)  # fmt: skip
def test_check(spec: dict[str, Any], problems: int) -> None:
    assert len(check(spec, "capacity")) == problems
