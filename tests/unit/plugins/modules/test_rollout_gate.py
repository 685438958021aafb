# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gates before a step; etcd is a small server on the loopback, and `runuser` a stand-in that plays PostgreSQL."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils.rollout_policy import full_policy
from ansible_collections.nectar.backend.plugins.modules import rollout_gate

RUNUSER = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
if [ "$1" = psql ]; then cat > {place}/sql; cat {place}/state; else exec "$@"; fi
"""
LEASE = {"person": "alice", "controller": "laptop", "since": "2026-11-25T16:00:00Z", "why": "a release"}
FREEZE = {"person": "bob", "since": "2026-11-25T16:00:00Z", "why": "television"}


def decode(text: str) -> str:
    return base64.b64decode(text).decode()


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class World:
    """An environment whose etcd changes from look to look."""

    def __init__(
        self, place: Path, server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.place, self.server, self.capsys = place, server, capsys
        self.entries: dict[str, tuple[dict[str, Any], int]] = {"lease/alice": (LEASE, 7)}
        self.looks = 0
        self.then: Callable[[int], None] = lambda looks: None
        server.answer = self.answer
        runuser = place / "bin" / "runuser"
        runuser.parent.mkdir()
        runuser.write_text(RUNUSER.format(place=place))
        runuser.chmod(0o755)
        monkeypatch.setenv("PATH", f"{runuser.parent}:/usr/bin:/bin")
        (place / "data" / "pg_wal").mkdir(parents=True)
        self.database(standby=False, directory=str(place / "data"), replicas=[], transaction=None)

    def database(self, **state: Any) -> None:
        (self.place / "state").write_text(json.dumps(state))

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.startswith("/api/v1/query"):
            return 200, {"status": "success", "data": {"resultType": "scalar", "result": [0, "0.5"]}}
        self.looks += 1
        self.then(self.looks)
        responses = []
        for request in body["success"]:
            key = decode(request["request_range"]["key"])
            found = self.entries.get(key.removeprefix("/nectar/lab/"))
            kvs = [] if found is None else [
                {"key": encode(key), "value": encode(json.dumps(found[0])), "mod_revision": str(found[1])}
            ]  # fmt: skip
            responses.append({"response_range": {"kvs": kvs}})
        return 200, {"header": {"revision": "9"}, "succeeded": True, "responses": responses}

    def run(self, *deployments: dict[str, Any], check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "environment": "lab",
            "deployments": list(deployments) or [deployment()],
            "etcd_port": self.server.port,
            "etcd_ca_file": self.server.cert_file,
            "etcd_cert_file": self.server.cert_file,
            "etcd_key_file": self.server.key_file,
            "poll": 0,
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            rollout_gate.main()
        out = dict(json.loads(self.capsys.readouterr().out))
        assert out["changed"] is False
        return dict(out["results"])


def deployment(gates: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": "alice",
        "policy": full_policy({"gates": gates or {}}),
        "step": {"index": 0, "hosts": ["app1"], "share": 10, "bake": 30},
        "person": "alice",
        "token": 7,
        **more,
    }


@pytest.fixture
def world(
    tmp_path: Path, json_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> World:
    return World(tmp_path, json_server, capsys, monkeypatch)


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    return {verdict["gate"]: verdict["verdict"] for verdict in result["verdicts"]}


def test_defaults_pass_with_one_look(world: World) -> None:
    result = world.run()["alice"]
    assert (result["verdict"], verdicts(result)) == ("pass", {"lease": "pass", "freeze": "pass"})
    assert result["later"] == [
        "http: not yet measurable, for it needs the new release",
        "compare: not yet measurable, for it needs the new release",
    ]
    assert world.looks == 1
    assert not (world.place / "sql").exists(), "PostgreSQL is asked only when a gate needs it"


def test_it_waits_while_a_gate_holds(world: World) -> None:
    world.entries["freeze"] = (FREEZE, 8)
    world.then = lambda looks: world.entries.pop("freeze", None) if looks == 3 else None
    assert world.run()["alice"]["verdict"] == "pass"
    assert world.looks == 3


def test_waiting_ends_at_the_deadline(world: World) -> None:
    world.entries["freeze"] = (FREEZE, 8)
    result = world.run(deadline=0)["alice"]
    assert (result["verdict"], result["blames_release"]) == ("fail", False)
    assert (
        "bob froze the environment at 2026-11-25 16:00 UTC: television; waited 0 s" in result["verdicts"][1]["reason"]
    )


def test_a_lease_that_is_lost_ends_the_waiting(world: World) -> None:
    world.entries["freeze"] = (FREEZE, 8)
    world.then = lambda looks: world.entries.pop("lease/alice", None) if looks == 2 else None
    assert verdicts(world.run()["alice"]) == {"lease": "fail", "freeze": "hold"}


@pytest.mark.parametrize("arguments", [{"check": True}, {"measure": False}])
def test_one_look_does_not_wait(world: World, arguments: dict[str, Any]) -> None:
    world.entries["freeze"] = (FREEZE, 8)
    result = world.run(deployment(token=None), deadline=3600, **arguments)["alice"]
    assert verdicts(result) == {"lease": "hold", "freeze": "hold"}
    assert "alice on laptop holds the lease since 2026-11-25 16:00 UTC" in result["verdicts"][0]["reason"]
    assert world.looks == 1


def test_a_window_that_opens_too_late_is_not_waited_for(world: World) -> None:
    gates = {"window": {"deny": [{"cron": "* * * * *", "duration": "300d"}]}}
    result = world.run(deployment(gates), deadline=3600)["alice"]
    assert result["verdict"] == "fail"
    assert world.looks == 1


def test_every_source_is_read(world: World) -> None:
    gates = {
        "approval": {},
        "capacity": {},
        "database": {"disk": 1},
        "prometheus": {"queries": [{"query": 'errors{d="$deployment"}', "max": 1}]},
        "command": {"argv": ["/bin/sh", "-c", 'echo "$NECTAR_DEPLOYMENT $NECTAR_RELEASE $NECTAR_STEP $NECTAR_PERSON"']},
    }
    world.entries["approval/alice"] = ({"person": "bob", "until": "2999-01-01T00:00:00Z"}, 8)
    asked = deployment(
        gates,
        release="orders-1",
        capacity={"app1": {"serving": True, "free": 200, "takes": 64}},
    )
    declared = {"prometheus": f"https://127.0.0.1:{world.server.port}"}
    result = world.run(asked, declared=declared)["alice"]
    assert set(verdicts(result).values()) == {"pass"}, result
    said = {verdict["gate"]: verdict["reason"] for verdict in result["verdicts"]}
    assert said["command"] == "/bin/sh ended with 0: alice orders-1 0 alice"
    assert said["prometheus"] == 'errors{d="$deployment"} is 0.5'
    assert ("GET", "/api/v1/query?query=errors%7Bd%3D%22alice%22%7D", None) in world.server.asked
    assert "there is no replica; no transaction is open; " in said["database"]
    assert result["left_out"] == [
        "database: the age of the last proven backup is left out, for the environment declares no backups"
    ]


PROOF = {
    "label": "20261129-214501F", "backup_ended": 0.0, "proven": 0.0, "seconds": 9.1, "restore_seconds": 7.2, "databases": 3, "tables": 14,
    "rows": 2000, "server": "db1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("proof", "given", "verdict", "said"),
    [
        pytest.param({**PROOF, "backup_ended": 3600}, {}, "pass", "the last proven backup is 1.0 h old", id="fresh"),
        pytest.param({**PROOF, "backup_ended": 97200}, {}, "hold", "27.0 h old, over 26 h", id="old"),
        pytest.param(None, {}, "hold", "no backup is proven", id="no drill yet"),
        pytest.param({"label": "x"}, {}, "hold", "no backup is proven: ", id="unreadable"),
        pytest.param(None, {"backup": 7200}, "pass", "the last proven backup is 2.0 h old", id="told by the inventory"),
    ],
)
def test_a_declared_backup_is_as_old_as_its_proof_says(
    world: World, proof: dict[str, Any] | None, given: dict[str, float], verdict: str, said: str
) -> None:
    now = time.time()
    if proof is not None:
        ended = {"backup_ended": now - proof["backup_ended"]} if "backup_ended" in proof else {}
        (world.place / "proof.json").write_text(json.dumps({**proof, **ended}))
    declared = {"backups": True, "backup_file": str(world.place / "proof.json")}
    told = {name: now - seconds for name, seconds in given.items()}
    result = world.run(deployment({"database": {"disk": 1}}), measure=False, declared={**declared, **told})["alice"]
    assert result["left_out"] == []
    assert verdicts(result)["database"] == verdict
    assert said in next(found["reason"] for found in result["verdicts"] if found["gate"] == "database")


@pytest.mark.parametrize(
    ("argv", "timeout", "verdict", "said"),
    [
        pytest.param(["/bin/sh", "-c", "echo no; exit 1"], 5, "fail", "/bin/sh ended with 1: no", id="no"),
        pytest.param(["/bin/sleep", "30"], 1, "hold", "/bin/sleep did not end within 1 s", id="it hangs"),
        pytest.param(["/bin/gone"], 5, "fail", "/bin/gone ended with 127", id="it isn't there"),
    ],
)
def test_commands_end(world: World, argv: list[str], timeout: int, verdict: str, said: str) -> None:
    gates = {"command": {"argv": argv, "timeout": timeout}}
    result = world.run(deployment(gates), measure=False)["alice"]
    assert result["verdict"] == verdict
    assert said in result["verdicts"][-1]["reason"]


def test_silent_sources_hold(world: World) -> None:
    world.server.answer = lambda method, path, body: (503, {})
    (world.place / "state").write_text("")
    gates = {"database": {}, "prometheus": {"queries": [{"query": "up", "min": 1}]}}
    declared = {"prometheus": f"https://127.0.0.1:{world.server.port}"}
    result = world.run(deployment(gates), measure=False, declared=declared)["alice"]
    assert verdicts(result) == dict.fromkeys(("lease", "freeze", "database", "prometheus"), "hold")
    assert "etcd is silent: " in result["verdicts"][0]["reason"]


def test_deployments_do_not_stop_each_other(world: World) -> None:
    world.entries |= {"lease/bob": ({"person": "bob"}, 9), "lease/carol": ({"person": "carol"}, 11)}
    results = world.run(
        deployment(),
        deployment(name="bob", token=8),
        deployment(name="carol", token=11),
        deployment(name="dave", policy={"gates": {"widow": {}}}),
    )
    assert {name: result["verdict"] for name, result in results.items()} == {
        "alice": "pass",
        "bob": "fail",
        "carol": "pass",
        "dave": "fail",
    }
    assert "Did you mean window?" in results["dave"]["error"]
    assert world.looks == 1


def test_many_deployments_are_read_at_once(world: World) -> None:
    names = [f"member{index}" for index in range(70)]
    world.entries |= {f"lease/{name}": (LEASE, index + 1) for index, name in enumerate(names)}
    results = world.run(*(deployment(name=name, token=index + 1) for index, name in enumerate(names)))
    assert {result["verdict"] for result in results.values()} == {"pass"}
    assert world.looks == 2
