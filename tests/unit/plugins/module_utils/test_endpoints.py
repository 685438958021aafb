# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused before any probe, in words that name field and value; and who proposes what."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import (
    Candidate,
    EndpointError,
    LastGood,
    Lookup,
    Service,
    Settings,
    Source,
    index_lookups,
    lookups_of,
    parse_endpoints,
    parse_request,
    parse_settings,
    propose,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvVYvUq6m6hDnEbDqWlLZDnXE4kkSrv5xwzMDiG1bM8"
CANDIDATE = {"address": "192.0.2.10", "source": "registry"}
LEFT_OUT = object()


def entry(**changes: Any) -> dict[str, Any]:
    """An endpoint that is right, but for the changes."""
    fields = {
        "name": "alice",
        "probe": "tls",
        "port": 443,
        "server_name": "alice.nectar.test",
        "candidates": [CANDIDATE],
    }
    return {key: value for key, value in {**fields, **changes}.items() if value is not LEFT_OUT}


def of_candidate(**changes: Any) -> dict[str, Any]:
    return entry(candidates=[{**CANDIDATE, **changes}])


def ssh(**changes: Any) -> dict[str, Any]:
    return entry(probe="ssh", port=22, server_name=LEFT_OUT, **{"host_keys": [KEY], **changes})


def postgresql(**changes: Any) -> dict[str, Any]:
    return entry(probe="postgresql", port=5432, **changes)


