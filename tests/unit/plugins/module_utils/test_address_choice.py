# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which address is taken: each case lists who proposes which address and what answers there, and the one right outcome.

A case runs through everything from the proposals to the decision, and again with all answers arriving the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_choice import Decision, choose, forbid
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Observation, judge
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import (
    LastGood,
    Lookup,
    Service,
    Settings,
    index_lookups,
    lookups_of,
    parse_endpoints,
    propose,
)

NAME, SERVICE = "alice.nectar.test", "_https._tcp.alice.nectar.test"
A, B, C, D = "10.89.77.10", "10.89.77.11", "10.89.77.12", "198.51.100.7"
A6, B6, ULA = "2001:db8:77::10", "2001:db8:77::11", "fd6e:6563:77::10"
SERVER, OTHER_SERVER = "10.89.77.41", "10.89.77.42"
HOUR, DAY = 3600.0, 86_400.0

# What answers. The endpoint is alice's, over HTTPS with an identity, unless a case says otherwise.
PROVES = Observation("done", status=200, identity={"deployment": "alice", "slot": "blue"}, seconds=0.02)
IS_BOB = Observation("done", status=200, identity={"deployment": "bob"}, seconds=0.02)
NO_IDENTITY = Observation("done", status=200, seconds=0.02)
UNHEALTHY = Observation("done", status=503, seconds=0.02)
UNKNOWN_THERE = Observation("done", status=421, seconds=0.02)
WRONG_NAME = Observation(
    "tls", tls_error="the certificate is for bob.nectar.test", certificate={"names": ["bob.nectar.test"]}
)
EXPIRED = Observation("tls", tls_error="the certificate has expired", certificate={"not_after": "2020-01-01"})
REFUSES = Observation("connect", error="ECONNREFUSED", seconds=0.01)
DROPS = Observation("connect", timed_out=True, attempts=3, seconds=4.0)
FREEZES = Observation("tls", timed_out=True, seconds=4.0)
CLOSES = Observation("tls", error="EOF", seconds=0.01)
NO_ROUTE = Observation("connect", error="ENETUNREACH")
NO_HOST = Observation("connect", error="EHOSTUNREACH", seconds=3.1)
ACCEPTS = Observation("done", seconds=0.01)
PRIMARY = Observation("done", role="primary", authenticated=True)
REPLICA = Observation("done", role="replica", authenticated=True)
ITS_KEY = Observation("done", host_key="matches")
ANOTHER_KEY = Observation("answer", host_key="differs", fingerprint="SHA256:other")

NXDOMAIN, SERVFAIL, TIMEOUT, REFUSED_DNS = "no_such_name", "SERVFAIL", "timeout", "REFUSED"

