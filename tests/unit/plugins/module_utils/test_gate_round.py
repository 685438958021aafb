# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at all gates: which are asked, what each is told, and how the waiting ends."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils import rollout_record
from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import Entry, decode
from ansible_collections.nectar.backend.plugins.module_utils.gate_command import CommandFacts
from ansible_collections.nectar.backend.plugins.module_utils.gate_database import DatabaseFacts
from ansible_collections.nectar.backend.plugins.module_utils.gate_prometheus import PrometheusFacts
from ansible_collections.nectar.backend.plugins.module_utils.gate_round import (
    Declared,
    Rollout,
    Store,
    World,
    judge_gates,
    read_rollout,
    settle_gates,
    sort_gates,
)
from ansible_collections.nectar.backend.plugins.module_utils.gates import GATES, GateError, Verdict, worst
from ansible_collections.nectar.backend.plugins.module_utils.rollout_policy import full_policy, resolve_steps

ALL: dict[str, Any] = {
    "window": {"deny": [{"cron": "0 0 * * *", "duration": "1h"}]},
    "approval": {},
    "capacity": {},
    "database": {},
    "prometheus": {"queries": [{"query": "up", "min": 1}]},
    "command": {"argv": ["/bin/true"]},
}
NOW = 12 * 3600.0
LEASE = {"person": "alice", "controller": "laptop", "since": "1970-01-01T11:59:00Z", "why": "a release"}
APPROVAL = {"person": "bob", "release": "", "until": "1970-01-01T13:00:00Z", "why": "seen"}
DECLARED = Declared(prometheus="http://192.0.2.41:9090", backups=True, backup=NOW)


def rollout(gates: dict[str, Any] | None = None, shadow: object = (), **more: Any) -> Rollout:
    policy = full_policy({"gates": gates if gates is not None else ALL, "shadow": list(shadow)})  # type: ignore[call-overload]
    return read_rollout(
        {
            "name": "alice",
            "policy": policy,
            "step": resolve_steps(policy, ["app1", "app2"])[0],
            "person": "alice",
            "token": 7,
            "hosts": ["app1", "app2"],
            "capacity": {"app1": {"serving": True, "free": 200, "takes": 64}},
            **more,
        }
    )


WELL = World(
    now=NOW,
    store=Store(None, {"alice": (LEASE, 7)}, {"alice": APPROVAL}),
    database=DatabaseFacts(False, free={"/": 50.0}, backups=True, backup_age=0.0),
    prometheus={"alice": PrometheusFacts([(1.0,)])},
    commands={"alice": CommandFacts(0)},
)
BEFORE = ("lease", "freeze", "window", "approval", "capacity", "database", "prometheus", "command")


def look(world: World, asked: Rollout | None = None, declared: Declared = DECLARED) -> dict[str, str]:
    found = asked or rollout()
    return {v.gate: v.verdict for v in judge_gates(found, sort_gates(found.policy, declared).asked, world)}


def test_every_gate_is_asked_in_its_order() -> None:
    assert look(WELL) == dict.fromkeys(BEFORE, "pass")
    assert {*BEFORE, "http", "compare"} == set(GATES)


NIGHT = replace(WELL, now=0.5 * 3600)


@pytest.mark.parametrize(
    ("world", "told"),
    [
        pytest.param(replace(WELL, store=Store(None, {}, {"alice": APPROVAL})), {"lease": "fail"}, id="no lease"),
        pytest.param(
            replace(WELL, store=Store(None, {"alice": (LEASE, 9)}, {"alice": APPROVAL})),
            {"lease": "fail"},
            id="another's",
        ),
        pytest.param(
            replace(WELL, store=Store({}, {"alice": (LEASE, 7)}, {"alice": APPROVAL})), {"freeze": "hold"}, id="frozen"
        ),
        pytest.param(replace(WELL, store=Store(None, {"alice": (LEASE, 7)})), {"approval": "hold"}, id="not approved"),
        pytest.param(
            replace(WELL, store="no member answered"),
            {"lease": "hold", "freeze": "hold", "approval": "hold"},
            id="etcd is silent",
        ),
        pytest.param(NIGHT, {"window": "hold"}, id="shut"),
        pytest.param(replace(WELL, database="refused"), {"database": "hold"}, id="PostgreSQL is silent"),
        pytest.param(replace(WELL, database=DatabaseFacts(True)), {"database": "hold"}, id="a standby"),
        pytest.param(
            replace(WELL, prometheus={"alice": PrometheusFacts([(0.0,)])}), {"prometheus": "fail"}, id="a figure is out"
        ),
        pytest.param(replace(WELL, commands={"alice": CommandFacts(1)}), {"command": "fail"}, id="the team's check"),
    ],
)
def test_each_gate_hears_of_its_own_source(world: World, told: dict[str, str]) -> None:
    assert look(world) == {**dict.fromkeys(BEFORE, "pass"), **told}


