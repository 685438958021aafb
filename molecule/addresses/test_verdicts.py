# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every fault that an address can have, made for real and at once, and the one verdict that is right for it.

The module is asked once from the controller and once from an application server, while all the faults last.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from environment import ELSEWHERE, NOBODY, Environment, registry
from faults import Delay, addresses, certificate, foreign_ssh_server, paused, rules
from lab import STATE, Lab

# Addresses of the environment's network that no server has.
DROPPED, RESET, UNREACHABLE, PROHIBITED, TAKEN, LOSSY = range(203, 209)
EXPIRED, OTHER_NAME = 8443, 8444
DELAY = 0.1  # seconds, each way

Endpoints = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Seen:
    """What the module said of each endpoint, from the controller and from an application server."""

    outside: Endpoints
    inside: Endpoints
    lost: int  # packets that the lossy path dropped meanwhile

    def verdict(self, endpoint: str, address: str) -> str:
        return str(self.candidate(endpoint, address)["verdict"])

    def candidate(self, endpoint: str, address: str) -> dict[str, Any]:
        return next(one for one in self.outside[endpoint]["candidates"] if one["address"] == address)


def verdicts(endpoint: dict[str, Any]) -> dict[str, str]:
    return {one["address"]: one["verdict"] for one in endpoint["candidates"]}


@contextlib.contextmanager
def all_faults(lab: Lab, environment: Environment) -> Iterator[int]:
    """Make them, on hosts that don't need each other; yield the port of the slow way to the virtual address."""
    active, standby = environment.balancers
    spare, domain = environment.spare, environment.common["domain"]
    rejections = {
        DROPPED: "drop",
        RESET: "reject with tcp reset",
        UNREACHABLE: "reject with icmpx host-unreachable",
        PROHIBITED: "reject with icmpx admin-prohibited",
    }
    rejecting = [f"input: ip daddr {spare(number)} tcp dport 22 {how}" for number, how in rejections.items()]
    lossy = [
        f"{way} {spare(LOSSY)} numgen random mod 10 0 counter drop" for way in ("input: ip daddr", "output: ip saddr")
    ]
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        enter(addresses(lab, "app2", *map(spare, rejections), spare(TAKEN), spare(ELSEWHERE)))
        enter(rules(lab, "app2", *rejecting))
        enter(addresses(lab, active, spare(LOSSY)))
        enter(rules(lab, active, *lossy))
        enter(rules(lab, "db2", f"input: ip6 daddr {environment.ipv6('db2')} tcp dport 22 drop"))
        enter(foreign_ssh_server(lab, "db3"))
        enter(certificate(lab, "ops1", "expired", EXPIRED, f"expired.{domain}", days=-1))
        enter(certificate(lab, "ops1", "other-name", OTHER_NAME, f"other.{domain}", days=30))
        enter(rules(lab, "ops1", opened=[EXPIRED, OTHER_NAME]))
        enter(paused(lab, standby))
        yield enter(Delay(environment.virtual_address, 443, DELAY)).port


def asked_outside(environment: Environment, slow_port: int) -> Endpoints:
    """What is asked from the controller."""
    _active, standby = environment.balancers
    spare, domain = environment.spare, environment.common["domain"]
    https, ssh, v4, virtual = environment.https, environment.ssh, environment.ipv4, environment.virtual_address
    tls = {"probe": "tls", "ca_file": str(STATE / "ca/ca.crt"), **registry(v4("ops1"))}
    return {
        "healthy": https("alice", virtual, names=[f"alice.{domain}"]),
        "stale record": https("bob", virtual, names=[f"bob.{domain}"]),
        "split horizon": https("carol", names=[f"front.{domain}"]),
        "no such name": https("dave", names=[f"nobody.{domain}"]),
        "silent name server": https("dave", virtual, names=["dave.broken.test"]),
        "dropped": ssh("app2", spare(DROPPED)),
        "reset": ssh("app2", spare(RESET)),
        "host unreachable": ssh("app2", spare(UNREACHABLE)),
        "prohibited": ssh("app2", spare(PROHIBITED)),
        "broken IPv6": ssh("db2", environment.ipv6("db2"), v4("db2")),
        "swapped server": ssh("db3", v4("db3")),
        "taken address": ssh("app1", spare(TAKEN), v4("app1")),
        "other deployment": https("erin", virtual, server_name=f"frank.{domain}"),
        "expired certificate": {**tls, "port": EXPIRED, "server_name": f"expired.{domain}"},
        "other name": {**tls, "port": OTHER_NAME, "server_name": f"wanted.{domain}"},
        "frozen, SSH": ssh(standby, v4(standby)),
        "frozen, HTTPS": https("alice", v4(standby)),
        "slow": https("alice", "127.0.0.1", port=slow_port, allow=["loopback"]),
        **{f"lossy {name}": https(name, spare(LOSSY)) for name in environment.common["deployments"]},
    }


