# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a deploy refuses, what it does, and whose silence counts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.deployment_plans import (
    PlanError,
    Server,
    check_deployment,
    common_target,
    find_behind,
    full_deployment,
    make_plan,
    needed_releases,
    open_steps,
    plan_deployment,
    plan_rollback,
    promoted_deployments,
    promoted_release,
    step_failures,
)

APPLICATION: dict[str, Any] = {
    "processes": {"web": {"type": "web", "command": "serve {port}"}},
    "migrate": ["migrate"],
    "ready_path": "/readyz",
    "environment": {"COLOUR": "red", "DEBUG": 0},
    "secrets": ["key"],
}
SECRETS = {"database_password": "x" * 32, "key": "y" * 32}


def deployment(name: str = "production", **changes: Any) -> dict[str, Any]:
    """Return a deployment as the registry derives it."""
    return {
        "name": name,
        "application": "orders",
        "user": f"nb-{name}",
        "server_name": f"{name}.nectar.test",
        "url": f"https://{name}.nectar.test/",
        "ports": {"blue": 10002, "green": 10003},
        "hosts": ["app1", "app2"],
        "database": name,
        "database_role": name,
        "environment": {},
        **changes,
    }


def record(
    generation: int = 1, active: str = "blue", revision: str = "r1", release: str = "orders-1", **changes: Any
) -> dict[str, Any]:
    """Return a record as a host gives it."""
    content = {
        "release": release,
        "revision": revision,
        "server_name": "production.nectar.test",
        "ready_path": "/readyz",
    }
    slots = {"blue": None, "green": None, active: content}
    return {
        "deployment": "production",
        "active": active,
        "generation": generation,
        "promoted": None,
        "slots": slots,
        **changes,
    }


