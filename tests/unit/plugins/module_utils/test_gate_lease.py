# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose the deployment is to change."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_lease import LeaseFacts, check, judge

LEASE = {"person": "bob", "controller": "laptop", "since": 60, "why": "a release"}


@pytest.mark.parametrize(
    ("lease", "held", "token", "verdict", "reason"),
    [
        pytest.param(LEASE, 7, 7, "pass", "the lease with token 7 is held", id="held"),
        pytest.param(None, None, 7, "fail", "the lease with token 7 has ended or was broken", id="ended"),
        pytest.param(
            LEASE,
            9,
            7,
            "fail",
            "the lease with token 7 was lost, and bob on laptop holds the lease since 1970-01-01 00:01 UTC: a release",
            id="another's by now",
        ),
        pytest.param(None, None, None, "pass", "nobody holds the lease", id="free, for one who only looks"),
        pytest.param(None, None, 0, "pass", "nobody holds the lease", id="0 is no token"),
        pytest.param(
            {"person": "bob"}, 9, None, "hold", "bob holds the lease since None", id="taken, for one who only looks"
        ),
    ],
)
def test_judge(lease: dict[str, Any] | None, held: int | None, token: int | None, verdict: str, reason: str) -> None:
    found = judge({}, LeaseFacts(lease, held, token))
    assert (found.verdict, found.reason) == (verdict, reason)


def test_check() -> None:
    assert check({}, "lease") == []
    assert "unknown field" in check({"ttl": 1}, "lease")[0]