HTTPS: dict[str, Any] = {
    "name": "alice/https", "probe": "http", "port": 443, "server_name": NAME, "identity": {"deployment": "alice"},
}  # fmt: skip
TCP: dict[str, Any] = {"name": "cache", "probe": "tcp", "port": 6379}
TLS: dict[str, Any] = {"name": "mail", "probe": "tls", "port": 443, "server_name": NAME}
POSTGRESQL: dict[str, Any] = {
    "name": "primary", "probe": "postgresql", "port": 5432, "server_name": "primary.nectar.test", "role": "primary", "user": "alice",
}  # fmt: skip
SSH: dict[str, Any] = {
    "name": "app1", "probe": "ssh", "port": 22, "host_key_alias": "app1",
    "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvVYvUq6m6hDnEbDqWlLZDnXE4kkSrv5xwzMDiG1bM8"],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Who proposes what, and what answers there; `dns` and `srv` are by name server."""

    answers: Mapping[str, Observation] = field(default_factory=dict)
    registry: Sequence[str] = ()
    inventory: Sequence[str] = ()
    cloud: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    dns: Mapping[str, Sequence[str] | str] = field(default_factory=dict)
    srv: Mapping[str, Sequence[tuple[str, int, int]] | str] = field(default_factory=dict)
    past: str = ""
    past_age: float = HOUR
    ages: Mapping[str, float] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)
    endpoint: Mapping[str, Any] = field(default_factory=lambda: HTTPS)
    prefer: Sequence[str] = ()
    allow: Sequence[str] = ()
    accept: str = ""
    forbidden_networks: Sequence[str] = ()


def decide(case: Case, backwards: bool = False) -> Decision:
    """Run a case from the proposals to the decision."""
    settings = Settings(forbidden_networks=tuple(case.forbidden_networks))
    lookups = [*_address_lookups(case), *_service_lookups(case)]
    index = index_lookups(reversed(lookups) if backwards else lookups)
    past = LastGood(case.past, case.endpoint["port"], case.past_age) if case.past else None
    endpoint = propose(_endpoint(case), index, past)
    judged = [
        forbid(endpoint, candidate, settings)
        or judge(endpoint, candidate, replace(case.answers[candidate.address], local=_local(case, candidate.address)))
        for candidate in endpoint.candidates
    ]
    return choose(endpoint, judged[::-1] if backwards else judged, lookups_of(endpoint, index), settings, past)


def _endpoint(case: Case) -> Any:
    written = {"registry": case.registry, "inventory": case.inventory, "cloud": case.cloud, "facts": case.facts}
    candidates = [
        {
            "address": address,
            "source": source,
            "age": case.ages.get(address),
            "interface": case.facts[address] if source == "facts" else None,
        }
        for source, addresses in written.items()
        for address in addresses
    ]
    more = {
        "names": [NAME] if case.dns else None,
        "services": [SERVICE] if case.srv else None,
        "accept": case.accept or None,
    }
    entry = {**case.endpoint, **more, "candidates": candidates, "prefer": list(case.prefer), "allow": list(case.allow)}
    return parse_endpoints([entry])[0]


def _address_lookups(case: Case) -> list[Lookup]:
    lookups = []
    for server, said in case.dns.items():
        if isinstance(said, str):
            lookups.append(_unanswered(server, NAME, "A", said))
            continue
        for kind, addresses in (("A", [x for x in said if ":" not in x]), ("AAAA", [x for x in said if ":" in x])):
            lookups.append(Lookup(server, NAME, kind, "answered", tuple(addresses)))
    return lookups


def _service_lookups(case: Case) -> list[Lookup]:
    lookups = []
    for server, said in case.srv.items():
        if isinstance(said, str):
            lookups.append(_unanswered(server, SERVICE, "SRV", said))
            continue
        services = [
            Service(f"host{n}.nectar.test", port, priority) for n, (_address, port, priority) in enumerate(said)
        ]
        lookups.append(Lookup(server, SERVICE, "SRV", "answered", services=tuple(services)))
        for service, (address, _port, _priority) in zip(services, said, strict=True):
            lookups.append(Lookup(server, service.target, "A", "answered", (address,)))
    return lookups


def _unanswered(server: str, name: str, kind: str, said: str) -> Lookup:
    return Lookup(server, name, kind, NXDOMAIN if said == NXDOMAIN else "failed", detail=said)


def _local(case: Case, address: str) -> str:
    return case.local.get(address, "2001:db8:77::1" if ":" in address else "10.89.77.1")


@dataclass(frozen=True)
class Outcome:
    """What must come out: the address or none, the endpoint's verdict, words of its reason, and the others' verdicts."""

    address: str | None
    verdict: str
    why: str
    others: Mapping[str, str]
    port: int | None = None


def takes(address: str, why: str = "", verdict: str = "proven", port: int | None = None, **others: str) -> Outcome:
    return Outcome(address, verdict, why, others, port)


def nothing(verdict: str, why: str = "", **others: str) -> Outcome:
    return Outcome(None, verdict, why, others)


CASES: dict[str, tuple[Case, Outcome]] = {
    # One address
    "the one address proves itself: it is taken":
        (Case({A: PROVES}, [A]), takes(A, "no other address is proven")),
    "bob's deployment answers at alice's address: it is never taken":
        (Case({A: IS_BOB}, [A]), nothing("wrong_server", 'deployment "bob"')),
    "a load balancer that serves no such name is the wrong server":
        (Case({A: UNKNOWN_THERE}, [A]), nothing("wrong_server", "421")),
    "a page without an identity proves nothing":
        (Case({A: NO_IDENTITY}, [A]), nothing("reachable", "no JSON document")),
    "an answer of 503 proves nothing":
        (Case({A: UNHEALTHY}, [A]), nothing("reachable", "answers 503")),
    "a certificate of another name is refused, and the name is told":
        (Case({A: WRONG_NAME}, [A]), nothing("tls_mismatch", "bob.nectar.test")),
    "an expired certificate is refused":
        (Case({A: EXPIRED}, [A]), nothing("tls_mismatch", "expired")),
    "nothing listens":
        (Case({A: REFUSES}, [A]), nothing("refused", "ECONNREFUSED")),
    "a firewall drops it silently: three attempts were made":
        (Case({A: DROPS}, [A]), nothing("filtered", "3 attempts in 4.0 s")),
    "a frozen host accepts and never speaks":
        (Case({A: FREEZES}, [A]), nothing("silent", "says nothing")),
    "a balancer without servers closes at once":
        (Case({A: CLOSES}, [A]), nothing("refused", "without a word")),
    "a router says that the host is away":
        (Case({A: NO_HOST}, [A]), nothing("unreachable", "EHOSTUNREACH")),
    # Several addresses, one of which works
    "the first address is dead: the second is taken":
        (Case({A: REFUSES, B: PROVES}, [A, B]), takes(B, a="refused")),
    "the first is dropped: the second is taken":
        (Case({A: DROPS, B: PROVES}, [A, B]), takes(B, a="filtered")),
    "the first is frozen: the second is taken":
        (Case({A: FREEZES, B: PROVES}, [A, B]), takes(B, a="silent")),
    "the first is another's: the second is taken":
        (Case({A: IS_BOB, B: PROVES}, [A, B]), takes(B, a="wrong_server")),
    "the first has another's certificate: the second is taken":
        (Case({A: WRONG_NAME, B: PROVES}, [A, B]), takes(B, a="tls_mismatch")),
    "who can't say who it is gives way to who can":
        (Case({A: NO_IDENTITY, B: PROVES}, [A, B]), takes(B, a="reachable")),
    "IPv6 is broken and IPv4 works: IPv4 is taken":
        (Case({A6: NO_ROUTE, A: PROVES}, [A6, A]), takes(A, a6="unreachable")),
    "IPv4 is broken and IPv6 works: IPv6 is taken":
        (Case({A: NO_ROUTE, A6: PROVES}, [A, A6]), takes(A6, a="unreachable")),
    "all are dead: each says how":
        (Case({A: REFUSES, B: DROPS}, [A, B]), nothing("refused", "no address is proven", a="refused", b="filtered")),
    "of several failures a wrong server is told first":
        (Case({A: REFUSES, B: IS_BOB}, [A, B]), nothing("wrong_server")),
    "a mismatch is told before silence":
        (Case({A: DROPS, B: EXPIRED}, [A, B]), nothing("tls_mismatch")),
    # The user's order and preference
    "two prove: the registry's first is taken":
        (Case({A: PROVES, B: PROVES}, [A, B]), takes(A, "the registry puts it first")),
    "the registry's order is the user's, not that of numbers":
        (Case({A: PROVES, B: PROVES}, [B, A]), takes(B, "the registry puts it first")),
    "the inventory's order counts likewise":
        (Case({A: PROVES, B: PROVES}, inventory=[B, A]), takes(B, "the inventory puts it first")),
    "registry and inventory disagree: the registry is the one source of truth":
        (Case({A: PROVES, B: PROVES}, [A, B], inventory=[B, A]), takes(A, "the registry")),
    "what the registry names goes before what DNS adds":
        (Case({A: PROVES, B: PROVES}, [B], dns={"system": [A, B]}), takes(B, "the registry")),
    "what the inventory orders goes before what the cloud adds":
        (Case({A: PROVES, B: PROVES}, inventory=[B], cloud=[A]), takes(B, "the inventory")),
    "a preferred network goes before the registry's order":
        (Case({A: PROVES, D: PROVES}, [A, D], prefer=["198.51.100.0/24"]), takes(D, "prefer puts it first")),
    "a preferred network that is dead is not taken":
        (Case({A: PROVES, D: REFUSES}, [A, D], prefer=["198.51.100.0/24"]), takes(A, d="refused")),
    "a preferred network of somebody else is not taken":
        (Case({A: PROVES, D: IS_BOB}, [A, D], prefer=["198.51.100.0/24"]), takes(A, d="wrong_server")),
    "IPv4 is preferred":
        (Case({A: PROVES, A6: PROVES}, [A6, A], prefer=["ipv4"]), takes(A, "prefer")),
    "IPv6 is preferred":
        (Case({A: PROVES, A6: PROVES}, [A, A6], prefer=["ipv6"]), takes(A6, "prefer")),
    "the first preference that fits counts":
        (Case({A: PROVES, D: PROVES, A6: PROVES}, [A6, D, A], prefer=["10.0.0.0/8", "ipv4"]), takes(A, "prefer", d="proven")),
    "the second preference counts where none fits the first":
        (Case({D: PROVES, A6: PROVES}, [A6, D], prefer=["10.0.0.0/8", "ipv4"]), takes(D, "prefer")),
    "a preference that fits both leaves it to the registry":
        (Case({A: PROVES, B: PROVES}, [A, B], prefer=["10.0.0.0/8"]), takes(A, "the registry")),
    "even where reachable is accepted, proven goes first":
        (Case({A: NO_IDENTITY, B: PROVES}, [A, B], accept="reachable"), takes(B, "it is proven", a="reachable")),
    "where reachable is accepted it is taken in need, and says so":
        (Case({A: NO_IDENTITY, B: REFUSES}, [B, A], accept="reachable"), takes(A, verdict="reachable", b="refused")),
    "where reachable is accepted, a wrong server still is not":
        (Case({A: IS_BOB}, [A], accept="reachable"), nothing("wrong_server")),
    "where reachable is accepted, a mismatch still is not":
        (Case({A: EXPIRED}, [A], accept="reachable"), nothing("tls_mismatch")),
    # The last good choice
    "the last good choice is kept while it proves, before the registry's order":
        (Case({A: PROVES, B: PROVES}, [A, B], past=B), takes(B, "chosen the last time")),
    "the last good choice settles what DNS leaves open":
        (Case({A: PROVES, B: PROVES}, dns={"system": [A, B]}, past=B), takes(B, "chosen the last time")),
    "the last good choice is dead: the other is taken":
        (Case({A: PROVES, B: REFUSES}, [A, B], past=B), takes(A, b="refused")),
    "the last good address is another's by now: the other is taken":
        (Case({A: PROVES, B: IS_BOB}, [A, B], past=B), takes(A, b="wrong_server")),
    "an outspoken preference goes before the last good choice":
        (Case({A: PROVES, D: PROVES}, [A, D], past=A, prefer=["198.51.100.0/24"]), takes(D, "prefer")),
    "what the registry no longer names is left, though it still proves":
        (Case({A: PROVES, B: PROVES}, [A], past=B), takes(A, "a source names it today")),
    "what only the past names helps in need, when it proves who it is":
        (Case({A: DROPS, B: PROVES}, [A], past=B), takes(B, a="filtered")),
    "the name is gone from DNS and the last good address still proves":
        (Case({B: PROVES}, dns={"system": NXDOMAIN}, past=B), takes(B, "no other")),
    "the past alone is no reason to trust whoever accepts connections":
        (Case({B: ACCEPTS}, dns={"system": NXDOMAIN}, past=B, endpoint=TCP), nothing("stale", "only the past names it")),
    "a dead address of the past is stale where the registry names another":
        (Case({A: DROPS, B: REFUSES}, [A], past=B), nothing("filtered", b="stale")),
    "the last good choice is kept among reachable ones":
        (Case({A: NO_IDENTITY, B: NO_IDENTITY}, [A, B], past=B, accept="reachable"), takes(B, "still reachable", verdict="reachable")),
    # Stale answers
    "DNS names a former address that refuses: it is stale":
        (Case({A: PROVES, B: REFUSES}, [A], dns={"system": [B]}), takes(A, b="stale")),
    "DNS names a former address that is dropped: it is stale":
        (Case({A: PROVES, B: DROPS}, [A], dns={"system": [B]}), takes(A, b="stale")),
    "DNS disagrees with the cloud: the dead one is stale":
        (Case({A: PROVES, B: FREEZES}, cloud=[A], dns={"system": [B]}), takes(A, b="stale")),
    "DNS names an address that is another's by now: the wrong server keeps its name":
        (Case({A: PROVES, B: IS_BOB}, [A], dns={"system": [B]}), takes(A, b="wrong_server")),
    "an unproven answer of DNS never replaces the registry's address":
        (Case({A: REFUSES, B: NO_IDENTITY}, [A], dns={"system": [B]}, accept="reachable"), nothing("refused", b="stale")),
    "nor does it for TCP alone":
        (Case({A: REFUSES, B: ACCEPTS}, [A], dns={"system": [B]}, endpoint=TCP), nothing("refused", b="stale")),
    "DNS is the only source: its dead address is refused, not stale":
        (Case({B: REFUSES}, dns={"system": [B]}), nothing("refused")),
    "DNS names one that proves, the registry's is dead: the proof counts":
        (Case({A: REFUSES, B: PROVES}, [A], dns={"system": [B]}), takes(B, a="refused")),
    "a dead address from a cloud answer of three days ago is stale":
        (Case({A: REFUSES}, cloud=[A], ages={A: 3 * DAY}), nothing("stale", "3 days ago")),
    "a dead address from a cloud answer of an hour ago is refused":
        (Case({A: REFUSES}, cloud=[A], ages={A: HOUR}), nothing("refused")),
    "an old answer that proves is no worse for its age":
        (Case({A: PROVES}, cloud=[A], ages={A: 3 * DAY}), takes(A)),
    "an address that the registry names too is not stale":
        (Case({A: REFUSES}, [A], dns={"system": [A]}), nothing("refused")),
    "facts alone make no answer of DNS stale":
        (Case({A: REFUSES, B: REFUSES}, facts={A: "eth0"}, dns={"system": [B]}), nothing("refused", b="refused")),
    # Name servers
    "DNS alone proposes an address that proves":
        (Case({A: PROVES}, dns={"system": [A]}), takes(A)),
    "the name exists nowhere":
        (Case(dns={SERVER: NXDOMAIN}), nothing("no_such_name", f"{NAME} ({SERVER})")),
    "the name exists and has no address":
        (Case(dns={SERVER: []}), nothing("no_such_name", "has no address")),
    "NXDOMAIN is an answer: the registry's address is taken":
        (Case({A: PROVES}, [A], dns={SERVER: NXDOMAIN}), takes(A)),
    "nothing answers, and the missing name is told too":
        (Case({A: DROPS}, [A], dns={SERVER: NXDOMAIN}), nothing("filtered", f"There is no name {NAME}")),
    "a declared name server fails: the endpoint fails closed":
        (Case({A: PROVES}, [A], dns={SERVER: SERVFAIL}), nothing("silent", "SERVFAIL", a="proven")),
    "a declared name server is silent: it is named":
        (Case({A: PROVES}, [A], dns={SERVER: TIMEOUT}), nothing("silent", f"name server {SERVER}")),
    "a declared name server refuses: what to do is told":
        (Case({A: PROVES}, [A], dns={SERVER: REFUSED_DNS}), nothing("silent", "take it out of name_servers")),
    "one of two name servers fails: the other's answer is not enough":
        (Case({A: PROVES}, dns={"system": [A], SERVER: SERVFAIL}), nothing("silent")),
    "only one of two name servers knows the name":
        (Case({A: PROVES}, dns={"system": NXDOMAIN, SERVER: [A]}), takes(A)),
    "split horizon: who proves itself is taken":
        (Case({A: PROVES, B: IS_BOB}, dns={SERVER: [A], OTHER_SERVER: [B]}), takes(A, b="wrong_server")),
    "split horizon and both prove: nobody guesses":
        (Case({A: PROVES, B: PROVES}, dns={SERVER: [A], OTHER_SERVER: [B]}), nothing("ambiguous", A)),
    "two name servers agree: it is one candidate":
        (Case({A: PROVES}, dns={SERVER: [A], OTHER_SERVER: [A]}), takes(A)),
    "SRV brings ports, and its priority decides":
        (Case({A: PROVES, B: PROVES}, srv={SERVER: [(A, 8443, 20), (B, 8444, 10)]}), takes(B, "SRV", port=8444)),
    "SRV of one priority settles nothing, for weight is chance":
        (Case({A: PROVES, B: PROVES}, srv={SERVER: [(A, 8443, 10), (B, 8443, 10)]}), nothing("ambiguous")),
    "two ports of one address are two candidates":
        (Case({A: PROVES}, srv={SERVER: [(A, 8443, 10), (A, 9443, 20)]}), takes(A, "SRV", port=8443)),
    "a failing SRV lookup fails closed too":
        (Case({A: PROVES}, [A], srv={SERVER: SERVFAIL}), nothing("silent", "SRV")),
    "a service without records has no address":
        (Case(srv={SERVER: []}), nothing("no_such_name", SERVICE)),
    # Ties
    "two A records of one answer have no order: both are named, none is taken":
        (Case({A: PROVES, B: PROVES}, dns={"system": [A, B]}), nothing("ambiguous", f"{A}:443, {B}:443 are both proven")),
    "their order in the answer says nothing either":
        (Case({A: PROVES, B: PROVES}, dns={"system": [B, A]}), nothing("ambiguous", f"{A}:443, {B}:443")),
    "a cloud's list has no order of the user's":
        (Case({A: PROVES, B: PROVES}, cloud=[A, B]), nothing("ambiguous", "order them in the registry")),
    "a dead one makes no tie":
        (Case({A: PROVES, B: REFUSES}, dns={"system": [A, B]}), takes(A, b="refused")),
    "a wrong server makes no tie":
        (Case({A: PROVES, B: IS_BOB}, dns={"system": [A, B]}), takes(A, b="wrong_server")),
    "three prove and nothing settles it":
        (Case({A: PROVES, B: PROVES, C: PROVES}, dns={"system": [A, B, C]}), nothing("ambiguous", "all 3")),
    "a preference narrows a tie without ending it":
        (Case({A: PROVES, B: PROVES, D: PROVES}, dns={"system": [A, B, D]}, prefer=["10.0.0.0/8"]), nothing("ambiguous", "both proven", d="proven")),
    "a tie of merely reachable ones is one too":
        (Case({A: ACCEPTS, B: ACCEPTS}, cloud=[A, B], endpoint=TCP), nothing("ambiguous", "both reachable")),
    # RFC 6724
    "IPv6 has the higher precedence":
        (Case({A: PROVES, A6: PROVES}, dns={"system": [A, A6]}), takes(A6, "higher precedence")),
    "a local IPv6 address reached from a global one gives way to IPv4":
        (Case({A: PROVES, ULA: PROVES}, dns={"system": [A, ULA]}, local={ULA: "2001:db8:77::1"}), takes(A, "matching label")),
    "IPv4 has a higher precedence than local IPv6":
        (Case({A: PROVES, ULA: PROVES}, dns={"system": [A, ULA]}, local={ULA: "fd6e:6563:77::1"}), takes(A, "higher precedence")),
    "the address in this host's own network is nearer":
        (Case({A: PROVES, D: PROVES}, dns={"system": [A, D]}), takes(A, "longest matching prefix")),
    "so it is with IPv6":
        (Case({A6: PROVES, "2001:db8:99::1": PROVES}, cloud=["2001:db8:99::1", A6]), takes(A6, "longest matching prefix")),
    "interface ids say nothing about nearness":
        (Case({A6: PROVES, B6: PROVES}, cloud=[A6, B6]), nothing("ambiguous")),
    "the registry's order goes before RFC 6724":
        (Case({A: PROVES, A6: PROVES}, [A, A6]), takes(A, "the registry")),
    "the last good choice goes before RFC 6724":
        (Case({A: PROVES, A6: PROVES}, dns={"system": [A, A6]}, past=A), takes(A, "the last time")),
    # Forbidden addresses
    "the loopback is nobody's server":
        (Case({}, ["127.0.0.1"]), nothing("forbidden", "loopback")),
    "so is that of IPv6":
        (Case({}, ["::1"]), nothing("forbidden", "loopback")),
    "the loopback is taken where the endpoint allows it":
        (Case({"127.0.0.1": PROVES}, ["127.0.0.1"], allow=["loopback"]), takes("127.0.0.1")),
    "a link-local address is refused":
        (Case({}, ["169.254.10.1"]), nothing("forbidden", "link-local")),
    "so is that of IPv6, of which facts are full":
        (Case({}, facts={"fe80::1": "eth0"}), nothing("forbidden", "link-local")),
    "an address to listen on is none to connect to":
        (Case({}, ["0.0.0.0"]), nothing("forbidden", "listen on all")),
    "a multicast address is no host's":
        (Case({}, ["224.0.0.18"]), nothing("forbidden", "single host")),
    "nor is the broadcast address":
        (Case({}, ["255.255.255.255"]), nothing("forbidden", "single host")),
    "a container bridge is refused by its name":
        (Case({}, facts={"172.17.0.1": "docker0"}), nothing("forbidden", "docker0")),
    "so is a bridge that docker named":
        (Case({}, facts={"172.18.0.1": "br-0123456789ab"}), nothing("forbidden", "br-0123456789ab")),
    "a server's own bridge br0 is no container bridge":
        (Case({A: PROVES}, facts={A: "br0"}), takes(A)),
    "a container bridge is taken where the endpoint allows it":
        (Case({"172.17.0.1": PROVES}, facts={"172.17.0.1": "docker0"}, allow=["bridge"]), takes("172.17.0.1")),
    "the registry doesn't make a bridge a server's address":
        (Case({}, ["172.17.0.1"], facts={"172.17.0.1": "docker0"}), nothing("forbidden", "docker0")),
    "a forbidden network is left, though the registry puts it first":
        (Case({A: PROVES}, [D, A], forbidden_networks=["198.51.100.0/24"]), takes(A, d="forbidden")),
    "DNS that leads to the loopback is told by name":
        (Case({}, dns={"system": ["127.0.0.1"]}), nothing("forbidden", "dns:system")),
    "DNS that answers with a mapped address is refused":
        (Case({}, dns={"system": ["::ffff:10.0.0.1"]}), nothing("forbidden", "IPv4-mapped")),
    "SRV without a port is refused":
        (Case({}, srv={SERVER: [(A, 0, 0)]}), nothing("forbidden", "no port")),
    # Other kinds of service
    "TCP alone is reachable, and says that it proves nobody":
        (Case({A: ACCEPTS}, [A], endpoint=TCP), takes(A, "who answers there is not known", verdict="reachable")),
    "a replica where the primary is meant is the wrong server":
        (Case({A: REPLICA, B: PRIMARY}, [A, B], endpoint=POSTGRESQL), takes(B, "is the primary", a="wrong_server")),
    "only a replica answers: there is no primary here":
        (Case({A: REPLICA}, [A], endpoint=POSTGRESQL), nothing("wrong_server", "patronictl list")),
    "two primaries: nobody guesses which is the right one":
        (Case({A: PRIMARY, B: PRIMARY}, cloud=[A, B], endpoint=POSTGRESQL), nothing("ambiguous")),
    "the primary where a replica is meant is wrong too":
        (Case({A: PRIMARY, B: REPLICA}, [A, B], endpoint={**POSTGRESQL, "role": "replica"}), takes(B, "is a replica", a="wrong_server")),
    "a swapped server: its address is right, its host key another's":
        (Case({A: ANOTHER_KEY, B: ITS_KEY}, [A, B], endpoint=SSH), takes(B, "a host key of app1", a="wrong_server")),
    "a wrong host key is told with its fingerprint":
        (Case({A: ANOTHER_KEY}, [A], endpoint=SSH), nothing("wrong_server", "SHA256:other")),
    "a certificate of the name proves a TLS server":
        (Case({A: ACCEPTS}, [A], endpoint=TLS), takes(A, f"proves by its certificate that it is {NAME}")),
}  # fmt: skip


@pytest.mark.parametrize("backwards", [False, True], ids=["", "the other way round"])
@pytest.mark.parametrize(("case", "expected"), [pytest.param(*row, id=name) for name, row in CASES.items()])
def test_the_right_address(case: Case, expected: Outcome, backwards: bool) -> None:
    decision = decide(case, backwards)
    found = {item.candidate.address: item for item in decision.candidates}
    addresses = {"a": A, "b": B, "c": C, "d": D, "a6": A6}
    assert (decision.chosen and decision.chosen.address, str(decision.verdict)) == (expected.address, expected.verdict)
    assert decision.ok == (expected.address is not None)
    assert expected.why in decision.why
    assert {name: str(found[addresses[name]].verdict) for name in expected.others} == expected.others
    if expected.port:
        assert decision.chosen and decision.chosen.port == expected.port
    assert all(item.reason.startswith(str(item.candidate)) for item in decision.candidates)


def test_who_is_left_out_says_for_whom() -> None:
    case = Case({A: PROVES, B: PROVES, C: REFUSES}, [A, B, C])
    reasons = [item.reason for item in decide(case).candidates]
    assert reasons[0] == f'{A}:443 says that it is deployment "alice"'
    assert reasons[1] == f'{B}:443 says that it is deployment "alice"; not chosen, for the registry puts {A}:443 first'
    assert reasons[2].startswith(f"{C}:443 refuses connections (ECONNREFUSED); start the service there")


def test_nobody_is_called_proven_and_idle_without_a_reason() -> None:
    tie, silent = Case({A: PROVES, B: PROVES}, cloud=[A, B]), Case({A: PROVES}, [A], dns={SERVER: SERVFAIL})
    assert [item.reason.partition("; ")[2] for item in decide(tie).candidates] == [
        "not chosen, for nothing settles which of several to take"
    ] * 2
    assert f"not chosen, for name server {SERVER} gives no answer" in decide(silent).candidates[0].reason


def test_a_result_of_plain_values() -> None:
    result = decide(Case({A: PROVES, B: DROPS}, [A], dns={SERVER: [A, B]})).as_result()
    assert {key: result[key] for key in ("name", "probe", "ok", "address", "port", "verdict")} == {
        "name": "alice/https", "probe": "http", "ok": True, "address": A, "port": 443, "verdict": "proven",
    }  # fmt: skip
    assert result["candidates"][0] == {
        "address": A, "port": 443, "sources": ["registry", f"dns:{SERVER}"], "verdict": "proven",
        "reason": f'{A}:443 says that it is deployment "alice"', "seconds": 0.02, "attempts": 1, "age": None,
        "evidence": {
            "phase": "done", "local": "10.89.77.1", "status": 200, "identity": {"deployment": "alice", "slot": "blue"},
        },
    }  # fmt: skip
    assert result["candidates"][1]["evidence"] == {"phase": "connect", "timed_out": True, "local": "10.89.77.1"}
    assert result["lookups"][0] == {
        "server": SERVER, "name": NAME, "type": "A", "outcome": "answered", "addresses": [A, B], "detail": "", "seconds": 0.0,
    }  # fmt: skip
    nobody = decide(Case({A: DROPS}, [A])).as_result()
    assert (nobody["address"], nobody["port"]) == (None, None)


def test_a_crowd_is_named_in_part() -> None:
    crowd = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(2000)]
    decision = decide(Case(dict.fromkeys(crowd, PROVES), cloud=crowd))
    assert decision.why.startswith("10.0.0.1:443, 10.0.0.2:443, 10.0.0.3:443 and 1997 more are all 2000 proven")
