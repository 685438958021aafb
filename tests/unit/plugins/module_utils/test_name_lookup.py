# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What name servers say, asked of real ones on the loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

# ansible-test's own environment hasn't got it; the locked one has.
pytest.importorskip("dns")

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
from ansible_collections.nectar.backend.plugins.module_utils import name_lookup
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Endpoint, Service, Settings
from ansible_collections.nectar.backend.plugins.module_utils.name_lookup import ask_all, lacks_dnspython, look_up

SERVER = "127.0.0.53"
ZONE = {
    ("alice.test.", "A"): ["192.0.2.2", "192.0.2.1"],
    ("alice.test.", "AAAA"): ["2001:db8::1"],
    ("alias.test.", "A"): ["alice.test."],
    ("_https._tcp.alice.test.", "SRV"): ["10 5 8443 alice.test.", "5 5 443 Other.test."],
    ("_gone._tcp.alice.test.", "SRV"): ["0 0 0 ."],
    ("other.test.", "A"): ["192.0.2.9"],
    ("many.test.", "A"): [f"10.0.{number}.1" for number in range(200)],
}
CODES = {"broken.test.": dns.rcode.SERVFAIL, "secret.test.": dns.rcode.REFUSED}


class NameServer:
    """A server of ZONE; it drops `drops` questions first, and all of a name that begins with `mute`."""

    def __init__(self, address: str, port: int = 53) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.port = self.udp.getsockname()[1]
        self.tcp = socket.create_server((address, self.port))
        self.drops = 0
        for serve in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def serve_udp(self) -> None:
        while True:
            try:
                octets, sender = self.udp.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(octets)
            if self.drops or str(query.question[0].name).startswith("mute"):
                self.drops = max(0, self.drops - 1)
                continue
            answer = self.answer(query)
            if len(answer.answer) and len(answer.answer[0]) > 100:
                answer.answer.clear()
                answer.flags |= dns.flags.TC
            with contextlib.suppress(OSError):
                self.udp.sendto(answer.to_wire(), sender)

    def serve_tcp(self) -> None:
        while True:
            try:
                connection, _peer = self.tcp.accept()
            except OSError:
                return
            with connection:
                query, _time = dns.query.receive_tcp(connection)
                dns.query.send_tcp(connection, self.answer(query).to_wire(max_size=65_535))

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        answer, question = dns.message.make_response(query), query.question[0]
        name, kind = str(question.name), question.rdtype.name
        if name == "alias.test.":
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", *ZONE[name, "A"]))
            name = "alice.test."
        if records := ZONE.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
        elif name in CODES:
            answer.set_rcode(CODES[name])
        elif not any(known == name for known, _type in ZONE):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    world = NameServer(SERVER, 0)
    asked = dns.query.udp_with_fallback

    def on_its_port(query: dns.message.Message, where: str, **more: object) -> object:
        return asked(query, where, port=world.port, **more)

    monkeypatch.setattr(name_lookup.dns.query, "udp_with_fallback", on_its_port)
    yield world
    world.close()


SETTINGS = Settings(name_servers=(SERVER,), timeout=6.0)


def answer(name: str, kind: str = "A", settings: Settings = SETTINGS) -> tuple[str, tuple[str, ...], str]:
    lookup = ask_all([(SERVER, name, kind)], settings)[0]
    assert (lookup.server, lookup.name, lookup.type) == (SERVER, name, kind)
    return lookup.outcome, lookup.addresses, lookup.detail


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("alice.test", "A", ("answered", ("192.0.2.1", "192.0.2.2"), ""), id="addresses, in no order"),
        pytest.param("alice.test", "AAAA", ("answered", ("2001:db8::1",), ""), id="IPv6"),
        pytest.param("alias.test", "A", ("answered", ("192.0.2.1", "192.0.2.2"), ""), id="an alias is followed"),
        pytest.param("other.test", "AAAA", ("answered", (), ""), id="a name without such an address"),
        pytest.param("nobody.test", "A", ("no_such_name", (), "NXDOMAIN"), id="no such name"),
        pytest.param("broken.test", "A", ("failed", (), "SERVFAIL"), id="the server fails"),
        pytest.param("secret.test", "A", ("failed", (), "REFUSED"), id="the server refuses"),
        pytest.param(
            "many.test", "A", ("answered", tuple(sorted(ZONE["many.test.", "A"])), ""), id="by TCP, for it is long"
        ),
    ],
)
def test_each_answer_is_told_from_no_answer(
    name: str, kind: str, expected: tuple[str, tuple[str, ...], str], server: NameServer
) -> None:
    assert answer(name, kind) == expected


