# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a slot is ready, when it is given up, and when nobody is connected any more."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.readiness import (
    UnitState,
    Verdict,
    established_ports,
    judge_units,
)

WEB, IDENTITY = "n-blue-web.service", "n-blue-identity.service"


def unit(name: str = WEB, active: str = "active", restarts: int = 0) -> UnitState:
    """Return the state of a service."""
    return UnitState(name, active, "running", restarts, "success")


@pytest.mark.parametrize(
    ("states", "answer", "late", "verdict"),
    [
        pytest.param([unit(), unit(IDENTITY)], "", False, Verdict(ready=True), id="ready"),
        pytest.param([unit(), unit(IDENTITY)], "", True, Verdict(ready=True), id="ready at the last moment"),
        pytest.param([unit()], "answers 503", False, Verdict(), id="not yet"),
        pytest.param([unit(active="activating")], "", False, Verdict(), id="starting"),
        pytest.param([unit()], "answers 503", True, Verdict(reason="answers 503", culprit=WEB), id="never ready"),
        pytest.param(
            [unit(active="inactive")],
            "",
            True,
            Verdict(reason=f"{WEB} is inactive (running)", culprit=WEB),
            id="never up",
        ),
        pytest.param(
            [unit(restarts=3)],
            "silent",
            False,
            Verdict(reason=f"{WEB} ended 3 times", culprit=WEB),
            id="hopeless before the deadline",
        ),
        pytest.param(
            [unit(active="failed")],
            "silent",
            False,
            Verdict(reason=f"{WEB} ended 1 times", culprit=WEB),
            id="failed for good",
        ),
        pytest.param(
            [unit(IDENTITY, active="failed"), unit(restarts=4)],
            "",
            False,
            Verdict(reason=f"{WEB} ended 4 times", culprit=WEB),
            id="the process, not its identity",
        ),
    ],
)
def test_verdict(states: list[UnitState], answer: str, late: bool, verdict: Verdict) -> None:
    assert judge_units(states, answer, late) == verdict


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 1500000A:2712 0100000A:D431 01 00000000:00000000
   1: 1500000A:2713 00000000:0000 0A 00000000:00000000
   2: 1500000A:2714 0100000A:D432 06 00000000:00000000
"""


def test_only_established_connections_count() -> None:
    assert established_ports([TABLE, ""]) == {0x2712}
