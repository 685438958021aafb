# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One budget: what fits is shared out, what doesn't is refused with the numbers and two ways out."""

from __future__ import annotations

import copy
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nectar.backend.plugins.module_utils.budget import (
    Budget,
    Server,
    Settings,
    plan_budget,
    plan_timeouts,
)
from ansible_collections.nectar.backend.plugins.module_utils.budget_database import (
    BACKEND,
    HASH_MULTIPLIER,
    Room,
    bound_pools,
    capacity,
    needed_memory,
    parameters,
    wal_parameters,
)
from ansible_collections.nectar.backend.plugins.module_utils.budget_tables import budget_table
from ansible_collections.nectar.backend.plugins.module_utils.registry import RegistryError, Surroundings, read_registry
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Report

INVENTORIES = Path(__file__).parents[4] / "inventories"
ORDERS = {"processes": {"web": {"type": "web", "memory": 52, "threads": 4}}}
SERVED = {
    "processes": {
        "web": {"type": "web", "memory": 100, "workers": 3, "threads": 2},
        "mail": {"type": "worker", "memory": 40, "workers": 2},
        "tidy": {"type": "timer", "memory": 30},
    }
}
APPLICATIONS = {"orders": ORDERS, "served": SERVED, "mailer": {"processes": {"mail": {"type": "worker"}}}}


def deployments(number: int, hosts: list[str], application: str = "orders", **own: Any) -> dict[str, dict[str, Any]]:
    """So many deployments that run on the same servers."""
    return {f"{application}-{index}": {"application": application, "hosts": hosts, **own} for index in range(number)}


def plan(servers: list[Server], runs: dict[str, Any], settings: Settings | None = None) -> Budget:
    """Plan, and have no problem with it."""
    report = Report()
    budget = plan_budget(report, servers, runs, APPLICATIONS, settings or Settings())
    assert [str(problem) for problem in report.problems] == []
    return budget


def refused(servers: list[Server], runs: dict[str, Any]) -> list[str]:
    """Plan what can't hold."""
    report = Report()
    assert plan_budget(report, servers, runs, APPLICATIONS, Settings()) == Budget()
    return [str(problem) for problem in report.problems]


def app(memory: int | None, name: str = "app1", cores: int = 2) -> Server:
    return Server(name, ("app_servers",), memory, cores)


def db(memory: int, name: str = "db1", wal: int = 512) -> Server:
    return Server(name, ("database_servers",), memory, 2, wal)


# Workers, threads and memory


@pytest.mark.parametrize(
    ("servers", "runs", "workers", "memory"),
    [
        pytest.param([app(4000)], deployments(1, ["app1"]), 5, 268, id="alone: 2 x cores + 1"),
        pytest.param([app(4000, cores=4)], deployments(3, ["app1"]), 3, 164, id="shared by all of a server"),
        pytest.param([app(4000)], deployments(10, ["app1"]), 1, 60, id="one at least"),
        pytest.param([app(400)], deployments(1, ["app1"]), 2, 112, id="as memory holds, with the slot beside it"),
        pytest.param([app(4000), app(400, "app2")], deployments(1, ["app1", "app2"]), 2, 112, id="the same everywhere"),
        pytest.param([app(4000)], deployments(1, ["app1"], workers=7), 7, 372, id="the deployment's own number"),
        pytest.param([app(4000)], deployments(1, ["app1"], "served"), 3, 418, id="the application's own number"),
        pytest.param([app(4000)], deployments(1, ["app1"], "mailer"), 0, 136, id="no web process"),
    ],
)
def test_workers(servers: list[Server], runs: dict[str, Any], workers: int, memory: int) -> None:
    (share,) = {name: share for name, share in plan(servers, runs).shares.items() if name.endswith("-0")}.values()
    assert (share["workers"], share["memory"]) == (workers, memory)


def test_each_process_has_its_memory_and_every_connection_counts() -> None:
    share = plan([app(4000)], deployments(1, ["app1"], "served")).shares["served-0"]
    assert share["memory_max"] == {"web": 300, "mail": 80, "tidy": 30}
    assert share["pool_size"] == 3 * 2 + 2 + 1


