# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must be proven in an environment, from where, and which paths must be open or shut: as the module itself accepts it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import parse_request
from ansible_collections.nectar.backend.plugins.module_utils.environment_endpoints import (
    make_environment,
    plan_connections,
    plan_proof,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError

PORTS = {
    "ssh": 22, "https": 443, "names": 53, "postgresql": 5432, "patroni": 8008, "etcd": 2379,
    "etcd_members": 2380, "identity": 8010, "pooler": 6432, "primary": 5433,
}  # fmt: skip
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBeLWUTQ0jCU9pHpDNoUlOlWN7z+ktUTBdMc9cVhY7QX"


def server(name: str, number: int, **more: Any) -> dict[str, Any]:
    addresses = [f"192.0.2.{number}", f"2001:db8::{number}"]
    return {
        "name": name,
        "bind": addresses,
        "connect": addresses,
        "advertise": addresses[0],
        "host_keys": [KEY],
        **more,
    }


def deployment(name: str, number: int, hosts: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "member": name,
        "hosts": hosts,
        "ports": {"blue": number, "green": number + 1},
        "server_name": f"{name}.example.org",
        "database": name,
        "database_role": name,
    }


def known(**more: Any) -> dict[str, Any]:
    """Two load balancers, two application servers, two database servers, one for operations; two deployments."""
    hosts = ["app1", "app2"]
    return {
        "servers": [
            server(name, 11 + place) for place, name in enumerate(["lb1", "lb2", "app1", "app2", "db1", "db2", "ops1"])
        ],
        "groups": {
            "all": ["lb1", "lb2", "app1", "app2", "db1", "db2", "ops1"],
            "loadbalancers": ["lb1", "lb2"],
            "app_servers": hosts,
            "database_servers": ["db1", "db2"],
            "ops_servers": ["ops1"],
        },
        "deployments": {"alice": deployment("alice", 10002, hosts), "bob": deployment("bob", 10004, hosts)},
        "secrets": {"alice": {"database_password": "a" * 32}, "bob": {"database_password": "b" * 32}},
        "primary_name": "primary.example.org",
        "ports": PORTS,
        "ca_files": {"controller": "/state/ca.crt", "servers": "/etc/ca.crt"},
        "virtual_addresses": ["192.0.2.10"],
        "name_servers": ["192.0.2.17"],
        **more,
    }


SINGLE = known(
    servers=[server("one", 51)],
    groups={name: ["one"] for name in ("all", "loadbalancers", "app_servers", "database_servers", "ops_servers")},
    deployments={"alice": deployment("alice", 10002, ["one"]), "bob": deployment("bob", 10004, ["one"])},
    virtual_addresses=[],
    name_servers=[],
)


def paths(plan: dict[str, Any], viewpoint: str) -> dict[str, dict[str, bool]]:
    found: dict[str, dict[str, bool]] = {}
    for path in plan["paths"]:
        if path["viewpoint"] == viewpoint:
            found.setdefault(path["service"], {})[path["target"]] = path["must"]
    return found


@pytest.mark.parametrize(
    ("viewpoint", "service", "expected"),
    [
        pytest.param("controller", "ssh", dict.fromkeys(["lb1", "lb2", "app1", "app2", "db1", "db2", "ops1"], True), id="the controller gets in everywhere"),
        pytest.param("ops1", "ssh", dict.fromkeys(["lb1", "lb2", "app1", "app2", "db1", "db2"], True), id="the jump host leads everywhere"),
        pytest.param("db1", "ssh", None, id="of other servers' SSH nothing is said"),
        pytest.param("controller", "postgresql", {"db1": False, "db2": False}, id="the controller stays out of databases"),
        pytest.param("lb1", "postgresql", {"db1": False, "db2": False}, id="and so do load balancers"),
        pytest.param("app1", "postgresql", {"db1": True, "db2": True}, id="application servers reach each database server"),
        pytest.param("db1", "postgresql", {"db2": True}, id="database servers reach each other"),
        pytest.param("app1", "patroni", {"db1": True, "db2": True}, id="who follows the primary may ask who leads"),
        pytest.param("app1", "etcd", {"db1": False, "db2": False}, id="etcd is the database servers' own"),
        pytest.param("db2", "etcd_members", {"db1": True}, id="and its members' too"),
        pytest.param("controller", "slots", {"app1": False, "app2": False}, id="slots are shut to the controller"),
        pytest.param("app1", "slots", {"app2": False}, id="and to other application servers"),
        pytest.param("lb2", "slots", {"app1": True, "app2": True}, id="load balancers reach slots"),
        pytest.param("lb2", "identity", {"app1": True, "app2": True}, id="and the identity beside them"),
        pytest.param("db1", "names", {"ops1": True}, id="servers ask the declared name server"),
        pytest.param("controller", "https", {"door": True}, id="the door is open"),
        pytest.param("app1", "others' databases, pooler", {"alice": False, "bob": False}, id="no role gets into another's database through the pooler"),
        pytest.param("app2", "others' databases, direct", {"alice": False, "bob": False}, id="nor past it"),
        pytest.param("db1", "others' databases, direct", None, id="databases are tried where deployments live"),
    ],
)  # fmt: skip
def test_which_paths_must_be_open_and_which_shut(
    viewpoint: str, service: str, expected: dict[str, bool] | None
) -> None:
    assert paths(plan_connections(make_environment(known())), viewpoint).get(service) == expected


@pytest.mark.parametrize("environment", [known(), SINGLE, known(name_servers=[])], ids=["ha", "single", "without DNS"])
def test_the_module_accepts_all_of_it(environment: dict[str, Any]) -> None:
    made = make_environment(environment)
    for plan in (
        plan_connections(made),
        plan_proof(made, "ssh", has_authority=True),
        plan_proof(made, "ssh", has_authority=False),
        plan_proof(made, "deploy", has_authority=True),
    ):
        for asked in (*plan["endpoints"].values(), *plan["logins"].values()):
            if asked:
                parse_request(asked, {})


def test_every_path_is_asked_by_an_endpoint_of_its_viewpoint() -> None:
    plan = plan_connections(make_environment(known()))
    asked = {
        (viewpoint, item["name"])
        for kind in ("endpoints", "logins")
        for viewpoint, items in plan[kind].items()
        for item in items
    }
    assert {(path["viewpoint"], path["endpoint"]) for path in plan["paths"]} <= asked


def names(plan: dict[str, Any], kind: str, viewpoint: str) -> list[str]:
    return [item["name"] for item in plan[kind][viewpoint] if not item["name"].startswith("path:")]


def test_a_member_narrows_to_their_deployment_and_limit_to_servers() -> None:
    plan = plan_connections(make_environment(known(), members=["alice"], hosts=["app1", "db1"]))
    assert list(plan["endpoints"]) == ["controller", "app1", "db1"]
    assert names(plan, "endpoints", "controller") == ["ssh/app1", "ssh/db1", "alice/https"]
    assert names(plan, "logins", "app1") == ["alice/pooler", "alice/primary"]


def test_an_unknown_member_is_refused_by_name() -> None:
    with pytest.raises(SlotError, match="member 'alcie' is not in the registry; did you mean alice"):
        make_environment(known(), members=["alcie"])


def test_a_server_whose_key_nobody_knows_is_only_found_to_answer() -> None:
    environment = known()
    environment["servers"][0]["host_keys"] = []
    (first, second, *_others) = plan_connections(make_environment(environment))["endpoints"]["controller"]
    assert (first["accept"], "host_keys" in first) == ("reachable", False)
    assert "accept" not in second


def test_on_one_host_everything_is_tried_from_outside_alone() -> None:
    plan = plan_connections(make_environment(SINGLE))
    assert set(paths(plan, "one")) == {"https", "others' databases, pooler", "others' databases, direct"}
    assert paths(plan, "controller")["postgresql"] == {"one": False}


def test_a_deploy_asks_no_name_server() -> None:
    proof = plan_proof(make_environment(known()), "deploy", has_authority=True)
    assert [item for item in proof["endpoints"]["controller"] if "names" in item] == []
    assert names(proof, "logins", "app2") == ["alice/primary", "bob/primary"]


def test_a_virtual_address_is_asked_for_where_load_balancers_take_part() -> None:
    with_them = plan_proof(make_environment(known()), "ssh", has_authority=True)
    without = plan_proof(make_environment(known(), hosts=["db1"]), "ssh", has_authority=True)
    assert names(with_them, "endpoints", "controller")[-1] == "virtual/192.0.2.10"
    assert names(without, "endpoints", "controller") == ["ssh/db1"]
