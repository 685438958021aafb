# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a deploy refuses, what it does, and whose silence counts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.deployment_plans import (
    PlanError,
    Server,
    check_deployment,
    check_migration,
    common_target,
    find_behind,
    full_deployment,
    make_plan,
    needed_releases,
    one_application,
    open_steps,
    plan_deployment,
    plan_rollback,
    promoted_deployments,
    promoted_release,
    return_line,
    step_failures,
)
from ansible_collections.nectar.backend.plugins.module_utils.units import Limits

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


@pytest.mark.parametrize(
    ("application", "said"),
    [
        pytest.param({}, [], id="as all"),
        pytest.param({"migrate_lock_timeout": 9, "migrate_statement_timeout": 900}, [], id="as much as fits"),
        pytest.param({"migrate": [], "migrate_lock_timeout": 0}, [], id="nothing to migrate"),
        pytest.param(
            {"migrate_lock_timeout": 0},
            ["alice: migrate_lock_timeout is 0; expected at least 1"],
            id="a wait without end",
        ),
        pytest.param(
            {"migrate_lock_timeout": 10},
            ["alice: migrate_lock_timeout is 10; expected less than 10, after which the requests"],
            id="longer than requests bear",
        ),
        pytest.param(
            {"migrate_statement_timeout": 901},
            ["alice: migrate_statement_timeout is 901; expected at most 900"],
            id="longer than all together",
        ),
        pytest.param(
            {"migrate_lock_timeout": 8, "migrate_statement_timeout": 8},
            ["alice: migrate_lock_timeout is 8; expected less than 8, which the statement"],
            id="a wait as long as the statement",
        ),
    ],
)
def test_the_timeouts_of_a_migration_nest(application: dict[str, Any], said: list[str]) -> None:
    one = deployment("alice", share={"statement_timeout": 10})
    problems = check_migration(one, {**APPLICATION, **application}, Limits(192, 64, 30, 900))
    assert len(problems) == len(said), problems
    assert all(problem.startswith(expected) for problem, expected in zip(problems, said, strict=True)), problems


@pytest.mark.parametrize(
    ("applications", "is_named", "said"),
    [
        pytest.param({"alice": "orders", "bob": "orders"}, False, "say whose release it is", id="nobody named"),
        pytest.param(
            {"alice": "orders", "records": "ara"},
            True,
            r"2 applications \(alice runs orders, records runs ara\)",
            id="two",
        ),
    ],
)
def test_whom_a_given_source_is_not_for(applications: dict[str, str], is_named: bool, said: str) -> None:
    chosen = {name: deployment(name, application=application) for name, application in applications.items()}
    with pytest.raises(PlanError, match=said):
        one_application(chosen, is_named)


def test_a_given_source_is_for_deployments_of_one_application() -> None:
    assert one_application({"alice": deployment("alice"), "bob": deployment("bob")}, True) == "orders"


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
        pytest.param(
            {"lb1": WELL, "lb2": {"failed": True, "msg": "disk full"}},
            "any",
            {"production": "lb2: disk full"},
            id="one balancer can't",
        ),
    ],
)
def test_failures(answers: dict[str, Any], asked: str, failures: dict[str, str]) -> None:
    assert step_failures([STEP], answers, asked) == failures


def both(**changes: Any) -> dict[str, Any]:
    """Return a record of which both slots hold something, green serving and blue before it."""
    former = {**record()["slots"]["blue"], "max_connections": 32}
    slots = record(2, "green", "r2", "orders-2")["slots"] | {"blue": former}
    return record(2, "green", "r2", "orders-2", slots=slots, past=[former], **changes)


LEFT_BAD = both() | {"slots": both()["slots"] | {"blue": {"release": "orders-3", "revision": "r3"}}}
KEPT = {"production": both()["past"]}


