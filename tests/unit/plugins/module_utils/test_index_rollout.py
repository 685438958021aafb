# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which gates a change of a database has to pass."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.index_rollout import index_gates

HELD = {"alice": {"state": "held", "token": 7, "person": "alice", "since": "2026-11-29T18:00:00Z"}}
WINDOW = {"allow": [{"cron": "0 2 * * *", "duration": "2h"}], "zone": "UTC"}


@pytest.mark.parametrize(
    ("rollout", "gates"),
    [
        pytest.param(None, ["lease", "freeze", "database"], id="without a policy"),
        pytest.param({"gates": {"window": WINDOW}}, ["lease", "freeze", "window", "database"], id="with a window"),
        pytest.param({"gates": {"database": False}}, ["lease", "freeze"], id="the registry leaves the database out"),
        pytest.param(
            {"gates": {"capacity": {}, "http": {}}}, ["lease", "freeze", "database"], id="those about releases"
        ),
    ],
)
def test_gates(rollout: dict[str, Any] | None, gates: list[str]) -> None:
    (entry,) = index_gates([{"name": "alice", "hosts": ["app1"], "rollout": rollout}], HELD)
    assert list(entry["policy"]["gates"]) == gates
    assert (entry["token"], entry["step"]["hosts"]) == (7, ["app1"])


def test_who_has_no_lease_is_not_asked_about() -> None:
    assert index_gates([{"name": "alice"}], {"alice": {"state": "refused"}}) == []