def info(releases: tuple[str, ...] = (), debian: str = "13", **records: Any) -> dict[str, Any]:
    """Return what a host says of itself."""
    return {
        "debian": debian,
        "machine": "x86_64",
        "records": records,
        "serves": dict.fromkeys(records, True),
        "releases": list(releases),
    }


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        pytest.param({"app1": None}, "no application server answered", id="nobody answers"),
        pytest.param(
            {"app1": info(), "app2": info(debian="12")},
            "application servers differ .app1: Debian 13 on x86_64, app2: Debian 12",
            id="two Debians",
        ),
        pytest.param({"app1": info(debian="11")}, "Debian 11 is not supported", id="too old"),
    ],
)
def test_no_target(servers: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        common_target({host: Server("192.0.2.21", found) for host, found in servers.items()})


def test_a_silent_server_has_no_say() -> None:
    assert common_target({"app1": Server("a", info()), "app2": Server("b", None)}).python == "3.13"


@pytest.mark.parametrize(
    ("changes", "secrets", "said"),
    [
        pytest.param({}, SECRETS, [], id="nothing wrong"),
        pytest.param(
            {"application": "ordres"},
            SECRETS,
            ["production: application ordres is not in the registry; known are orders"],
            id="no such application",
        ),
        pytest.param(
            {},
            {},
            ["production: secrets database_password, key are missing under deployments.production"],
            id="no secrets",
        ),
        pytest.param({"database": False}, {"key": "y"}, [], id="no database, no password"),
        pytest.param(
            {"environment": {"A": "{nmae}"}},
            SECRETS,
            ["production: environment A uses {nmae}"],
            id="its own environment counts",
        ),
        pytest.param(
            {"name": "sky-blue"}, SECRETS, ["sky-blue: the name ends like that of a slot"], id="called like a slot"
        ),
    ],
)
def test_check(changes: dict[str, Any], secrets: dict[str, str], said: list[str]) -> None:
    problems = check_deployment({**deployment(), **changes}, {"orders": APPLICATION}, secrets)
    assert len(problems) == len(said), problems
    assert all(problem.startswith(expected) for problem, expected in zip(problems, said, strict=True)), problems


BOTH = {"app1": Server("192.0.2.21", info()), "app2": Server("192.0.2.22", info())}


def test_a_deployment_overrides_its_application() -> None:
    full = full_deployment(deployment(environment={"COLOUR": "blue"}), APPLICATION, BOTH, "orders-1")
    assert full["environment"] == {"COLOUR": "blue", "DEBUG": "0"}
    assert full["addresses"] == {"app1": "192.0.2.21", "app2": "192.0.2.22"}


def test_without_a_web_process_there_is_nothing_to_ask() -> None:
    workers = {**APPLICATION, "processes": {"mail": {"type": "worker", "command": "mail"}}}
    assert full_deployment(deployment(), workers, BOTH, "orders-1")["ready_path"] == ""


def step(revision: str, servers: dict[str, Server], release: str = "orders-1") -> dict[str, Any]:
    """Plan the deployment for these servers."""
    return plan_deployment(full_deployment(deployment(), APPLICATION, servers, release), revision, servers, [])


CURRENT = {
    "app1": Server("a", info(("orders-1",), production=record())),
    "app2": Server("b", info(("orders-1",), production=record())),
}


def test_the_first_release_migrates_on_one_host() -> None:
    first = step("r1", BOTH)
    assert (first["hosts"], first["migrate_host"], first["slot"]) == (["app1", "app2"], "app1", "blue")


def test_what_is_current_stays() -> None:
    same = step("r1", CURRENT)
    assert (same["hosts"], same["migrate_host"]) == ([], None)
    assert make_plan([same], 2) == {
        "steps": {"production": same},
        "waves": [],
        "current": ["production"],
        "behind": {},
        "lines": [],
    }


def test_migration_happens_on_the_first_that_answers() -> None:
    half = {"app1": Server("a", None), "app2": CURRENT["app2"]}
    later = step("r2", half)
    assert (later["hosts"], later["migrate_host"], later["behind"]) == (["app2"], "app2", ["app1"])


def test_catching_up_migrates_nothing() -> None:
    returned = step("r1", {"app1": CURRENT["app1"], "app2": Server("b", info())})
    assert (returned["hosts"], returned["switches"], returned["migrate_host"]) == (["app2"], False, None)


BARE = Server("b", info())
AWAKE, ASLEEP = info(("orders-1",), production=record()), {**info(production=record()), "serves": {"production": False}}


@pytest.mark.parametrize(
    ("servers", "behind"),
    [
        pytest.param(CURRENT, {}, id="all alike"),
        pytest.param({"app1": BARE, "app2": BARE}, {}, id="all bare"),
        pytest.param({"app1": CURRENT["app1"], "app2": BARE}, {"production": ("app2",)}, id="one replaced"),
        pytest.param({"app1": CURRENT["app1"], "app2": Server("b", None)}, {}, id="one silent"),
        pytest.param({"app1": Server("a", AWAKE), "app2": Server("b", ASLEEP)}, {"production": ("app2",)}, id="asleep"),
        pytest.param(
            {"app1": CURRENT["app1"], "app2": Server("b", info(production=record(2, "green", "r2")))},
            {"production": ("app1",)},
            id="the newest is right",
        ),
    ],
)
def test_who_lacks_what_the_others_serve(servers: dict[str, Server], behind: dict[str, tuple[str, ...]]) -> None:
    assert find_behind({"production": deployment(), "staging": deployment("staging")}, servers) == behind


def test_the_release_that_serves_is_the_newest_records() -> None:
    newer = info(production=record(2, "green", "r2", "orders-2"))
    assert promoted_release("production", {"app1": CURRENT["app1"], "app2": Server("b", newer)}) == "orders-2"
    assert promoted_release("staging", CURRENT) == ""


def test_releases_go_where_they_are_missing() -> None:
    servers = {"app1": CURRENT["app1"], "app2": Server("b", info())}
    assert needed_releases([step("r2", servers)], servers) == {"orders-1": ["app2"]}
    assert needed_releases([step("r1", CURRENT)], CURRENT) == {}


def test_promoted_deployments_are_as_they_were_promoted() -> None:
    renamed = {"production": deployment(server_name="new.nectar.test"), "staging": deployment("staging")}
    infos = [{"records": {"production": record(1)}}, {"records": {"production": record(2, "green", "r2")}}]
    found = promoted_deployments(renamed, {"app1": "192.0.2.21"}, infos)
    assert [(entry["name"], entry["slot"], entry["revision"], entry["server_name"]) for entry in found] == [
        ("production", "green", "r2", "production.nectar.test")
    ]
    assert found[0]["addresses"] == {"app1": "192.0.2.21"}


STEP = {"name": "production", "hosts": ["app1", "app2"], "migrate_host": "app1", "ready_path": "/readyz"}
WELL, ILL = {"results": {"production": {}}}, {"results": {"production": {"error": "no"}}}


@pytest.mark.parametrize(
    ("answers", "asked", "failures"),
    [
        pytest.param({"app1": WELL, "app2": WELL}, "hosts", {}, id="all well"),
        pytest.param({"app1": WELL, "app2": ILL}, "hosts", {"production": "app2: no"}, id="one ill"),
        pytest.param(
            {"app1": WELL}, "hosts", {"production": "app2: stopped answering during the deploy"}, id="one silent"
        ),
        pytest.param(
            {"app1": WELL, "app2": {"skipped": True}},
            "hosts",
            {"production": "app2: stopped answering during the deploy"},
            id="one skipped",
        ),
        pytest.param({"app1": WELL, "app2": {"results": {}}}, "migrate_host", {}, id="only one owes an answer"),
        pytest.param(
            {"app2": {"results": {}}},
            "migrate_host",
            {"production": "app1: stopped answering during the deploy"},
            id="the one is silent",
        ),
        pytest.param({"lb1": WELL, "lb2": {"unreachable": True}}, "any", {}, id="one balancer is away"),
        pytest.param(
            {"lb1": {"unreachable": True}},
            "any",
            {"production": "no load balancer answered, so nothing was switched"},
            id="all balancers are away",
        ),
        pytest.param({"lb1": WELL, "lb2": ILL}, "any", {"production": "lb2: no"}, id="one balancer refuses"),
    ],
)
def test_failures(answers: dict[str, Any], asked: str, failures: dict[str, str]) -> None:
    assert step_failures([STEP], answers, asked) == failures


def both(**changes: Any) -> dict[str, Any]:
    """Return a record of which both slots hold something, green serving."""
    slots = record(2, "green", "r2", "orders-2")["slots"] | {"blue": record()["slots"]["blue"]}
    return record(2, "green", "r2", "orders-2", slots=slots, **changes)


def test_a_rollback_prepares_builds_and_migrates_nothing() -> None:
    full = full_deployment(deployment(), APPLICATION, {"app1": Server("a", None), "app2": Server("b", None)}, "")
    servers = {host: Server(host, info(("orders-1", "orders-2"), production=both())) for host in ("app1", "app2")}
    back = plan_rollback(full, servers, [], {}, "")
    assert (back["release"], back["revision"], back["slot"], back["generation"]) == ("orders-1", "r1", "blue", 3)
    assert (back["prepared"], back["migrate"], back["migrate_host"]) == (True, [], None)
    assert [(entry["opens"], entry["watched"]) for entry in back["steps"]] == [(["app1", "app2"], False)]
    assert needed_releases([back], servers) == {}


def test_a_replacement_goes_by_its_policy() -> None:
    policy = {"steps": [{"hosts": 1, "share": 5, "bake": 1}, {"hosts": "100%", "share": 100, "bake": 2}]}
    servers = {host: Server(host, info(production=record())) for host in ("app1", "app2")}
    full = full_deployment(deployment(rollout=policy), APPLICATION, servers, "orders-2")
    planned = plan_deployment(full, "r2", servers, [])
    assert [(entry["opens"], entry["share"], entry["bake"]) for entry in planned["steps"]] == [
        (["app1"], 5, 1),
        (["app2"], 100, 2),
    ]
    assert make_plan([planned], 2)["lines"][1] == "  1. 5 % of the requests on app1, watched for 1 s"


def test_what_the_gates_may_ask_of_a_server_comes_with_the_plan() -> None:
    found = {**info(production=record()), "free_memory": 210}
    full = full_deployment(
        deployment(share={"memory": 48}), APPLICATION, {"app1": Server("a", found), "app2": Server("b", None)}, "x"
    )
    planned = plan_deployment(
        full,
        "r2",
        {"app1": Server("a", found), "app2": Server("b", None)},
        [{"active": "blue", "generation": 1, "token": 9}],
    )
    assert planned["capacity"] == {"app1": {"serving": True, "free": 210, "takes": 48}}
    assert planned["floor"] == 9


def test_a_step_that_was_never_ended_is_found_by_the_furthest() -> None:
    step = {"name": "production", "slot": "blue", "generation": 4}
    left = {"index": 1, "slot": "green", "hosts": ["app1"], "share": 20, "generation": 3}
    notes = {"production": {"active": "blue", "generation": 2, "step": left}}
    first = {"production": {"active": "blue", "generation": 2, "step": {**left, "index": 0}}}
    assert open_steps([step], [{"traffic": first}, {"traffic": notes}, {}]) == [
        {"name": "production", "slot": "green", "generation": 3, "left": left}
    ]
    assert open_steps([step], [{"traffic": {"production": {"step": None}}}]) == []
