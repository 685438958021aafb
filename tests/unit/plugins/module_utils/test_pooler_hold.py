# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.pooler_hold import (
    Hold,
    Look,
    health_commands,
    is_primary,
    judge_hold,
)

HOLD = Hold(start=2.5, limit=5.0)
PRIMARY = {"role": "primary", "state": "running"}
PROMOTING = {"role": "replica", "state": "running"}
STOPPING = {"role": "primary", "state": "stopping"}


@pytest.mark.parametrize(
    ("look", "why"),
    [
        pytest.param(Look(0.9), None, id="nobody takes writes yet"),
        pytest.param(Look(0.9, "db2"), "taken over", id="one does"),
        pytest.param(Look(9.0, "db2"), "taken over", id="late, but one does"),
        pytest.param(Look(2.6, None, PRIMARY), "nothing happened", id="the former leader still leads"),
        pytest.param(Look(2.6, None, STOPPING), None, id="the former leader stops"),
        pytest.param(Look(2.4, None, PRIMARY), None, id="there is time yet"),
        pytest.param(Look(5.0), "too late", id="the limit"),
    ],
)
def test_judge_hold(look: Look, why: str | None) -> None:
    assert judge_hold(HOLD, look) == why


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(None, False, id="no answer"),
        pytest.param(PROMOTING, False, id="it has the lead and takes no writes yet"),
        pytest.param(PRIMARY, True, id="it takes writes"),
        pytest.param({"role": "master", "state": "running"}, True, id="the older name"),
        pytest.param(STOPPING, False, id="it stops"),
    ],
)
def test_is_primary(answer: dict[str, str] | None, expected: bool) -> None:
    assert is_primary(answer) is expected


def table(**states: str) -> str:
    """What HAProxy shows; another section has a server of the same name."""
    rows = [f"primary,{name},{state}" for name, state in states.items()] + ["other,db2,DOWN", "primary,FRONTEND,OPEN"]
    return "\n".join(["# pxname,svname,status", *rows, ""])


@pytest.mark.parametrize(
    ("states", "commands"),
    [
        pytest.param(
            {"db1": "UP", "db2": "DOWN"},
            ["set server primary/db2 health up", "set server primary/db1 health down"],
            id="it has noticed nothing; the new one comes first",
        ),
        pytest.param({"db1": "UP 1/2", "db2": "UP"}, ["set server primary/db1 health down"], id="half of it"),
        pytest.param({"db1": "DOWN", "db2": "UP"}, [], id="all of it"),
        pytest.param({"db3": "UP"}, [], id="it knows neither"),
    ],
)
def test_health_commands(states: dict[str, Any], commands: list[str]) -> None:
    assert health_commands(table(**states), "primary", "db1", "db2") == commands