def asked_inside(environment: Environment) -> Endpoints:
    """What is asked from an application server, which alone may come to the databases."""
    leader, followers = environment.databases
    alice, ca_file = environment.common["deployments"]["alice"], "/etc/nectar/tls/ca.crt"
    login = {
        "probe": "postgresql",
        "port": 5432,
        "user": alice["database_role"],
        "password": environment.secrets["deployments"]["alice"]["database_password"],
        "database": alice["database"],
        "server_name": environment.common["primary_name"],
        "ca_file": ca_file,
    }

    def among(role: str, *hosts: str) -> dict[str, Any]:
        return {**login, "role": role, **registry(*map(environment.ipv4, hosts))}

    return {
        "split horizon": environment.https("carol", names=[f"front.{environment.common['domain']}"], ca_file=ca_file),
        "primary": among("primary", *followers, leader),
        "replica for primary": among("primary", *followers),
        "primary for replica": among("replica", leader),
    }


@pytest.fixture(scope="module")
def seen(lab: Lab, environment: Environment, wrong_names: None) -> Seen:
    active, _standby = environment.balancers
    name_servers = [environment.ipv4("ops1")]
    with all_faults(lab, environment) as slow_port:
        outside = environment.resolve("localhost", asked_outside(environment, slow_port), name_servers=name_servers)
        inside = environment.resolve("app1", asked_inside(environment), name_servers=name_servers)
        table = json.loads(lab.inside(active, "nft --json list table inet faults"))["nftables"]
    counters = [
        part["counter"]["packets"]
        for item in table
        for part in item.get("rule", {}).get("expr", [])
        if "counter" in part
    ]
    return Seen(outside, inside, sum(counters))


# Endpoint, the number of the spare address that is at fault, and its verdict.
AT_FAULT = [
    pytest.param("stale record", NOBODY, "stale", id="a record that DNS kept when the address went"),
    pytest.param("split horizon", ELSEWHERE, "filtered", id="an address that DNS gives to those outside"),
    pytest.param("dropped", DROPPED, "filtered", id="a firewall that drops"),
    pytest.param("reset", RESET, "refused", id="a firewall that resets"),
    pytest.param("host unreachable", UNREACHABLE, "unreachable", id="a router that knows no way"),
    pytest.param("prohibited", PROHIBITED, "unreachable", id="a router that says that it is prohibited"),
    pytest.param("taken address", TAKEN, "wrong_server", id="an address that another host has taken"),
]


@pytest.mark.parametrize(("endpoint", "number", "verdict"), AT_FAULT)
def test_a_spare_address_gets_its_one_verdict(
    seen: Seen, environment: Environment, endpoint: str, number: int, verdict: str
) -> None:
    address = environment.spare(number)
    candidate = seen.candidate(endpoint, address)
    assert candidate["verdict"] == verdict, candidate["reason"]
    assert address in candidate["reason"]
    assert seen.outside[endpoint]["address"] != address


def test_the_registry_outlives_a_stale_record(seen: Seen, environment: Environment) -> None:
    assert seen.outside["stale record"]["address"] == environment.virtual_address


def test_who_is_healthy_is_proven_over_both_families(seen: Seen, environment: Environment) -> None:
    found = seen.outside["healthy"]
    assert verdicts(found) == dict.fromkeys(environment.common["virtual_addresses"], "proven")
    assert found["ok"] and found["address"] == environment.virtual_address


