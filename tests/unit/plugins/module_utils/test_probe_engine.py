# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the probes see of real servers on the loopback, and that the loop bears many of them."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Observation, Phase, Verdict, judge
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Candidate, Endpoint, Settings
from ansible_collections.nectar.backend.plugins.module_utils.probe_engine import probe_all

LOOPBACK = "127.0.0.1"
QUICK = Settings(timeout=0.6, attempts=3)
# Where nothing is waited for in vain, a loaded machine gets its time.
PATIENT = Settings(timeout=20.0)
HASH = b"md5986e2194384c07f4fd1df4b1351b3e68"
ALICE = json.dumps({"deployment": "alice", "slot": "blue"}).encode()


def probe(endpoint: Endpoint, port: int, settings: Settings = PATIENT, address: str = LOOPBACK) -> Observation:
    return probe_all([(endpoint, Candidate(address, port))], settings)[0]


def endpoint(kind: str, **more: Any) -> Endpoint:
    return Endpoint(name="it", probe=kind, port=1, **more)


def verdict(wanted: Endpoint, seen: Observation) -> Verdict:
    return judge(wanted, Candidate(LOOPBACK, 1), seen).verdict


def test_an_open_port_is_reachable_and_says_how_we_got_there(servers: Any) -> None:
    seen = probe(endpoint("tcp"), servers.silent())
    assert (seen.phase, seen.error, seen.local, seen.attempts) == (Phase.DONE, "", LOOPBACK, 1)


def test_ipv6_is_probed_alike(servers: Any) -> None:
    port = servers.start(lambda connection: None, host="::1")
    assert probe(endpoint("tcp"), port, address="::1").phase == Phase.DONE


def test_a_refusing_port_is_refused_at_once(servers: Any) -> None:
    seen = probe(endpoint("tcp"), servers.refusing())
    assert (seen.phase, seen.error, seen.timed_out) == (Phase.CONNECT, "ECONNREFUSED", False)
    assert seen.seconds < PATIENT.timeout / 2


def test_what_is_dropped_is_tried_as_often_as_asked_for(servers: Any) -> None:
    seen = probe(endpoint("tcp"), servers.full(), QUICK)
    assert (seen.phase, seen.timed_out, seen.attempts) == (Phase.CONNECT, True, 3)
    assert verdict(endpoint("tcp"), seen) == Verdict.FILTERED


def test_a_network_without_a_route_is_unreachable() -> None:
    seen = probe(endpoint("tcp"), 443, address="255.255.255.255")
    assert seen.phase == Phase.CONNECT
    assert verdict(endpoint("tcp"), seen) == Verdict.UNREACHABLE


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param("tls", {"server_name": "alice.test"}, id="tls"),
        pytest.param("http", {"tls": False}, id="http"),
        pytest.param("http", {"server_name": "alice.test"}, id="https"),
        pytest.param("postgresql", {"server_name": "alice.test"}, id="postgresql"),
        pytest.param("postgresql", {"tls": False, "user": "alice", "password": "secret"}, id="postgresql without TLS"),
        pytest.param("ssh", {}, id="ssh"),
    ],
)
def test_who_accepts_and_never_speaks_is_silent(kind: str, more: dict[str, Any], servers: Any) -> None:
    wanted = endpoint(kind, **more)
    seen = probe(wanted, servers.silent(), replace(QUICK, timeout=2.0))
    assert (seen.timed_out, seen.heard) == (True, False)
    assert verdict(wanted, seen) == Verdict.SILENT


@pytest.mark.parametrize("kind", ["tls", "http", "postgresql", "ssh"])
def test_who_closes_without_a_word_has_nothing_behind_it(kind: str, servers: Any) -> None:
    wanted = endpoint(kind)
    seen = probe(wanted, servers.start(lambda connection: None))
    assert seen.error in ("EOF", "ECONNRESET")
    assert verdict(wanted, seen) == Verdict.REFUSED


