# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The red switch."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_freeze import FreezeFacts, check, judge


@pytest.mark.parametrize(
    ("freeze", "verdict", "reason"),
    [
        pytest.param(None, "pass", "nobody has frozen the environment", id="free"),
        pytest.param(
            {"person": "alice", "since": 0, "why": "the shop is on television"},
            "hold",
            "alice froze the environment at 1970-01-01 00:00 UTC: the shop is on television",
            id="frozen",
        ),
        pytest.param({}, "hold", "somebody froze the environment at None: no reason given", id="an empty one counts"),
    ],
)
def test_judge(freeze: dict[str, Any] | None, verdict: str, reason: str) -> None:
    found = judge({}, FreezeFacts(freeze))
    assert (found.gate, found.verdict, found.reason) == ("freeze", verdict, reason)


def test_check() -> None:
    assert check({"deadline": 60}, "freeze") == []
    assert "unknown field" in check({"why": "x"}, "freeze")[0]