def test_a_host_holds_every_slot_and_the_largest_once_more() -> None:
    runs = deployments(3, ["app1"]) | deployments(1, ["app1"], "served")
    figures = plan([app(1200)], runs).figures["app_servers"]["app1"]
    values = {name: figure["value"] for name, figure in figures.items()}
    assert values["slots"] == 3 * 60 + 418
    assert (values["extra"], values["spare"], values["room"]) == (418, 1200 - 144 - 598 - 418, 1200 - 144 - 598)


# Connections


@pytest.mark.parametrize(
    ("pools", "connections", "bound"),
    [
        pytest.param({4: 20}, 100, 4, id="room for all"),
        pytest.param({4: 20}, 52, 2, id="the same for all"),
        pytest.param({4: 3, 9: 1}, 18, 6, id="the small ones in full"),
        pytest.param({4: 20}, 20, 1, id="one each"),
        pytest.param({4: 20}, 19, 0, id="not even one each"),
        pytest.param({4: 20}, -3, 0, id="nothing left"),
    ],
)
def test_pools_share_what_there_is(pools: dict[int, int], connections: int, bound: int) -> None:
    assert bound_pools(pools, connections) == bound


def test_connections_are_those_of_all_pools_and_a_reserve() -> None:
    servers = [app(2000), app(2000, "app2"), db(2000)]
    budget = plan(servers, deployments(3, ["app1", "app2"]) | deployments(2, ["app2"], "mailer"))
    pooled = sum(figures["pools"]["value"] for figures in budget.figures["app_servers"].values())
    assert pooled == 3 * 4 * 2 + 2
    assert budget.figures["database"]["max_connections"]["value"] == 50  # 26 + 2 x 3 + 6 + 5 = 43, in tens
    assert budget.shares["orders-0"]["connection_limit"] == 2 * 4 * 2 + 3


def test_without_a_database_nothing_bounds_the_pools() -> None:
    budget = plan([app(2000)], deployments(1, ["app1"]))
    assert (budget.figures["database"], budget.shares["orders-0"]["pool_size"]) == ({}, 20)


# PostgreSQL: what must hold for any size

SIZES = [
    (memory, cores, pools)
    for memory in (200, 256, 676, 3724, 16_000, 250_000)
    for cores in (1, 2, 8, 64)
    for pools in (1, 20, 200)
]


@pytest.mark.parametrize(("memory", "cores", "pools"), SIZES)
def test_postgresql_never_takes_more_than_it_has(memory: int, cores: int, pools: int) -> None:
    room = Room(memory, cores, 512)
    most = capacity(room)
    if most < pools:
        assert needed_memory(pools, cores) > memory
        return
    found = {name: entry["value"] for name, entry in parameters(room, {"pools": pools}, most).items()}
    assert pools <= found["max_connections"] <= most
    each = (BACKEND + HASH_MULTIPLIER * found["work_mem"]) / 1024
    taken = found["shared_buffers"] + found["wal_buffers"] + found["maintenance_work_mem"]
    taken += found["autovacuum_max_workers"] * found["autovacuum_work_mem"]
    taken += (found["max_connections"] + found["max_parallel_workers"]) * each
    assert taken <= memory
    assert found["shared_buffers"] <= found["effective_cache_size"] <= memory
    assert found["work_mem"] >= 256


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize("connections", [1, 37, 500])
def test_the_memory_that_is_named_is_the_least_that_holds(connections: int, cores: int) -> None:
    memory = needed_memory(connections, cores)
    assert capacity(Room(memory, cores, 512)) >= connections > capacity(Room(memory - 1, cores, 512))


@pytest.mark.parametrize("wal", [256, 300, 512, 2048, 100_000, 1_000_000])
def test_the_log_fits_its_filesystem(wal: int) -> None:
    found = {name: entry["value"] for name, entry in wal_parameters(wal).items()}
    assert all(value % 16 == 0 for value in found.values())
    # What is kept, or held back by a slot, and two checkpoints' worth where one is late.
    assert max(found["wal_keep_size"], found["max_slot_wal_keep_size"]) + 2 * found["max_wal_size"] <= wal
    assert 32 <= found["min_wal_size"] < found["max_wal_size"] < found["wal_keep_size"]
    # The lead moves in each segment: two copies of all that is kept, those made beforehand, and the one that is written.
    assert 2 * found["wal_keep_size"] + found["min_wal_size"] + 2 * 16 <= wal * 7 / 8


# Timeouts