@pytest.mark.parametrize(
    ("name", "names", "expired", "trusted", "said"),
    [
        pytest.param("alice.test", ("alice.test",), False, True, "", id="holds"),
        pytest.param("", ("alice.test",), False, True, "", id="holds, whoever it is"),
        pytest.param("bob.test", ("alice.test",), False, True, "Hostname mismatch", id="of another name"),
        pytest.param("alice.test", ("alice.test",), True, True, "certificate has expired", id="expired"),
        pytest.param("alice.test", ("alice.test",), False, False, "unable to get local issuer", id="of no authority"),
    ],
)
def test_a_certificate_is_looked_at_and_shown(
    name: str, names: tuple[str, ...], expired: bool, trusted: bool, said: str, servers: Any, authority: Any
) -> None:
    port = servers.start(lambda connection: connection.recv(1), authority.context(*names, expired=expired))
    wanted = endpoint("tls", server_name=name, ca_file=str(authority.file) if trusted else "")
    seen = probe(wanted, port)
    assert seen.certificate["names"] == list(names), "also where it is refused"
    assert seen.certificate["subject"] == "commonName=alice.test"
    assert seen.certificate["not_after"]
    if said:
        assert said in seen.tls_error
        assert (seen.phase, verdict(wanted, seen)) == (Phase.TLS, Verdict.TLS_MISMATCH)
    else:
        assert (seen.phase, seen.tls_error) == (Phase.DONE, "")


def test_who_speaks_no_tls_is_told_apart(servers: Any) -> None:
    wanted = endpoint("tls", server_name="alice.test")
    seen = probe(wanted, servers.start(lambda connection: connection.sendall(b"SSH-2.0-it\r\n" + b"." * 99)))
    assert "speaks no TLS" in seen.tls_error


@pytest.mark.parametrize("tls", [pytest.param(False, id="http"), pytest.param(True, id="https")])
@pytest.mark.parametrize(
    ("body", "head", "identity"),
    [
        pytest.param(ALICE, None, {"deployment": "alice"}, id="with a length"),
        pytest.param(ALICE, "", {"deployment": "alice"}, id="to the end of the connection"),
        pytest.param(
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(ALICE), ALICE),
            "Transfer-Encoding: chunked\r\n",
            {"deployment": "alice"},
            id="in chunks",
        ),
        pytest.param(b"<html>", None, None, id="no JSON"),
        pytest.param(b"[1]", None, None, id="no object"),
        pytest.param(b'{"a": 1}', None, {}, id="says nothing of it"),
    ],
)
def test_an_identity_is_read_however_it_is_sent(
    tls: bool, body: bytes, head: str | None, identity: dict[str, str] | None, servers: Any, authority: Any
) -> None:
    context = authority.context("alice.test") if tls else None
    port = servers.http(body, context=context, head=head)
    more = {"server_name": "alice.test", "ca_file": str(authority.file)} if tls else {"tls": False}
    seen = probe(endpoint("http", path="/id", identity={"deployment": "alice"}, **more), port)
    assert (seen.phase, seen.status, seen.identity) == (Phase.DONE, 200, identity)


def test_a_status_is_a_status_and_no_opinion(servers: Any) -> None:
    seen = probe(endpoint("http", tls=False), servers.http(b"", "503 Service Unavailable"))
    assert (seen.phase, seen.status) == (Phase.DONE, 503)


def test_who_speaks_something_else_speaks_no_http(servers: Any) -> None:
    seen = probe(endpoint("http", tls=False), servers.start(lambda connection: connection.sendall(b"SSH-2.0-it\r\n")))
    assert (seen.error, seen.heard) == ("EPROTO", True)
    assert "SSH-2.0" in seen.detail


def test_a_slow_answer_is_an_answer(servers: Any) -> None:
    """Each octet comes late, and all of them within the time there is."""

    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        for octet in b"HTTP/1.1 204 No Content\r\n\r\n":
            time.sleep(0.02)
            connection.sendall(bytes([octet]))

    assert probe(endpoint("http", tls=False), servers.start(drip)).status == 204


def test_postgresql_without_tls_where_it_is_wanted(servers: Any) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"N")

    seen = probe(endpoint("postgresql", server_name="db.test"), servers.start(serve))
    assert (seen.phase, seen.tls_error) == (Phase.TLS, "the server offers no TLS")


