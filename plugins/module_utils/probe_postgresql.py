# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's protocol 3.0 on a conversation, as far as one has to know who answers: TLS, login, role."""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Phase
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Endpoint
from ansible_collections.nectar.backend.plugins.module_utils.probe_conversation import (
    Ended,
    Findings,
    Inbox,
    Talk,
    say_plainly,
)
from ansible_collections.nectar.backend.plugins.module_utils.probe_tls import Tls
from ansible_collections.nectar.backend.plugins.module_utils.scram import MECHANISM, Scram, ScramError

SSL_REQUEST = struct.pack("!II", 8, 80_877_103)
PROTOCOL = 196_608
# A pooler tells what a server said when the pooler met it; only a query is answered by who is there now.
ROLE_QUERY = "SELECT pg_catalog.pg_is_in_recovery()"
TERMINATE = b"X\0\0\0\4"
AUTHENTICATED, CLEAR_TEXT, MD5, SASL, SASL_CONTINUE, SASL_FINAL = 0, 3, 5, 10, 11, 12
METHODS = {CLEAR_TEXT: "password", MD5: "md5"}


@dataclass
class Server:
    """What is said to and known of the server in one login."""

    inbox: Inbox
    findings: Findings
    parameters: dict[str, str] = field(default_factory=dict)

    def ask(self, outgoing: bytes = b"") -> Talk[tuple[bytes, bytes]]:
        """Send, and answer the next message that matters; errors end the conversation."""
        while True:
            head = yield from self.inbox.take(5, outgoing)
            outgoing = b""
            kind, length = head[:1], struct.unpack("!I", head[1:])[0]
            if length < 4:
                raise Ended("EPROTO", f"a message of length {length}; what answers is not PostgreSQL")
            body = yield from self.inbox.take(length - 4)
            if kind == b"E":
                fields = error_fields(body)
                self.findings.error_code = fields.get("C", "XX000")
                self.findings.detail = fields.get("M", "")
                raise Ended
            if kind == b"S":
                name, _zero, value = body.rstrip(b"\0").partition(b"\0")
                self.parameters[name.decode(errors="replace")] = value.decode(errors="replace")
            elif kind not in (b"N", b"K", b"A", b"v"):
                return kind, body


def talk_postgresql(endpoint: Endpoint, findings: Findings, *, on_loopback: bool = False) -> Talk[bytes]:
    """Ask for TLS, log in where there is somebody to log in as, and ask for the role.

    MD5 is answered on this host's loopback alone, as a pooler asks for it: what answers there is on this host, and no
    other hears it. Behind TLS is a server, which may be anywhere and speaks SCRAM.
    """
    say: Callable[[bytes], Talk[bytes]] = say_plainly
    farewell: Callable[[bytes], bytes] = bytes
    if endpoint.tls or not endpoint.user:
        inbox = Inbox(say_plainly)
        reply = yield from inbox.take(1, SSL_REQUEST)
        if reply not in (b"S", b"N") or inbox.octets:
            # Octets that come before TLS is spoken were put there by somebody on the way (CVE-2021-23222).
            raise Ended("EPROTO", f"what answers is not PostgreSQL; it says {(reply + inbox.octets)[:40]!r}")
        if endpoint.tls:
            if reply == b"N":
                findings.phase, findings.tls_error = Phase.TLS, "the server offers no TLS"
                raise Ended
            tls = Tls(endpoint.ca_file, endpoint.server_name, findings)
            yield from tls.open()
            say, farewell = tls.say, tls.farewell
    if not endpoint.user:
        findings.phase = Phase.DONE
        return farewell(b"")
    server = Server(Inbox(say), findings)
    yield from _log_in(server, endpoint, by_md5=on_loopback and not endpoint.tls)
    findings.role = yield from _ask_role(server)
    findings.phase = Phase.DONE
    return farewell(TERMINATE)


def _log_in(server: Server, endpoint: Endpoint, *, by_md5: bool) -> Talk[None]:
    outgoing = startup({
        "user": endpoint.user,
        "database": endpoint.database or endpoint.user,
        "application_name": "nectar",
    })  # fmt: skip
    scram: Scram | None = None
    challenged = False
    while True:
        kind, body = yield from server.ask(outgoing)
        outgoing = b""
        if kind == b"Z":
            return
        if kind != b"R" or len(body) < 4:
            raise Ended("EPROTO", f"an unexpected message {kind!r} during login")
        method, data = struct.unpack("!I", body[:4])[0], body[4:]
        try:
            if method == SASL and MECHANISM.encode() in data.split(b"\0"):
                scram = Scram(_password(endpoint), secrets.token_urlsafe(18))
                first = scram.first()
                outgoing = message(b"p", MECHANISM.encode() + b"\0" + struct.pack("!I", len(first)) + first)
            elif method == SASL_CONTINUE and scram:
                outgoing = message(b"p", scram.final(data))
            elif method == SASL_FINAL and scram:
                scram.verify(data)
                server.findings.authenticated = True
            elif method == MD5 and by_md5 and not (scram or challenged):
                outgoing = message(b"p", md5_answer(endpoint.user, _password(endpoint), data))
                challenged = True
            elif method != AUTHENTICATED:
                name = METHODS.get(method, f"authentication method {method}")
                raise Ended("EPROTO", f"it asks for {name}, where only {MECHANISM} is spoken")
            elif scram and not server.findings.authenticated:
                raise ScramError("it lets us in without having proven that it knows the password's verifier")
            else:
                server.findings.let_in = challenged
        except ScramError as error:
            raise Ended("EPROTO", str(error)) from error


def _password(endpoint: Endpoint) -> str:
    if not endpoint.password:
        raise Ended("EPROTO", f"it asks for the password of {endpoint.user}, and none is given")
    return endpoint.password


def md5_answer(user: str, password: str, salt: bytes) -> bytes:
    """What MD5 wants to hear; it proves the client to the server, and nothing of the server."""
    inner = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
    return f"md5{hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()}".encode() + b"\0"


def _ask_role(server: Server) -> Talk[str]:
    """Primary or replica, as a query says, else as the server said at login."""
    outgoing, rows = message(b"Q", ROLE_QUERY.encode() + b"\0"), []
    while True:
        kind, body = yield from server.ask(outgoing)
        outgoing = b""
        if kind == b"D":
            rows.append(body[6:])
        elif kind == b"Z":
            break
    answer = rows[0] if rows else server.parameters.get("in_hot_standby", "").encode()
    return {b"t": "replica", b"on": "replica", b"f": "primary", b"off": "primary"}.get(answer, "")


def startup(parameters: Mapping[str, str]) -> bytes:
    pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
    body = struct.pack("!I", PROTOCOL) + pairs + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def error_fields(body: bytes) -> dict[str, str]:
    """An error's fields by their letters: C the SQLSTATE, M the message."""
    parts = body.split(b"\0")
    return {part[:1].decode(errors="replace"): part[1:].decode(errors="replace") for part in parts if part}
