# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""State of rollouts is read and written; etcd is a small server on the loopback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.rollout_record import KEPT
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user
from ansible_collections.nectar.backend.plugins.modules import rollout_state
from ansible_collections.nectar.backend.tests.unit.plugins.modules.etcd_world import Asker

ROOT = "/nectar/lab/"
LEASE = {
    "person": "bob",
    "controller": "laptop:1",
    "since": "2026-11-25T17:30:00Z",
    "why": "deploy",
    "release": "orders-1",
    "rollout": "laptop-1",
}
GOOD = {"release": "orders-1", "revision": "aaa"}


@pytest.fixture
def asker(json_server: Any, capsys: pytest.CaptureFixture[str]) -> Asker:
    return Asker(json_server, capsys)


@pytest.fixture
def token(asker: Asker) -> int:
    return asker.etcd.write(f"{ROOT}lease/alice", LEASE, 99)


def write(asker: Asker, token: int, check: bool = False, **entry: Any) -> dict[str, Any]:
    return asker.run(rollout_state, check, deployments=[{"name": "alice", "token": token, **entry}])


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"record": {"id": "1", "phase": "step"}}, id="record"),
        pytest.param({"good": GOOD}, id="good"),
        pytest.param({"bad": {**GOOD, "reason": "slow"}}, id="bad"),
        pytest.param(
            {"record": {"id": "1"}, "good": GOOD, "bad": {**GOOD, "revision": "b", "reason": "slow"}}, id="all"
        ),
    ],
)
def test_four_runs(asker: Asker, token: int, entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_state, "now", lambda: datetime(2026, 11, 25, 17, 30, tzinfo=UTC))
    before = dict(asker.etcd.keys)
    foreseen = write(asker, token, check=True, **entry)
    assert (foreseen["changed"], asker.etcd.keys) == (True, before)
    written = write(asker, token, **entry)
    assert (written["changed"], written["diff"]) == (True, foreseen["diff"])
    assert asker.etcd.keys != before
    assert write(asker, token, **entry)["changed"] is False
    assert write(asker, token, check=True, **entry)["changed"] is False


def test_what_was_written_is_told(asker: Asker, token: int) -> None:
    result = write(asker, token, record={"id": "1"}, bad={**GOOD, "reason": "slow"})
    alice = result["results"]["alice"]
    assert (alice["record"], alice["lease"]["token"]) == ({"id": "1", "token": token}, token)
    assert alice["record_revision"] == asker.etcd.revision
    assert result["bad"] == {"alice": {"aaa": "slow"}}
    assert result["table"][1].startswith("alice       bob      laptop:1  2026-11-25 17:30:00")
    assert asker.run(rollout_state)["results"] == result["results"]


def test_who_lost_the_lease_writes_nothing(asker: Asker, token: int) -> None:
    before = dict(asker.etcd.keys)
    result = write(asker, token - 1, record={})
    assert "alice: its lease is held by bob" in result["results"]["alice"]["error"]
    assert (result["changed"], asker.etcd.keys) == (False, before)


def test_a_conflict_is_refused(asker: Asker, token: int) -> None:
    seen = write(asker, token, expected=0, record={"phase": "one"})["results"]["alice"]["record_revision"]
    write(asker, token, expected=seen, record={"phase": "two"})
    late = write(asker, token, expected=seen, record={"phase": "three"})["results"]["alice"]
    assert "its record was written by somebody else meanwhile" in late["error"]
    assert late["record"]["phase"] == "two"


def test_one_that_fails_leaves_the_others_alone(asker: Asker, token: int) -> None:
    entries = [{"name": "staging", "token": 1, "record": {}}, {"name": "alice", "token": token, "record": {"a": 1}}]
    result = asker.run(rollout_state, deployments=entries)["results"]
    assert "staging: nobody holds its lease" in result["staging"]["error"]
    assert result["alice"]["record"] == {"a": 1, "token": token}


def test_finished_rollouts_go_to_the_history(asker: Asker, token: int) -> None:
    for number in range(KEPT + 5):
        write(asker, token, record={"number": number})
        write(asker, token, finished={"result": "promoted"})
    told = asker.run(rollout_state, names=["alice"], history=True)["results"]["alice"]
    assert told["record"] is None
    assert [entry["number"] for entry in told["history"]] == list(range(5, KEPT + 5))
    assert (told["history"][-1]["result"], told["history"][-1]["event"]) == ("promoted", "rollout")


def test_an_environment_is_frozen_and_goes_on(asker: Asker) -> None:
    for check in (True, False):
        assert asker.run(rollout_state, check, frozen=True, why="sale")["changed"] is True
    frozen = asker.run(rollout_state, frozen=True, why="sale")
    assert (frozen["changed"], frozen["freeze"]["person"], frozen["freeze"]["why"]) == (False, session_user(), "sale")
    assert "why: nothing was given" in asker.run(rollout_state, frozen=True)["msg"]
    gone = asker.run(rollout_state, frozen=False)
    assert (gone["changed"], gone["freeze"]) == (True, None)
    assert asker.run(rollout_state, frozen=False)["changed"] is False


def test_an_approval_needs_no_lease(asker: Asker) -> None:
    given = asker.run(
        rollout_state, deployments=[{"name": "alice", "approval": {"why": "seen", "release": "orders-1"}}]
    )
    approval = given["results"]["alice"]["approval"]
    assert (approval["person"], approval["release"], approval["why"]) == (session_user(), "orders-1", "seen")
    taken = asker.run(rollout_state, deployments=[{"name": "alice", "approval": False}])
    assert (taken["changed"], taken["results"]["alice"]["approval"]) == (True, None)


def test_silence_is_told_and_writes_nothing(asker: Asker) -> None:
    asker.etcd.silent = True
    result = asker.run(rollout_state, names=["alice"])
    assert (result["reachable"], "freeze" in result, result["changed"]) == (False, False, False)
    assert "alice: etcd does not answer" in result["results"]["alice"]["error"]
    assert asker.run(rollout_state)["results"] == {}
    assert "Nothing was written, for etcd does not answer" in asker.run(rollout_state, frozen=True, why="sale")["msg"]


def test_impossible_input_is_refused_before_etcd_is_asked(asker: Asker) -> None:
    assert "good: revision is missing" in write(asker, 1, good={"release": "orders-1"})["msg"]
    assert asker.server.asked == []