@pytest.mark.parametrize(
    ("found", "kept", "is_held", "line"),
    [
        pytest.param(both(), {}, True, "back to revision r1, which slot blue still holds", id="in the other slot"),
        pytest.param(LEFT_BAD, KEPT, False, "back to revision r1, made anew from what the servers kept", id="kept"),
    ],
)
def test_a_rollback_builds_and_migrates_nothing(
    found: dict[str, Any], kept: dict[str, Any], is_held: bool, line: str
) -> None:
    full = full_deployment(deployment(), APPLICATION, {"app1": Server("a", None), "app2": Server("b", None)}, "")
    states = {**info(("orders-1", "orders-2"), production=found), "kept": kept}
    servers = {host: Server(host, states) for host in ("app1", "app2")}
    back = plan_rollback(full, servers, [], {}, "")
    assert (back["release"], back["revision"], back["slot"], back["generation"]) == ("orders-1", "r1", "blue", 3)
    assert (back["returns"], back["migrate"], back["migrate_host"]) == (True, [], None)
    assert (back["prepared"], back["kept"]) == (is_held, not is_held)
    assert [(entry["opens"], entry["watched"]) for entry in back["steps"]] == [(["app1", "app2"], False)]
    assert needed_releases([back], servers) == {}
    assert return_line(back) == f"production: {line}"
    assert back["max_connections"] == 32


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


ALLOWED = {"allow": [{"cron": "0 2 * * *", "duration": "2h"}]}


def careful(servers: dict[str, Server], gates: dict[str, Any], **application: Any) -> dict[str, Any]:
    """Plan a second release whose migration is not backward compatible."""
    one = deployment(rollout={"gates": gates, "shadow": True})
    changed = {**APPLICATION, "backward_compatible": False, **application}
    return plan_deployment(full_deployment(one, changed, servers, "orders-2"), "r2", servers, [])


def test_what_the_former_release_can_not_bear_needs_a_window_and_an_approval() -> None:
    planned = careful(CURRENT, {"window": ALLOWED})
    assert {"window", "approval"} <= planned["rollout"]["gates"].keys()
    assert not {"window", "approval"} & set(planned["rollout"]["shadow"])
    assert "it needs the window and an approval" in "\n".join(make_plan([planned], 2)["lines"])
    with pytest.raises(PlanError, match=r"production: rollout\.gates has no window"):
        careful(CURRENT, {})


@pytest.mark.parametrize(
    ("servers", "application"),
    [
        pytest.param(BOTH, {}, id="nothing serves yet"),
        pytest.param(CURRENT, {"migrate": []}, id="nothing migrates"),
        pytest.param(CURRENT, {"backward_compatible": True}, id="what serves bears it"),
    ],
)
def test_what_needs_no_care(servers: dict[str, Server], application: dict[str, Any]) -> None:
    planned = careful(servers, {}, **application)
    assert "approval" not in planned["rollout"]["gates"]
    assert "approval" not in "\n".join(make_plan([planned], 2)["lines"])


@pytest.mark.parametrize("servers", [pytest.param(BOTH, id="a first deploy"), pytest.param(CURRENT, id="a later one")])
def test_where_there_are_backups_a_migration_waits_for_a_proven_one_and_its_steps_do_not(
    servers: dict[str, Server],
) -> None:
    full = full_deployment(deployment(), APPLICATION, servers, "orders-2", backups=True)
    planned = plan_deployment(full, "r2", servers, [])
    assert "database" in planned["migration"]["gates"]
    assert "database" not in planned["rollout"]["gates"]
    assert "  its migration waits for a proven backup of the last 26 h" in make_plan([planned], 2)["lines"]
    said = make_plan([step("r2", servers)], 2)["lines"]
    assert "its migration" not in "\n".join(said)


def test_a_migration_with_care_waits_for_a_backup_as_well() -> None:
    one = deployment(rollout={"gates": {"window": ALLOWED}})
    full = full_deployment(one, {**APPLICATION, "backward_compatible": False}, CURRENT, "orders-2", backups=True)
    planned = plan_deployment(full, "r2", CURRENT, [])
    assert {"window", "approval", "database"} <= planned["migration"]["gates"].keys()


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