def test_a_name_with_two_faces_is_judged_from_where_it_is_used(seen: Seen, environment: Environment) -> None:
    assert not seen.outside["split horizon"]["ok"]
    found = seen.inside["split horizon"]
    assert found["address"] == environment.virtual_address
    assert verdicts(found) == {environment.virtual_address: "proven"}


def test_a_name_that_nobody_has_is_an_answer(seen: Seen) -> None:
    found = seen.outside["no such name"]
    assert not found["ok"] and found["verdict"] == "no_such_name"
    assert {lookup["outcome"] for lookup in found["lookups"]} == {"no_such_name"}


def test_a_name_server_that_fails_is_no_answer(seen: Seen, environment: Environment) -> None:
    found = seen.outside["silent name server"]
    assert verdicts(found) == {environment.virtual_address: "proven"}
    assert not found["ok"] and not found["address"] and found["verdict"] == "silent"
    assert environment.ipv4("ops1") in found["why"] and "SERVFAIL" in found["why"]


def test_broken_ipv6_leaves_ipv4(seen: Seen, environment: Environment) -> None:
    v4, v6 = environment.ipv4("db2"), environment.ipv6("db2")
    assert verdicts(seen.outside["broken IPv6"]) == {v4: "proven", v6: "filtered"}
    assert seen.outside["broken IPv6"]["address"] == v4


def test_a_server_with_another_host_key_is_the_wrong_one(seen: Seen, environment: Environment) -> None:
    found = seen.candidate("swapped server", environment.ipv4("db3"))
    assert found["verdict"] == "wrong_server"
    assert found["evidence"]["fingerprint"].startswith("ssh-ed25519 SHA256:")


def test_the_registered_address_outlives_a_taken_one(seen: Seen, environment: Environment) -> None:
    assert seen.outside["taken address"]["address"] == environment.ipv4("app1")


def test_an_address_that_serves_another_deployment_is_wrong(seen: Seen, environment: Environment) -> None:
    found = seen.candidate("other deployment", environment.virtual_address)
    assert found["verdict"] == "wrong_server" and "frank" in found["reason"] and "erin" in found["reason"]


@pytest.mark.parametrize(("endpoint", "seen_in_it"), [("expired certificate", "expired"), ("other name", "other.")])
def test_a_certificate_that_does_not_fit_proves_nothing(
    seen: Seen, environment: Environment, endpoint: str, seen_in_it: str
) -> None:
    found = seen.candidate(endpoint, environment.ipv4("ops1"))
    assert found["verdict"] == "tls_mismatch" and seen_in_it in found["reason"], found


@pytest.mark.parametrize("endpoint", ["frozen, SSH", "frozen, HTTPS"])
def test_a_frozen_host_accepts_and_is_silent(seen: Seen, environment: Environment, endpoint: str) -> None:
    _active, standby = environment.balancers
    found = seen.candidate(endpoint, environment.ipv4(standby))
    assert found["verdict"] == "silent", found


def test_a_slow_way_is_a_way(seen: Seen) -> None:
    found = seen.candidate("slow", "127.0.0.1")
    # TCP is answered by the proxy; TLS takes one round trip at least, and the request another.
    assert found["verdict"] == "proven" and found["seconds"] >= 4 * DELAY, found


def test_a_way_that_loses_a_tenth_is_a_way(seen: Seen, environment: Environment) -> None:
    found = {name: seen.verdict(name, environment.spare(LOSSY)) for name in seen.outside if name.startswith("lossy")}
    print(f"{seen.lost} packets were lost")
    assert seen.lost > 0
    assert found == dict.fromkeys((f"lossy {name}" for name in environment.common["deployments"]), "proven")


def test_a_replica_is_not_the_primary(seen: Seen, environment: Environment) -> None:
    leader, followers = (environment.databases[0], environment.databases[1])
    found = {environment.ipv4(leader): "proven"} | {environment.ipv4(host): "wrong_server" for host in followers}
    assert verdicts(seen.inside["primary"]) == found
    assert seen.inside["primary"]["address"] == environment.ipv4(leader)
    assert not seen.inside["replica for primary"]["ok"]
    assert verdicts(seen.inside["primary for replica"]) == {environment.ipv4(leader): "wrong_server"}