def test_a_lost_packet_is_asked_again(server: NameServer) -> None:
    server.drops = 1
    assert answer("alice.test")[0] == "answered"


def test_a_server_that_is_silent_has_failed(server: NameServer) -> None:
    assert answer("mute.test", settings=replace(SETTINGS, timeout=0.3)) == ("failed", (), "no answer in 0.3 s")


def test_a_closed_port_has_failed(server: NameServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((SERVER, 0))
        server.port = bound.getsockname()[1]
    outcome, _addresses, detail = answer("alice.test", settings=replace(SETTINGS, timeout=0.3))
    assert (outcome, bool(detail)) == ("failed", True)


def test_services_and_then_their_hosts_are_asked_of_the_same_server(server: NameServer) -> None:
    endpoint = Endpoint(name="it", probe="tcp", port=1, services=("_https._tcp.alice.test", "_gone._tcp.alice.test"))
    lookups = {(lookup.name, lookup.type): lookup for lookup in look_up([endpoint], SETTINGS)}
    assert lookups["_https._tcp.alice.test", "SRV"].services == (
        Service("other.test", 443, 5, 5),
        Service("alice.test", 8443, 10, 5),
    )
    assert lookups["_gone._tcp.alice.test", "SRV"].services == ()
    assert lookups["other.test", "A"].addresses == ("192.0.2.9",)
    assert lookups["alice.test", "AAAA"].addresses == ("2001:db8::1",)


def test_each_question_is_asked_once(server: NameServer) -> None:
    endpoints = [
        Endpoint(name=name, probe="tcp", port=1, names=("alice.test",), services=("_https._tcp.alice.test",))
        for name in ("one", "two")
    ]
    questions = [(lookup.name, lookup.type) for lookup in look_up(endpoints, SETTINGS)]
    assert len(questions) == len(set(questions)) == 5


def test_the_system_s_resolver_is_asked_as_programs_ask_it() -> None:
    lookups = ask_all([("system", "localhost", "A"), ("system", "no-such-name.invalid", "A")], Settings(timeout=10.0))
    assert lookups[0].outcome == "answered"
    assert lookups[0].addresses == ("127.0.0.1",)
    assert lookups[1].outcome in ("no_such_name", "failed"), "without a network, nobody can say that there is none"


def test_a_name_that_has_one_family_is_a_name() -> None:
    """The system's resolver says of the other family that there is no such name."""
    lookups = ask_all([("system", "localhost", "A"), ("system", "localhost", "AAAA")], Settings(timeout=10.0))
    assert [lookup.outcome for lookup in lookups] == ["answered", "answered"]


def test_dnspython_is_needed_for_what_the_system_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [Endpoint(name="it", probe="tcp", port=1, names=("alice.test",))]
    services = [Endpoint(name="it", probe="tcp", port=1, services=("_https._tcp.alice.test",))]
    monkeypatch.setattr(name_lookup, "HAS_DNSPYTHON", False)
    assert not lacks_dnspython(names, Settings())
    assert lacks_dnspython(names, SETTINGS)
    assert lacks_dnspython(services, Settings())
    monkeypatch.setattr(name_lookup, "HAS_DNSPYTHON", True)
    assert not lacks_dnspython(services, SETTINGS)
