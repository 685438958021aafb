# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether somebody else has agreed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_approval import ApprovalFacts, check, judge

NOW = 1000.0
APPROVAL = {"person": "bob", "release": "", "until": 4600, "why": "seen on staging"}


@pytest.mark.parametrize(
    ("spec", "approval", "verdict", "said"),
    [
        pytest.param(
            {}, APPROVAL, "pass", "bob approved until 1970-01-01 01:16 UTC: seen on staging", id="another login"
        ),
        pytest.param({}, {**APPROVAL, "release": "orders-1"}, "pass", "bob approved", id="this very release"),
        pytest.param({"by": ["bob"]}, APPROVAL, "pass", "bob approved", id="one of those who may"),
        pytest.param({}, {**APPROVAL, "until": "1970-01-01T00:30:00+00:00"}, "pass", "00:30 UTC", id="a time in words"),
        pytest.param(
            {},
            None,
            "hold",
            "nobody has approved; somebody other than alice may run playbooks/approve.yml -e deployment=shop",
            id="none",
        ),
        pytest.param(
            {}, {**APPROVAL, "person": "alice"}, "hold", "alice can't approve a rollout of their own", id="own"
        ),
        pytest.param(
            {"by": ["carol", "alice"]}, APPROVAL, "hold", "bob approved, who isn't among carol", id="not asked"
        ),
        pytest.param({"by": ["carol", "alice"]}, None, "hold", "; carol may run", id="who may"),
        pytest.param({"by": ["alice"]}, None, "hold", "only alice may approve", id="nobody may"),
        pytest.param(
            {}, {**APPROVAL, "release": "orders-2"}, "hold", "bob approved orders-2, not orders-1", id="another"
        ),
        pytest.param({}, {**APPROVAL, "until": NOW}, "hold", "bob's approval ended at 1970-01-01 00:16", id="over"),
        pytest.param({}, {"person": "bob"}, "hold", "says no time until which it counts", id="without an end"),
        pytest.param({}, {"until": 4600}, "hold", "the approval names nobody", id="without a person"),
    ],
)
def test_judge(spec: dict[str, Any], approval: dict[str, Any] | None, verdict: str, said: str) -> None:
    found = judge(spec, ApprovalFacts(approval, "shop", "orders-1", "alice", NOW))
    assert found.verdict == verdict
    assert said in found.reason


@pytest.mark.parametrize(
    ("spec", "problems"), [({}, 0), ({"by": ["bob"], "deadline": 3600}, 0), ({"by": []}, 1), ({"by": "bob"}, 1)]
)
def test_check(spec: dict[str, Any], problems: int) -> None:
    assert len(check(spec, "approval")) == problems
