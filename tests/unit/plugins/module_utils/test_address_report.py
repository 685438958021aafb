# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What collides, is out of date or stops a play, each as one contradiction in an environment that is right otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_report import (
    find_collisions,
    merge_results,
    read_interfaces,
    refusals,
    report,
    table,
)
from ansible_collections.nectar.backend.plugins.module_utils.environment_endpoints import make_environment

SERVERS = ("lb1", "lb2", "app1")
VIRTUAL = "192.0.2.10"


class World:
    """An environment of three servers and two deployments in which everything agrees, until a case changes something."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {
            "servers": [self.server(name, 11 + place) for place, name in enumerate(SERVERS)],
            "groups": {"all": list(SERVERS), "loadbalancers": ["lb1", "lb2"], "app_servers": ["app1"]},
            "deployments": {
                name: self.deployment(name, 10002 + 2 * place) for place, name in enumerate(("alice", "bob"))
            },
            "secrets": {},
            "primary_name": "primary.example.org",
            "ports": {},
            "ca_files": {},
            "virtual_addresses": [VIRTUAL],
            "name_servers": ["192.0.2.53"],
        }
        self.facts = {name: self.interfaces(11 + place) for place, name in enumerate(SERVERS)}
        self.give("lb1", "eth0", VIRTUAL)
        self.endpoints = [endpoint("alice/https", [candidate(VIRTUAL)], lookups=[lookup("A", [VIRTUAL])])]

    @staticmethod
    def server(name: str, number: int) -> dict[str, Any]:
        address = f"192.0.2.{number}"
        return {"name": name, "bind": [address], "connect": [address], "advertise": address}

    @staticmethod
    def deployment(name: str, port: int) -> dict[str, Any]:
        return {"hosts": ["app1"], "ports": {"blue": port, "green": port + 1}, "server_name": f"{name}.example.org"}

    @staticmethod
    def interfaces(number: int) -> dict[str, Any]:
        return {
            "interfaces": ["lo", "eth0"],
            "lo": {"ipv4": {"address": "127.0.0.1", "netmask": "255.0.0.0"}},
            "eth0": {"ipv4": {"address": f"192.0.2.{number}", "netmask": "255.255.255.0"}, "ipv4_secondaries": []},
        }

    def give(self, host: str, interface: str, address: str, netmask: str = "255.255.255.0") -> None:
        facts = self.facts[host]
        if interface not in facts["interfaces"]:
            facts["interfaces"].append(interface)
        entry = facts.setdefault(interface, {})
        entry.setdefault("ipv4_secondaries", []).append({"address": address, "netmask": netmask})

    def take(self, host: str, address: str) -> None:
        for entry in self.facts[host].values():
            if isinstance(entry, dict) and "ipv4_secondaries" in entry:
                entry["ipv4_secondaries"] = [item for item in entry["ipv4_secondaries"] if item["address"] != address]

    def findings(self) -> list[tuple[str, str, bool]]:
        environment = make_environment(self.known)
        interfaces = {name: read_interfaces(known) for name, known in self.facts.items() if known}
        found = find_collisions(environment, {"controller": {"endpoints": self.endpoints}}, interfaces)
        assert all(item.message for item in found)
        return [(item.kind, item.subject, item.note) for item in found]


def candidate(address: str, verdict: str = "proven", **more: Any) -> dict[str, Any]:
    standard = {"port": 443, "sources": ["registry"], "reason": f"{address} is {verdict}", "age": None, "evidence": {}}
    return {"address": address, "verdict": verdict, **standard, **more}


def endpoint(name: str, candidates: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    good = next((item for item in candidates if item["verdict"] == "proven"), None)
    return {
        "name": name,
        "ok": good is not None,
        "address": good and good["address"],
        "port": good and good["port"],
        "verdict": good["verdict"] if good else candidates[0]["verdict"],
        "why": (good or candidates[0])["reason"],
        "candidates": candidates,
        "lookups": [],
        **more,
    }


def lookup(kind: str, addresses: list[str], outcome: str = "answered") -> dict[str, Any]:
    name = "alice.example.org"
    return {
        "server": "192.0.2.53",
        "name": name,
        "type": kind,
        "outcome": outcome,
        "addresses": addresses,
        "detail": "",
    }


def same_port(world: World) -> None:
    world.known["deployments"]["bob"]["ports"]["green"] = 10002


def same_name(world: World) -> None:
    world.known["deployments"]["bob"]["server_name"] = "alice.example.org"


def same_address_in_the_registry(world: World) -> None:
    world.known["servers"][2]["connect"] = ["192.0.2.12"]


def address_of_another(world: World) -> None:
    world.give("app1", "eth0", "192.0.2.12")


def two_holders(world: World) -> None:
    world.give("lb2", "eth0", VIRTUAL)


def held_by_a_stranger(world: World) -> None:
    world.take("lb1", VIRTUAL)


def not_taken_yet(world: World) -> None:
    world.take("lb1", VIRTUAL)
    world.endpoints = [endpoint("alice/https", [candidate(VIRTUAL, "filtered")])]


def refused_by_a_stranger(world: World) -> None:
    world.take("lb1", VIRTUAL)
    world.endpoints = [endpoint("alice/https", [candidate(VIRTUAL, "refused")])]


def perhaps_held(world: World) -> None:
    world.take("lb1", VIRTUAL)
    world.facts["lb2"] = {}


def outside_the_network(world: World) -> None:
    world.take("lb1", VIRTUAL)
    world.known["virtual_addresses"] = ["198.51.100.10"]
    world.endpoints = []


def not_on_the_host(world: World) -> None:
    world.known["servers"][2]["bind"] = ["192.0.2.13", "192.0.2.99"]


def behind_a_translation(world: World) -> None:
    world.known["servers"][2]["connect"] = ["203.0.113.5"]


def bridge_there(world: World) -> None:
    world.give("app1", "docker0", "172.17.0.1", "255.255.0.0")


def same_bridge_on_two(world: World) -> None:
    world.give("app1", "docker0", "172.17.0.1", "255.255.0.0")
    world.give("lb1", "docker0", "172.17.0.1", "255.255.0.0")


def bridge_in_the_registry(world: World) -> None:
    bridge_there(world)
    world.known["servers"][2]["bind"] = ["192.0.2.13", "172.17.0.1"]


def dns_says_another(world: World) -> None:
    world.endpoints[0]["lookups"] = [lookup("A", ["192.0.2.99"])]


def dns_says_one_more(world: World) -> None:
    world.endpoints[0]["lookups"] = [lookup("A", [VIRTUAL, "192.0.2.99"])]


def dns_knows_no_name(world: World) -> None:
    world.endpoints[0]["lookups"] = [lookup("A", [], "no_such_name")]


def dns_leaves_one_out(world: World) -> None:
    world.known["virtual_addresses"] = [VIRTUAL, "192.0.2.9"]
    world.give("lb1", "eth0", "192.0.2.9")


def dns_has_no_record_of_a_family(world: World) -> None:
    world.endpoints[0]["lookups"] = [lookup("A", [VIRTUAL]), lookup("AAAA", [])]


def stale_answer(world: World) -> None:
    world.endpoints[0]["candidates"].append(candidate("192.0.2.98", "stale", sources=["last_good"], age=200_000.0))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda world: None, [], id="everything agrees"),
        pytest.param(same_port, [("collision", "alice, bob", False)], id="two deployments on one address and port"),
        pytest.param(same_name, [("collision", "alice, bob", False)], id="two deployments under one name"),
        pytest.param(
            same_address_in_the_registry,
            [("collision", "192.0.2.12", False), ("claim", "app1", True)],
            id="one address for two hosts in the registry",
        ),
        pytest.param(address_of_another, [("collision", "192.0.2.12", False)], id="a host that took another's address"),
        pytest.param(two_holders, [("collision", VIRTUAL, False)], id="a virtual address on both load balancers"),
        pytest.param(held_by_a_stranger, [("collision", VIRTUAL, False)], id="a virtual address that answers, and that no load balancer holds"),
        pytest.param(refused_by_a_stranger, [("collision", VIRTUAL, False)], id="also where its port is closed"),
        pytest.param(not_taken_yet, [], id="a virtual address that nobody has yet"),
        pytest.param(perhaps_held, [], id="one that a load balancer which can't be asked may hold"),
        pytest.param(outside_the_network, [("network", "198.51.100.10", False)] * 2, id="a virtual address outside of the network of each load balancer"),
        pytest.param(not_on_the_host, [("claim", "app1", False)], id="an address to bind that the host doesn't have"),
        pytest.param(behind_a_translation, [("claim", "app1", True)], id="an address to connect to that is translated"),
        pytest.param(bridge_there, [("bridge", "app1", True)], id="a container bridge"),
        pytest.param(same_bridge_on_two, [("bridge", "lb1", True), ("bridge", "app1", True)], id="the same bridge on two hosts is no collision"),
        pytest.param(bridge_in_the_registry, [("bridge", "app1", False), ("bridge", "app1", True)], id="a container bridge in the registry"),
        pytest.param(dns_says_another, [("dns", "alice.example.org", False)], id="DNS names another address"),
        pytest.param(dns_says_one_more, [("dns", "alice.example.org", False)], id="DNS names one too many"),
        pytest.param(dns_knows_no_name, [("dns", "alice.example.org", False)], id="DNS knows no such name"),
        pytest.param(dns_leaves_one_out, [("dns", "alice.example.org", False)], id="DNS leaves one out"),
        pytest.param(dns_has_no_record_of_a_family, [], id="a family that neither has"),
        pytest.param(stale_answer, [("stale", "alice/https", False)], id="an answer that is out of date"),
    ],
)  # fmt: skip
def test_each_contradiction_is_found_once(
    change: Callable[[World], None], expected: list[tuple[str, str, bool]]
) -> None:
    world = World()
    change(world)
    assert world.findings() == expected


@pytest.mark.parametrize(
    ("needs", "viewpoint", "name", "verdict", "evidence", "stops"),
    [
        pytest.param("ssh", "controller", "ssh/app1", "filtered", {}, True, id="converging refuses a dead server"),
        pytest.param("ssh", "controller", "ssh/app1", "proven", {}, False, id="and begins on proven ones"),
        pytest.param("ssh", "controller", "virtual/192.0.2.10", "filtered", {}, False, id="a virtual address is free before the first run"),
        pytest.param("ssh", "controller", "virtual/192.0.2.10", "proven", {}, False, id="a virtual address is a load balancer's afterwards"),
        pytest.param("ssh", "controller", "virtual/192.0.2.10", "refused", {}, False, id="its load balancer may be down"),
        pytest.param("ssh", "controller", "virtual/192.0.2.10", "tls_mismatch", {}, True, id="a virtual address that is somebody else's"),
        pytest.param("ssh", "controller", "virtual/192.0.2.10", "reachable", {}, True, id="or whose owner proves nothing"),
        pytest.param("deploy", "controller", "ssh/app1", "filtered", {}, False, id="deploying goes on without a dead server"),
        pytest.param("deploy", "controller", "ssh/app1", "wrong_server", {}, True, id="but not with a wrong one"),
        pytest.param(
            "deploy", "controller", "alice/https", "wrong_server", {"status": 421}, False,
            id="a deployment that isn't served yet is what a deploy is for",
        ),
        pytest.param("deploy", "controller", "alice/https", "wrong_server", {"status": 200}, True, id="another deployment's door is not"),
        pytest.param("deploy", "controller", "alice/https", "tls_mismatch", {}, True, id="nor is a wrong certificate"),
        pytest.param("deploy", "controller", "alice/https", "reachable", {"status": 503}, False, id="a deployment that is down is mended by a deploy"),
        pytest.param("deploy", "app1", "alice/primary", "refused", {}, True, id="without the primary nothing is released"),
    ],
)  # fmt: skip
def test_what_stops_a_play(
    needs: str, viewpoint: str, name: str, verdict: str, evidence: dict[str, Any], stops: bool
) -> None:
    found = endpoint(name, [candidate("192.0.2.21", verdict, evidence=evidence)])
    lines = refusals(needs, {viewpoint: {"endpoints": [found]}})
    assert bool(lines) == stops
    assert all(line.startswith(f"{name} from {viewpoint}: {verdict}: ") for line in lines)


def test_calls_of_one_viewpoint_are_one_result_and_no_answer_is_none() -> None:
    first, second = endpoint("a", [candidate("192.0.2.1")]), endpoint("b", [candidate("192.0.2.2")])
    calls = {"app1": [{"endpoints": [first]}, {"endpoints": [second]}], "app2": [{"unreachable": True}, {}]}
    assert merge_results(calls) == {"app1": {"endpoints": [first, second]}, "app2": None}


def test_a_long_reason_is_wrapped_under_its_column() -> None:
    lines = table([("endpoint", "why"), ("alice", "word " * 60)], width=80)
    assert max(len(line) for line in lines) <= 80
    assert lines[1].startswith("alice     word")
    assert lines[2].startswith("          word")


def shown(endpoints: list[dict[str, Any]], paths: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    world = World()
    return report(
        make_environment(world.known), paths or [], {"controller": {"endpoints": endpoints}}, world.facts, "now"
    )


def test_the_report_names_what_was_chosen_and_what_was_rejected() -> None:
    seen = shown([endpoint("alice/https", [candidate(VIRTUAL), candidate("2001:db8::a", "refused")])])
    assert seen["ok"]
    assert [line.split()[:3] for line in seen["lines"][1:3]] == [
        ["alice/https", "controller", f"{VIRTUAL}:443"],
        ["rejected", "[2001:db8::a]:443", "refused"],
    ]
    assert "nothing: every endpoint is proven" in seen["lines"][-1]


def test_a_deployment_that_is_not_served_yet_is_told_how_it_will_be() -> None:
    seen = shown([endpoint("alice/https", [candidate(VIRTUAL, "wrong_server", evidence={"status": 421})])])
    assert not seen["ok"]
    assert seen["problems"] == ["alice/https from controller (unproven)"]
    assert any("playbooks/deploy.yml -e deployment=alice" in line for line in seen["lines"])


def test_the_age_of_old_answers_is_told() -> None:
    seen = shown([endpoint("alice/https", [candidate(VIRTUAL, sources=["last_good"], age=7_200.0)])])
    assert "  age of answers: last_good: 1 answers, the oldest of 2 hours ago" in seen["lines"]