@pytest.mark.parametrize("request_timeout", [6, 7, 30, 31, 480])
def test_the_inner_one_gives_up_first(request_timeout: int) -> None:
    found = {name: entry["value"] for name, entry in plan_timeouts(request_timeout).items()}
    assert 0 < found["migration_lock"] < found["statement"] < found["worker"]
    assert found["statement"] + found["query_wait"] < found["worker"] < found["server"] < found["client"]
    assert found["idle_transaction"] <= found["worker"] <= found["stop"]


# What can't hold


@pytest.mark.parametrize(
    ("servers", "runs", "said"),
    [
        pytest.param(
            [app(944)],
            deployments(13, ["app1"]),
            [
                "server app1: memory is 944 MiB, and 984 are needed: 144 for the system and services, 780 for the slots of 13 deployments, "
                "60 for the largest slot once more; expected room for every slot, and for one more while a deployment changes slots. "
                "Raise the server's memory to 984M, or keep 1 of the 13 deployments of orders off it (60 MiB each), by `servers` in their entries."
            ],
            id="slots",
        ),
        pytest.param(
            [app(4000), db(200)],
            deployments(3, ["app1"]),
            [
                "server db1: memory is 200 MiB, of which PostgreSQL gets 8: that holds 0 connections, and 17 are needed, 14 beside the pools "
                "and one for each of 3 pools (a deployment on an application server each); expected a connection for every pool. "
                "Raise the memory of db1 to 307M, or give the smallest of them less else to run: groups, deployments, or reserves in the section budget."
            ],
            id="connections, and none beside the reserve",
        ),
        pytest.param(
            [app(16000), db(400)],
            deployments(40, ["app1"]),
            [
                "server db1: memory is 400 MiB, of which PostgreSQL gets 208: that holds 51 connections, and 54 are needed, 14 beside the pools "
                "and one for each of 40 pools (a deployment on an application server each); expected a connection for every pool. "
                "Raise the memory of db1 to 407M, or do without 3 pools, by fewer `servers` in the entries of deployments."
            ],
            id="connections",
        ),
        pytest.param(
            [app(None), db(2000, wal=128)],
            deployments(3, ["app1"]),
            ["server app1: memory is missing", "server db1: wal is 128 MiB; expected at least 256"],
            id="all that a server lacks",
        ),
        pytest.param(
            [Server("one", ("app_servers", "ops_servers"), 300)],
            {},
            ["server one: memory is 300 MiB, and the system and the services of app_servers, ops_servers take 400"],
            id="not even the services",
        ),
    ],
)
def test_refused(servers: list[Server], runs: dict[str, Any], said: list[str]) -> None:
    found = refused(servers, runs)
    assert len(found) == len(said)
    for problem, expected in zip(found, said, strict=True):
        assert problem.startswith(expected), problem


ROLES = ("loadbalancers", "app_servers", "database_servers", "ops_servers")


@pytest.mark.parametrize(
    ("groups", "memory", "number"),
    [
        pytest.param(("app_servers",), 700, 40, id="an application server"),
        pytest.param(ROLES, 900, 40, id="one host for everything"),
        pytest.param(ROLES, 800, 1, id="one host for everything, and one deployment"),
    ],
)
def test_both_ways_out_lead_out(groups: tuple[str, ...], memory: int, number: int) -> None:
    runs = deployments(number, ["one"])
    (problem,) = refused([Server("one", groups, memory)], runs)
    raised = int(re.findall(r"memory to (\d+)M", problem)[0])
    plan([Server("one", groups, raised)], runs)
    assert refused([Server("one", groups, raised - 1)], runs)
    leaving = [int(found) for found in re.findall(r"or keep (\d+) of", problem)]
    assert leaving or "or have its slots take" in problem
    for few in leaving:
        plan([Server("one", groups, memory)], deployments(number - few, ["one"]))


def test_both_ways_out_of_too_few_connections_lead_out() -> None:
    (problem,) = refused([app(16000), db(400)], deployments(40, ["app1"]))
    raised, fewer = map(int, re.findall(r"(\d+)M, or do without (\d+) pools", problem)[0])
    plan([app(16000), db(raised)], deployments(40, ["app1"]))
    assert refused([app(16000), db(raised - 1)], deployments(40, ["app1"]))
    plan([app(16000), db(400)], deployments(40 - fewer, ["app1"]))
    assert refused([app(16000), db(400)], deployments(41 - fewer, ["app1"]))


