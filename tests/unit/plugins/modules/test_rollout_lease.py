# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leases are taken, given back and broken; etcd is a small server on the loopback."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user
from ansible_collections.nectar.backend.plugins.modules import rollout_lease
from ansible_collections.nectar.backend.tests.unit.plugins.modules.etcd_world import Asker

KEY = "/nectar/lab/lease/alice"
BOB = {"rollout": "laptop-1", "controller": "laptop:1", "why": "deploy"}
CAROL = {"rollout": "desk-2", "controller": "desk:2"}
ALICE = [{"name": "alice", "release": "orders-1", "hosts": ["app1"]}]


@pytest.fixture
def asker(json_server: Any, capsys: pytest.CaptureFixture[str]) -> Asker:
    return Asker(json_server, capsys)


def take(asker: Asker, check: bool = False, **arguments: Any) -> dict[str, Any]:
    return asker.run(rollout_lease, check, **{"deployments": ALICE, **BOB, **arguments})


def test_four_runs(asker: Asker) -> None:
    foreseen = take(asker, check=True)
    assert (foreseen["changed"], foreseen["results"]["alice"]["state"], asker.etcd.keys) == (True, "free", {})
    taken = take(asker)
    assert (taken["changed"], taken["diff"]) == (True, foreseen["diff"])
    held = taken["results"]["alice"]
    assert (held["state"], held["token"], held["person"]) == ("held", 101, session_user())
    assert (held["why"], held["release"], held["controller"]) == ("deploy", "orders-1", "laptop:1")
    assert asker.etcd.leases == {int(held["lease"]): 27}
    again = take(asker)
    assert (again["changed"], again["results"]["alice"]["token"]) == (False, 101)
    assert take(asker, check=True)["changed"] is False


def test_the_second_is_told_who_was_first(asker: Asker) -> None:
    take(asker)
    both = [*ALICE, {"name": "staging"}]
    for check in (True, False):
        refused = take(asker, check, deployments=both, **CAROL)["results"]
        assert refused["alice"]["state"] == "refused"
        assert f"alice is held by {session_user()} (from laptop:1) since 20" in refused["alice"]["error"]
        assert " s: deploy. Wait until it ends, or break it on the record" in refused["alice"]["error"]
        assert refused["staging"]["state"] == ("free" if check else "held")
    assert asker.etcd.value(KEY)["rollout"] == "laptop-1"


def test_an_answer_that_was_lost_is_no_refusal(asker: Asker) -> None:
    asker.etcd.loses_answer = True
    assert take(asker, etcd_addresses=["127.0.0.1", "localhost", "127.0.0.1"])["results"]["alice"]["state"] == "unknown"
    assert take(asker)["results"]["alice"]["token"] == 101


def test_the_token_is_above_what_hosts_know(asker: Asker) -> None:
    entry = {"name": "alice", "floor": 5000}
    assert take(asker, deployments=[entry])["results"]["alice"]["token"] == 5001


def test_what_is_given_back_is_free(asker: Asker) -> None:
    take(asker)
    assert (
        asker.run(rollout_lease, deployments=ALICE, state="absent", **CAROL)["results"]["alice"]["state"] == "refused"
    )
    assert take(asker, check=True, state="absent")["changed"] is True
    given = take(asker, state="absent")
    assert (given["changed"], given["results"]["alice"]["state"], asker.etcd.keys) == (True, "free", {})
    assert take(asker, state="absent")["changed"] is False
    assert take(asker, **CAROL)["results"]["alice"]["token"] > 101


def test_a_lease_that_nobody_renewed_is_free(asker: Asker) -> None:
    first = take(asker)["results"]["alice"]
    asker.etcd.expire(int(first["lease"]))
    assert take(asker, **CAROL)["results"]["alice"]["rollout"] == "desk-2"


def test_breaking_is_on_the_record(asker: Asker) -> None:
    take(asker)
    refused = asker.run(rollout_lease, deployments=ALICE, state="broken")
    assert (refused["failed"], KEY in asker.etcd.keys) == (True, True)
    assert "why: nothing was given" in refused["msg"]
    asker.run(rollout_lease, True, deployments=ALICE, state="broken", why="train")
    assert KEY in asker.etcd.keys
    broken = asker.run(rollout_lease, deployments=ALICE, state="broken", why="train")["results"]["alice"]
    assert (broken["state"], broken["holder"]["controller"], KEY in asker.etcd.keys) == ("broken", "laptop:1", False)
    (note,) = [asker.etcd.value(key) for key in asker.etcd.keys if "/history/alice/" in key]
    assert (note["why"], note["person"], note["holder"]["rollout"]) == ("train", session_user(), "laptop-1")
    assert asker.run(rollout_lease, deployments=ALICE, state="broken", why="train")["changed"] is False


def test_without_etcd_nothing_starts(asker: Asker) -> None:
    asker.etcd.silent = True
    result = take(asker, deployments=[*ALICE, {"name": "staging"}])
    assert (result["reachable"], result["changed"]) == (False, False)
    for name in ("alice", "staging"):
        assert result["results"][name]["state"] == "unknown"
        assert (
            f"{name}: nothing was started, for etcd keeps the leases and does not answer"
            in result["results"][name]["error"]
        )
    assert len(asker.server.asked) == 1


def test_the_way_back_works_without_etcd_on_the_record(asker: Asker) -> None:
    asker.etcd.silent = True
    result = take(asker, deployments=[{"name": "alice", "floor": 41}], override=True, why="5xx")["results"]["alice"]
    assert (result["state"], result["token"], result["override"]["why"]) == ("overridden", 42, "5xx")
    assert result["override"]["person"] == session_user()


def test_an_override_takes_nobody_s_lease(asker: Asker) -> None:
    take(asker)
    assert take(asker, override=True, **CAROL)["results"]["alice"]["state"] == "refused"


def test_a_name_that_is_none_is_refused(asker: Asker) -> None:
    result = take(asker, deployments=[{"name": "a/b"}])
    assert "deployment: 'a/b' is no name of the registry" in result["msg"]
    assert asker.server.asked == []