def test_postgresql_proves_itself_by_its_certificate(servers: Any, authority: Any) -> None:
    context = authority.context("db.test")

    def serve(connection: socket.socket) -> None:
        assert connection.recv(8) == bytes.fromhex("0000000804d2162f")
        connection.sendall(b"S")
        context.wrap_socket(connection, server_side=True).recv(1)

    wanted = endpoint("postgresql", server_name="db.test", ca_file=str(authority.file))
    seen = probe(wanted, servers.start(serve))
    assert (seen.phase, seen.certificate["names"]) == (Phase.DONE, ["db.test"])
    assert verdict(wanted, seen) == Verdict.PROVEN


def ask_for_md5(connection: socket.socket) -> None:
    """Be a pooler that lets alice in by md5(md5("secretalice") + "salt"), and is the primary."""
    connection.recv(1024)
    connection.sendall(b"R\0\0\0\x0c\0\0\0\5salt")
    if HASH in connection.recv(1024):
        connection.sendall(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I")
        connection.recv(1024)
        connection.sendall(b"D\0\0\0\x0b\0\1\0\0\0\1fZ\0\0\0\5I")
        connection.recv(1)


def test_a_pooler_on_this_host_may_ask_for_md5(servers: Any) -> None:
    wanted = endpoint("postgresql", tls=False, user="alice", password="secret", role="primary")
    seen = probe(wanted, servers.start(ask_for_md5))
    assert (seen.phase, seen.role, seen.let_in, seen.authenticated) == (Phase.DONE, "primary", True, False)
    assert verdict(wanted, seen) == Verdict.PROVEN


def test_a_server_behind_tls_may_not_ask_for_md5(servers: Any, authority: Any) -> None:
    context = authority.context("db.test")

    def serve(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        ask_for_md5(context.wrap_socket(connection, server_side=True))

    more = {"server_name": "db.test", "ca_file": str(authority.file), "user": "alice", "password": "secret"}
    seen = probe(endpoint("postgresql", **more), servers.start(serve))
    assert (seen.error, seen.let_in) == ("EPROTO", False)


def test_octets_before_tls_are_refused(servers: Any) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"Sinjected")

    assert probe(endpoint("postgresql", server_name="db.test"), servers.start(serve)).error == "EPROTO"


def test_ssh_held_off_by_the_server_is_said(servers: Any) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"Not allowed at this time\r\n")

    seen = probe(endpoint("ssh", host_keys=()), servers.start(serve))
    assert "holds this host off" in seen.detail


def test_many_are_answered_in_the_order_of_the_questions(servers: Any) -> None:
    """Under a cap far below their number, and with more of them than one turn of the loop takes."""
    answering, refusing = servers.start(lambda connection: None), servers.refusing()
    ports = [answering if number % 3 else refusing for number in range(600)]
    pairs = [(endpoint("tcp"), Candidate(LOOPBACK, port)) for port in ports]
    seen = probe_all(pairs, replace(PATIENT, parallel=50))
    assert [item.phase for item in seen] == [Phase.DONE if port == answering else Phase.CONNECT for port in ports]


def test_all_of_them_are_waited_for_together(servers: Any) -> None:
    pairs = [(endpoint("tls"), Candidate(LOOPBACK, servers.silent())) for _number in range(20)]
    began = time.monotonic()
    assert all(item.timed_out for item in probe_all(pairs, QUICK))
    assert time.monotonic() - began < 20 * QUICK.timeout / 2


def test_nothing_stays_open_and_no_client_stays_behind(servers: Any) -> None:
    kinds = ("tcp", "http", "tls", "ssh")
    pairs = [
        (endpoint(kind), Candidate(LOOPBACK, port)) for kind in kinds for port in (servers.silent(), servers.full())
    ]
    before = len(os.listdir("/proc/self/fd"))
    probe_all(pairs, QUICK)
    assert len(os.listdir("/proc/self/fd")) == before
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    assert not children.exists() or children.read_text() == ""


def test_no_probes_are_no_observations() -> None:
    assert probe_all([], QUICK) == []