# The project's own inventories


def registry(*sources: str) -> dict[str, Any]:
    """One mapping of an environment's sources, as the inventory plugin would see them."""
    data: dict[str, Any] = {}
    for source in sources:
        text = (INVENTORIES / source).read_text()
        data |= yaml.safe_load(re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", text))
    return data


def read(data: dict[str, Any]) -> dict[str, Any]:
    return read_registry(data, Surroundings(options=("plugin",))).variables


LAB = registry("lab/members.yml", "lab/ha/servers.yml")
SINGLE = registry("lab/members.yml", "lab/single/servers.yml")
STATIC = registry("static/members.yml")


@pytest.mark.parametrize(
    "data", [pytest.param(LAB, id="ha"), pytest.param(SINGLE, id="single"), pytest.param(STATIC, id="static")]
)
def test_the_projects_own_inventories_fit(data: dict[str, Any]) -> None:
    variables = read(data)
    figures = {name: entry["value"] for name, entry in variables["budget"]["database"].items()}
    assert figures["shared_buffers"] + figures["max_connections"] * figures["work_mem"] / 1024 <= figures["memory"]
    assert figures["max_wal_size"] + figures["wal_keep_size"] < min(
        512 if "wal" not in entry else 8192 if entry["wal"] == "8G" else 512
        for entry in data["servers"].values()
        if "database_servers" in entry["groups"]
    )
    assert all("share" in entry for entry in variables["deployments"].values())


def test_the_eighth_member_of_the_lab_is_refused() -> None:
    data = copy.deepcopy(LAB)
    data["members"]["helen"] = {"number": 8}
    with pytest.raises(RegistryError) as caught:
        read(data)
    app1, app2 = map(str, caught.value.problems)
    assert app1.startswith("server app1: memory is 944 MiB, and 992 are needed:")
    assert "Raise the server's memory to 992M, or keep 1 of the 10 deployments of orders off it (56 MiB each)" in app1
    assert app2.startswith("server app2:")
    # Both ways out.
    larger = copy.deepcopy(data)
    for name in ("app1", "app2"):
        larger["servers"][name]["memory"] = "992M"
    read(larger)
    data["members"]["helen"]["servers"] = ["app1"]
    data["members"]["alice"]["servers"] = ["app2"]
    read(data)


def crowd(members: int, memory: str) -> dict[str, Any]:
    """The example for real servers with many members, on servers of this size."""
    data = copy.deepcopy(STATIC)
    data["members"] |= {f"member{number}": {"number": number} for number in range(1000, 1000 + members)}
    for entry in data["servers"].values():
        entry |= {"memory": memory, "cores": 8}
    return data


def test_two_hundred_members_plan_in_seconds() -> None:
    data = crowd(200, "16G")
    began = time.process_time()
    variables = read(data)
    assert time.process_time() - began < 5
    assert variables["budget"]["database"]["max_connections"]["value"] >= 406
    assert all(entry["share"]["pool_size"] >= 1 for entry in variables["deployments"].values())


def test_two_hundred_members_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RegistryError) as caught:
        read(crowd(200, "8G"))
    for problem in map(str, caught.value.problems):
        assert re.search(r"memory is 8192 MiB, and \d+ are needed", problem)
        assert re.search(
            r"Raise the server's memory to \d+M, or keep \d+ of the \d+ deployments of orders off it", problem
        )


# What people see


def test_the_table_has_a_reason_for_everything() -> None:
    variables = read(LAB)
    shares = {name: entry["share"] for name, entry in variables["deployments"].items()}
    head, *lines = budget_table(variables["budget"], shares).splitlines()
    assert head.split() == ["for", "setting", "value", "reason"]
    assert all(len(re.split(r"  +", line)) == 4 for line in lines), lines
    assert any(line.startswith("production, staging and 7 more  workers") for line in lines)


def test_order_does_not_matter() -> None:
    shuffled = copy.deepcopy(LAB)
    names = list(shuffled["servers"])
    random.Random(7).shuffle(names)
    shuffled["servers"] = {name: LAB["servers"][name] for name in names}
    assert read(shuffled)["budget"]["database"] == read(LAB)["budget"]["database"]
