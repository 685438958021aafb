# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of rollout_lease: what it says without a database server, and what it keeps on its own disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.action.rollout_lease import (
    KEPT_LOGS,
    began,
    go_without,
    keeper_folder,
    wants_beats,
)
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user


def test_the_way_back_goes_on_where_no_database_server_can_be_reached() -> None:
    entries: list[dict[str, Any]] = [{"name": "alice", "floor": 41}, {"name": "staging"}]
    result = go_without({"deployments": entries, "why": "5xx"}, "no route to db1")
    assert (result["reachable"], result["person"]) == (False, session_user())
    assert {name: lease["token"] for name, lease in result["results"].items()} == {"alice": 42, "staging": 1}
    assert result["results"]["alice"]["state"] == "overridden"
    assert result["results"]["alice"]["override"]["why"] == "5xx"
    assert "no route to db1" in result["msg"]


@pytest.mark.parametrize(
    ("entry", "arguments", "wanted"),
    [
        pytest.param({}, {}, True, id="nothing said"),
        pytest.param({}, {"load_balancers": []}, False, id="no load balancers"),
        pytest.param({}, {"state": "absent"}, False, id="given back"),
        pytest.param({"beat": False}, {}, False, id="told not to"),
        pytest.param({"steps": []}, {}, False, id="no steps"),
        pytest.param({"steps": [{"watched": False}]}, {}, False, id="a first release, which nobody watches"),
        pytest.param({"steps": [{"watched": False}], "beat": True}, {}, True, id="told to"),
        pytest.param({"steps": [{"watched": True}, {"watched": False}]}, {}, True, id="a watched step"),
    ],
)
def test_who_is_shown_signs_of_life(entry: dict[str, Any], arguments: dict[str, Any], wanted: bool) -> None:
    assert wants_beats({"name": "alice", **entry}, {"load_balancers": ["lb1"], **arguments}) is wanted


def test_a_process_is_known_by_when_it_began() -> None:
    assert int(began(os.getpid())) >= int(began(os.getppid()))


@pytest.mark.parametrize(("found", "kept"), [(0, 0), (KEPT_LOGS - 1, KEPT_LOGS - 1), (KEPT_LOGS + 4, KEPT_LOGS - 1)])
def test_logs_don_t_pile_up(tmp_path: Path, found: int, kept: int) -> None:
    for number in range(found):
        path = tmp_path / f"lab-{number}.log"
        path.write_text("")
        os.utime(path, (number, number))
    assert keeper_folder({"keeper_directory": str(tmp_path)}) == str(tmp_path)
    left = {int(path.stem.removeprefix("lab-")) for path in tmp_path.iterdir()}
    assert left == set(range(found - kept, found))


def test_logs_go_to_the_users_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert keeper_folder({}) == str(tmp_path / "nectar" / "leases")
    assert os.stat(keeper_folder({})).st_mode & 0o777 == 0o700