def test_capacity_hears_of_the_hosts() -> None:
    assert look(WELL, rollout(capacity={}))["capacity"] == "hold"
    assert look(WELL, rollout(capacity={"app1": {"serving": True, "free": 70, "takes": 64}}))["capacity"] == "hold"


def test_the_window_hears_of_an_override_and_of_the_beginning() -> None:
    override = {"person": "alice", "why": "orders are lost"}
    assert look(NIGHT, rollout(override=override))["window"] == "pass"
    gates = {"window": {"deny": [{"cron": "0 0 * * *", "duration": "1h", "overrun": True}]}}
    second = {"index": 1, "hosts": ["app1"], "share": 100, "bake": 30}
    assert look(NIGHT, rollout(gates, step=second, began="1969-12-31T23:59:00Z"))["window"] == "pass"
    assert look(NIGHT, rollout(gates, began="1969-12-31T23:59:00Z"))["window"] == "hold"


def test_without_a_token_it_is_asked_whether_the_lease_is_free() -> None:
    assert look(WELL, rollout(token=None))["lease"] == "hold"
    assert look(replace(WELL, store=Store()), rollout(gates={}, token=None)) == {"lease": "pass", "freeze": "pass"}


def test_what_waits_and_what_is_left_out_is_told() -> None:
    kinds = sort_gates(rollout().policy, Declared())
    assert kinds.asked == tuple(name for name in BEFORE if name != "prometheus")
    assert kinds.later == (
        "http: not yet measurable, for it needs the new release",
        "compare: not yet measurable, for it needs the new release",
    )
    assert kinds.left_out == (
        "database: the age of the last proven backup is left out, for the environment declares no backups",
        "prometheus: left out, for the environment declares no Prometheus",
    )
    assert sort_gates(rollout().policy, DECLARED).left_out == ()


def test_a_gate_with_an_address_of_its_own_needs_no_declaration() -> None:
    gates = {"prometheus": {**ALL["prometheus"], "url": "http://192.0.2.42:9090/"}}
    assert "prometheus" in sort_gates(rollout(gates).policy, Declared()).asked


def test_shadow_reports_and_does_not_block() -> None:
    found = rollout(shadow=["window"])
    verdicts = judge_gates(found, sort_gates(found.policy, DECLARED).asked, NIGHT)
    assert [v.gate for v in verdicts if v.shadow] == ["window"]
    assert worst(verdicts) == "pass"


def test_each_gate_may_have_a_deadline_of_its_own() -> None:
    found = rollout({"approval": {"deadline": 3600}, "capacity": {}})
    verdicts = [Verdict("approval", "hold", "a"), Verdict("capacity", "hold", "c")]
    assert [v.verdict for v in settle_gates(found, verdicts, 300, 300)] == ["hold", "fail"]
    assert [v.verdict for v in settle_gates(found, verdicts, 3600, 300)] == ["fail", "fail"]


def test_what_the_record_writes_is_what_gates_read() -> None:
    then = datetime.datetime.fromtimestamp(NOW - 60, datetime.UTC)
    keys = rollout_record.Keys("lab")
    lease = rollout_record.Claim("alice", "laptop", "a release", "orders-1", "r1", floor=6).value(then)
    held = rollout_record.lease_of(Entry(keys.of("lease", "alice"), lease, 3, 1)).token
    approval = rollout_record.approval_value({"why": "seen", "hours": 1}, "bob", then)
    asked = rollout({"approval": {}})
    assert look(
        replace(WELL, store=Store(None, {"alice": (lease, held)}, {"alice": approval})), asked
    ) == dict.fromkeys(("lease", "freeze", "approval"), "pass")
    written = rollout_record.freeze_change(keys, True, "bob", "television", then)["request_put"]["value"]
    frozen = judge_gates(asked, ["freeze"], replace(WELL, store=Store(json.loads(decode(written)))))[0]
    assert frozen.reason == "bob froze the environment at 1970-01-01 11:59 UTC: television"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        pytest.param({"policy": {"gates": {"widow": {}}}}, "Did you mean window?", id="an unknown gate"),
        pytest.param({"policy": {}}, "policy lacks its defaults", id="no policy"),
        pytest.param({"step": {}}, "expected index, hosts, share and bake", id="no step"),
        pytest.param({"step": {"index": 0, "hosts": 1}}, "expected index, hosts", id="a step that isn't resolved"),
    ],
)
def test_what_nobody_can_judge(more: dict[str, Any], said: str) -> None:
    with pytest.raises(GateError, match=said):
        rollout(**more)


def test_what_is_measured_later_is_refused_now() -> None:
    with pytest.raises(GateError, match="compare can't be asked before a step"):
        judge_gates(rollout(), ["compare"], WELL)