LONG_NAME = ".".join(["abcdefghi"] * 26)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": (entry(name=LEFT_OUT), "endpoint 1: name is missing; expected text on one line. Add name."),
    "an unknown probe": (entry(probe="htp"), 'endpoint alice: probe is "htp"; expected one of tcp, tls, http, ssh, postgresql.'),
    "no probe": (entry(probe=LEFT_OUT), "endpoint alice: probe is missing; expected one of tcp,"),
    "port 70000": (entry(port=70_000), "endpoint alice: port is 70000; expected a whole number from 1 to 65535."),
    "port 0": (entry(port=0), "endpoint alice: port is 0; expected"),
    "a port in quotes": (entry(port="443"), 'endpoint alice: port is "443"; expected'),
    "port true": (entry(port=True), "endpoint alice: port is true; expected"),
    "no port": (entry(port=LEFT_OUT), "endpoint alice: port is missing; expected"),
    "a candidate's port": (of_candidate(port=70_000), "endpoint alice, candidate 1: port is 70000; expected"),
    "no candidates": (entry(candidates=[]), "endpoint alice: candidates is [], and there are neither names nor services; expected"),
    "candidates as text": (entry(candidates="192.0.2.10"), 'endpoint alice: candidates is "192.0.2.10"; expected a list.'),
    "a field that there isn't": (entry(adress="x"), 'endpoint alice: has the unknown field "adress"; expected one of'),
    "a candidate as text": (entry(candidates=["192.0.2.10"]), 'candidate 1: is "192.0.2.10"; expected a mapping of fields.'),
    "a candidate without an address": (entry(candidates=[{"source": "registry"}]), "candidate 1: address is missing; expected an IP address."),
    "a candidate without a source": (entry(candidates=[{"address": "192.0.2.10"}]), "candidate 1: source is missing; expected one of registry,"),
    "a source that nobody may write": (of_candidate(source="last_good"), 'source is "last_good"; expected one of registry, inventory, facts, cloud.'),
    "an age before the future": (of_candidate(age=-1), "candidate 1: age is -1; expected seconds"),
    "a name as an address": (of_candidate(address="app1.nectar.test"), 'address "app1.nectar.test" is no IP address; expected'),
    "a network as an address": (of_candidate(address="192.0.2.0/24"), 'address "192.0.2.0/24" is no IP address'),
    "an address with leading zeros": (of_candidate(address="192.0.2.010"), 'address "192.0.2.010" is no IP address'),
    "a number as an address": (of_candidate(address=3232235521), "address 3232235521 is not text"),
    "an IPv4-mapped address": (of_candidate(address="::ffff:192.0.2.10"), 'address "::ffff:192.0.2.10" is an IPv4-mapped IPv6 address; expected'),
    "the same in its other spelling": (of_candidate(address="::ffff:c000:20a"), "Write 192.0.2.10."),
    "a zone id": (of_candidate(address="fe80::1%eth0"), 'address "fe80::1%eth0" has a zone id, which has a meaning on one host alone'),
    "a duplicate": (entry(candidates=[CANDIDATE, CANDIDATE]), 'candidate 2: address "192.0.2.10" with port 443 is a duplicate: registry names it already'),
    "a duplicate in another spelling": (
        entry(candidates=[{"address": "2001:db8::1", "source": "facts"}, {"address": "2001:DB8:0::1", "source": "facts"}]),
        'address "2001:db8::1" with port 443 is a duplicate',
    ),
    "a duplicate by its own port": (entry(candidates=[CANDIDATE, {**CANDIDATE, "port": 443}]), "is a duplicate"),
    "a name over 253 octets": (entry(names=[LONG_NAME]), 'names "abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefgh'),
    "a name over 253 octets once encoded": (entry(names=[".".join(["äöüäöüäöü"] * 20)]), "octets; expected a name of at most 253 octets."),
    "a label over 63 octets": (entry(names=["a" * 64 + ".test"]), "names \"aaaa"),
    "an empty label": (entry(names=["alice..test"]), 'names "alice..test" has the label ""; expected labels of'),
    "a label with a space": (entry(names=["ali ce.test"]), 'has the label "ali ce"'),
    "a label that begins with a hyphen": (entry(names=["-alice.test"]), 'has the label "-alice"'),
    "a wildcard": (entry(names=["*.nectar.test"]), 'has the label "*"'),
    "invalid IDNA: a forbidden letter": (entry(names=["ali\u2028ce\u0378.test"]), "is no valid internationalised name"),
    "invalid IDNA: directions mixed": (entry(names=["aא.test"]), "is no valid internationalised name"),
    "invalid IDNA: broken punycode": (entry(names=["xn--99999999.test"]), 'names "xn--99999999.test" is no valid internationalised name'),
    "a sharp s, which two editions of IDNA tell apart": (entry(names=["straße.test"]), 'names "straße.test" holds a sharp s'),
    "a joiner that can't be seen": (entry(server_name="ali\u200dce.test"), "holds a zero width joiner"),
    "a server name with a line break": (entry(server_name="alice\r\nX: y"), "server_name is"),
    "a server name with a space": (entry(server_name="alice test"), 'server_name "alice test" has the label'),
    "a name twice": (entry(names=["alice.test", "ALICE.test."]), 'names "alice.test" is a duplicate'),
    "names as text": (entry(names="alice.test"), 'names is "alice.test"; expected a list of texts.'),
    "a service without a protocol": (
        entry(services=["alice.test"]), 'services "alice.test" is no service; expected _service._protocol.name. Write _https._tcp.alice.test.',
    ),
    "a path without a slash": (entry(probe="http", path="id"), 'path is "id"; expected a path from / on'),
    "a path with a line break": (entry(probe="http", path="/\r\nHost: bob"), "path is"),
    "a status that is none": (entry(probe="http", status=[99]), "status is [99]; expected a list of HTTP status codes"),
    "no status": (entry(probe="http", status=[]), "status is []; expected"),
    "an identity of nothing": (entry(probe="http", identity={}), "identity is {}; expected a mapping that is not empty."),
    "a host key that is none": (ssh(host_keys=["ssh-ed25519 AAAA"]), 'host_keys "ssh-ed25519 AAAA" is no public key; expected'),
    "an unknown role": (postgresql(role="leader"), 'role is "leader"; expected one of primary, replica, any.'),
    "an unknown acceptance": (entry(accept="any"), 'accept is "any"; expected one of proven, reachable.'),
    "an unknown allowance": (entry(allow=["multicast"]), 'allow is ["multicast"]; expected a list of loopback, link_local, bridge.'),
    "a preference that is none": (entry(prefer=["ipv5"]), 'prefer "ipv5" is no network; expected'),
    "a preference with host bits": (entry(prefer=["192.0.2.1/24"]), "Write 192.0.2.0/24."),
    # Fields that a probe doesn't look at
    "an identity for TCP": (entry(probe="tcp", server_name=LEFT_OUT, identity={"deployment": "alice"}), "which the probe tcp does not look at"),
    "host keys for TLS": (entry(host_keys=[KEY]), "host_keys is [\"ssh-ed25519"),
    "a password for SSH": (ssh(password="hunter2"), "password is given, which the probe ssh does not look at"),
    "a status for PostgreSQL": (postgresql(status=[200]), "status is [200], which the probe postgresql does not look at; expected status only with http."),
    "an authority without TLS": (
        entry(probe="http", tls=False, ca_file="/etc/ca.crt", identity={"a": 1}), 'ca_file is "/etc/ca.crt", and tls is false',
    ),
    # What could never be proven
    "TCP proves nobody": (entry(probe="tcp", server_name=LEFT_OUT, accept="proven"), "nothing that the endpoint asks for proves who answers"),
    "TLS without a name": (entry(server_name=LEFT_OUT), "expected server_name. Add it, or write accept: reachable."),
    "HTTP without TLS and identity": (entry(probe="http", tls=False), "expected identity."),
    "HTTP without name and identity": (entry(probe="http", server_name=LEFT_OUT), "expected server_name or identity."),
    "SSH without keys": (ssh(host_keys=LEFT_OUT), "expected host_keys."),
    "PostgreSQL without a name": (postgresql(server_name=LEFT_OUT), "expected server_name, or user and password."),
    "PostgreSQL without TLS and password": (postgresql(tls=False, server_name=LEFT_OUT, user="alice"), "expected user and password."),
    "a role that nobody logs in to see": (postgresql(role="primary"), 'role is "primary", and user is missing'),
}  # fmt: skip
BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "timeout 0": ({"timeout": 0}, "timeout is 0; expected seconds above 0, at most 300. Write it as 4.0."),
    "a timeout in quotes": ({"timeout": "4"}, 'timeout is "4"; expected'),
    "a timeout of minutes": ({"timeout": 301}, "timeout is 301; expected"),
    "a timeout that never ends": ({"timeout": float("nan")}, "timeout is NaN; expected"),
    "no attempt": ({"attempts": 0}, "attempts is 0; expected a whole number from 1 to 10."),
    "half an attempt": ({"attempts": 1.5}, "attempts is 1.5; expected"),
    "no probe at a time": ({"parallel": 0}, "parallel is 0; expected"),
    "no age": ({"max_age": 0}, "max_age is 0; expected seconds above 0."),
    "a name server by name": ({"name_servers": ["ns1.test"]}, 'name_servers "ns1.test" is no IP address'),
    "a name server twice": ({"name_servers": ["192.0.2.1", "192.0.2.1"]}, 'name_servers "192.0.2.1" is a duplicate'),
    "a network that is none": ({"forbidden_networks": ["ten"]}, 'forbidden_networks "ten" is no network'),
}


@pytest.mark.parametrize(("raw", "message"), [pytest.param(*row, id=name) for name, row in BAD.items()])
def test_bad_endpoint(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(EndpointError) as caught:
        parse_endpoints([raw])
    assert message in str(caught.value)
    assert [str(problem).startswith("endpoint ") for problem in caught.value.problems] == [True]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("raw", "message"), [pytest.param(*row, id=name) for name, row in BAD_SETTINGS.items()])
def test_bad_settings(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(EndpointError) as caught:
        parse_settings(raw)
    assert str(caught.value).startswith(message)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("raw", [[], None, "alice", {}], ids=str)
def test_no_endpoints(raw: object) -> None:
    with pytest.raises(EndpointError, match=r"endpoints is .*; expected a list that is not empty"):
        parse_endpoints(raw)


def test_all_problems_at_once() -> None:
    with pytest.raises(EndpointError) as caught:
        parse_request(
            [
                entry(port=70_000, probe="htp", candidates=[{"address": "x", "source": "y"}]),
                entry(name="bob"),
                entry(name="bob"),
                7,
            ],
            {"timeout": 0, "attempts": 0},
        )
    assert [str(problem).partition(";")[0] for problem in caught.value.problems] == [
        "timeout is 0",
        "attempts is 0",
        'endpoint alice: probe is "htp"',
        "endpoint alice: port is 70000",
        'endpoint alice, candidate 1: source is "y"',
        'endpoint alice, candidate 1: address "x" is no IP address',
        "endpoint 4: is 7",
        'endpoint bob: name "bob" is used twice',
    ]


def test_names_without_name_servers() -> None:
    with pytest.raises(EndpointError, match=r"names are to be looked up, and name_servers is \[\]"):
        parse_request([entry(names=["alice.test"])], {"name_servers": []})


def test_what_is_left_out_has_defaults() -> None:
    unset = dict.fromkeys(
        ("names", "tls", "path", "status", "identity", "host_keys", "role", "accept", "allow", "prefer")
    )
    endpoint = parse_endpoints([entry(**unset)])[0]
    assert endpoint.candidates == (Candidate("192.0.2.10", 443, (Source("registry", order=0),)),)
    assert (endpoint.tls, endpoint.path, endpoint.status, endpoint.role, endpoint.accept) == (
        True,
        "/",
        (200,),
        "any",
        "proven",
    )
    assert parse_endpoints([entry(probe="tcp", server_name=None)])[0].accept == "reachable"
    assert parse_settings({"timeout": None, "attempts": 2}) == Settings(attempts=2)


def test_names_are_written_as_dns_asks_for_them() -> None:
    endpoint = parse_endpoints(
        [
            entry(
                server_name="Bücher.Test.",
                names=["BÜCHER.test", "xn--strae-oqa.test"],
                services=["_https._tcp.Alice.test"],
            )
        ]
    )[0]
    assert endpoint.server_name == "xn--bcher-kva.test"
    assert endpoint.names == ("xn--bcher-kva.test", "xn--strae-oqa.test")
    assert endpoint.services == ("_https._tcp.alice.test",)


def test_who_names_one_address_is_told_together() -> None:
    endpoint = parse_endpoints(
        [
            entry(
                candidates=[
                    {"address": "192.0.2.11", "source": "inventory"},
                    {"address": "2001:DB8::0:10", "source": "registry"},
                    {"address": "192.0.2.10", "source": "registry"},
                    {"address": "192.0.2.10", "source": "facts", "interface": "eth0", "age": 60},
                    {"address": "192.0.2.10", "source": "registry", "port": 8443},
                ]
            )
        ]
    )[0]
    assert [(str(item), item.labels) for item in endpoint.candidates] == [
        ("192.0.2.11:443", ("inventory",)),
        ("[2001:db8::10]:443", ("registry",)),
        ("192.0.2.10:443", ("registry", "facts:eth0")),
        ("192.0.2.10:8443", ("registry",)),
    ]
    assert [source.order for item in endpoint.candidates for source in item.sources] == [0, 0, 1, None, 2]
    assert endpoint.candidates[2].age is None, "the registry knows it now"


def test_a_password_is_in_no_representation() -> None:
    endpoint = parse_endpoints([postgresql(user="alice", password="hunter2")])[0]
    assert endpoint.password == "hunter2"
    assert "hunter2" not in repr(endpoint)


LOOKUPS = [
    Lookup("system", "alice.test", "A", "answered", ("192.0.2.12", "192.0.2.11")),
    Lookup("192.0.2.53", "alice.test", "A", "answered", ("192.0.2.11",)),
    Lookup("192.0.2.53", "alice.test", "AAAA", "no_such_name"),
    Lookup("192.0.2.53", "_https._tcp.alice.test", "SRV", "answered", services=(Service("lb1.test", 8443, 10),)),
    Lookup("192.0.2.53", "lb1.test", "A", "answered", ("192.0.2.20",)),
    Lookup("system", "lb1.test", "A", "answered", ("192.0.2.99",)),
    Lookup("system", "bob.test", "A", "failed", detail="timeout"),
]


@pytest.mark.parametrize("lookups", [LOOKUPS, LOOKUPS[::-1]], ids=["", "backwards"])
def test_proposals(lookups: list[Lookup]) -> None:
    endpoint = parse_endpoints([entry(names=["alice.test"], services=["_https._tcp.alice.test"])])[0]
    proposed = propose(endpoint, index_lookups(lookups), LastGood("192.0.2.12", 443, 60.0))
    assert [(str(item), sorted(item.labels)) for item in proposed.candidates] == [
        ("192.0.2.10:443", ["registry"]),
        ("192.0.2.11:443", ["dns:192.0.2.53", "dns:system"]),
        ("192.0.2.12:443", ["dns:system", "last_good"]),
        ("192.0.2.20:8443", ["dns:192.0.2.53"]),
    ], "a target is asked for where its service was named"
    assert proposed.candidates[-1].sources[0].order == 10


def test_lookups_of_an_endpoint() -> None:
    endpoint = parse_endpoints([entry(names=["alice.test"], services=["_https._tcp.alice.test"])])[0]
    assert {(item.name, item.type) for item in lookups_of(endpoint, index_lookups(LOOKUPS))} == {
        ("_https._tcp.alice.test", "SRV"),
        ("alice.test", "A"),
        ("alice.test", "AAAA"),
        ("lb1.test", "A"),
    }
