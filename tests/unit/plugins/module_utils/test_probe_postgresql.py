# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's protocol, with a server's side that is written by the protocol's description."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Phase
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Endpoint
from ansible_collections.nectar.backend.plugins.module_utils.probe_conversation import Ended, Findings
from ansible_collections.nectar.backend.plugins.module_utils.probe_postgresql import (
    ROLE_QUERY,
    TERMINATE,
    error_fields,
    message,
    startup,
    talk_postgresql,
)

ALICE = Endpoint(name="it", probe="postgresql", port=5432, tls=False, user="alice", password="secret", role="primary")


def authentication(code: int, data: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!I", code) + data)


def parameter(name: str, value: str) -> bytes:
    return message(b"S", f"{name}\0{value}\0".encode())


def error(code: str, text: str) -> bytes:
    return message(b"E", f"SFATAL\0C{code}\0M{text}\0\0".encode())


READY = message(b"Z", b"I")
ROW = {"t": message(b"D", b"\0\1\0\0\0\1t"), "f": message(b"D", b"\0\1\0\0\0\1f")}
DONE = message(b"C", b"SELECT 1\0")
SASL = authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")


class Verifier:
    """The server's half of SCRAM, by RFC 5802."""

    def __init__(self, password: str) -> None:
        self.salt, self.rounds = b"salt of a test", 4096
        self.salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self.salt, self.rounds)

    def challenge(self, said: bytes) -> bytes:
        self.bare = said[said.index(b"n=,") :]
        nonce = self.bare.split(b"r=")[1] + b"more"
        self.first = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(self.salt), self.rounds)
        return authentication(11, self.first)

    def signature(self, said: bytes) -> bytes:
        without_proof = said[5:].split(b",p=")[0]
        signed = b",".join([self.bare, self.first, without_proof])
        key = hmac.digest(self.salted, b"Server Key", "sha256")
        return authentication(12, b"v=" + base64.b64encode(hmac.digest(key, signed, "sha256")))


def play(
    endpoint: Endpoint,
    answers: Iterable[bytes | Callable[[bytes], bytes]],
    piece: int = 65_536,
    *,
    on_loopback: bool = False,
) -> tuple[Findings, list[bytes], str]:
    """Let a server answer in pieces of a size; what was found, what was said, and how it ended."""
    findings, said = Findings(), []
    talk = talk_postgresql(endpoint, findings, on_loopback=on_loopback)
    try:
        outgoing = next(talk)
        for answer in answers:
            said.append(outgoing)
            octets = answer(outgoing) if callable(answer) else answer
            for start in range(0, len(octets), piece):
                outgoing = talk.send(octets[start : start + piece])
        talk.throw(Ended("EOF"))
    except StopIteration as end:
        return findings, [*said, end.value], ""
    except Ended as end:
        return findings, said, end.error or end.detail
    raise AssertionError("the probe goes on after the end")


def login(password: str = "secret") -> list[bytes | Callable[[bytes], bytes]]:
    verifier = Verifier(password)
    return [SASL, verifier.challenge, verifier.signature]


@pytest.mark.parametrize("piece", [pytest.param(65_536, id="at once"), pytest.param(1, id="octet by octet")])
@pytest.mark.parametrize(("row", "role"), [("t", "replica"), ("f", "primary")])
def test_a_login_proves_the_server_and_a_query_its_role(piece: int, row: str, role: str) -> None:
    verifier = Verifier("secret")
    # A pooler may still say what the server was before a failover: what the query says counts.
    welcome = authentication(0) + parameter("in_hot_standby", "off") + message(b"K", b"\0" * 8) + READY
    answers: list[bytes | Callable[[bytes], bytes]] = [
        SASL, verifier.challenge, lambda said: verifier.signature(said) + welcome,
        message(b"T", b"\0\1") + ROW[row] + DONE + READY,
    ]  # fmt: skip
    findings, said, ended = play(ALICE, answers, piece)
    assert (findings.phase, findings.role, findings.authenticated, ended) == (Phase.DONE, role, True, "")
    assert said[0] == startup({"user": "alice", "database": "alice", "application_name": "nectar"})
    assert ROLE_QUERY.encode() in said[3]
    assert said[-1] == TERMINATE
    assert not any(b"secret" in octets for octets in said)


def test_what_is_not_answered_by_a_query_is_taken_from_the_login() -> None:
    welcome = authentication(0) + parameter("in_hot_standby", "on") + READY
    findings, _said, _ended = play(ALICE, [welcome, DONE + READY])
    assert (findings.role, findings.authenticated) == ("replica", False)


def test_md5_is_answered_on_loopback_and_proves_that_we_are_let_in() -> None:
    welcome = authentication(0) + parameter("in_hot_standby", "off") + READY
    answers = [authentication(5, b"salt"), welcome, message(b"T", b"\0\1") + ROW["f"] + DONE + READY]
    findings, said, ended = play(ALICE, answers, on_loopback=True)
    assert (findings.phase, findings.role, ended) == (Phase.DONE, "primary", "")
    assert (findings.let_in, findings.authenticated) == (True, False)
    # As PostgreSQL reckons it: md5(md5(password || user) || salt).
    assert said[1] == message(b"p", b"md5986e2194384c07f4fd1df4b1351b3e68\0")
    assert not any(b"secret" in octets for octets in said)


@pytest.mark.parametrize(
    ("answers", "detail"),
    [
        pytest.param([authentication(0) + READY, ROW["f"] + READY], "", id="asks for nothing"),
        pytest.param([SASL, authentication(5, b"salt")], "EPROTO", id="MD5 after SCRAM has begun"),
        pytest.param([authentication(5, b"salt"), authentication(5, b"tlas")], "EPROTO", id="MD5 twice"),
        pytest.param([authentication(3)], "EPROTO", id="asks for the password itself"),
        pytest.param([authentication(5, b"salt"), error("28P01", "wrong")], "", id="the password is wrong"),
    ],
)
def test_on_loopback_nobody_is_believed_for_less_than_a_checked_password(answers: list[bytes], detail: str) -> None:
    findings, _said, ended = play(ALICE, answers, on_loopback=True)
    assert (ended, findings.let_in, findings.authenticated) == (detail, False, False)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        pytest.param([error("3D000", "no such database")], "3D000", id="no such database"),
        pytest.param([error("57P03", "starting up")], "57P03", id="starting up"),
        pytest.param([*login("other")[:2], error("28P01", "wrong")], "28P01", id="the password is wrong"),
        pytest.param([authentication(0) + READY, error("42501", "no")], "42501", id="the query is forbidden"),
    ],
)
def test_the_server_s_own_word_for_an_error_is_kept(answers: list[bytes | Callable[[bytes], bytes]], code: str) -> None:
    findings, _said, ended = play(ALICE, answers)
    assert (findings.error_code, findings.phase, ended) == (code, Phase.ANSWER, "")
    assert findings.detail


@pytest.mark.parametrize(
    ("answers", "detail"),
    [
        pytest.param([*login("other")[:2], authentication(12, b"v=AAAA")], "EPROTO", id="a wrong signature"),
        pytest.param([*login()[:2], authentication(0) + READY], "EPROTO", id="let in without a signature"),
        pytest.param([authentication(3)], "EPROTO", id="asks for the password itself"),
        pytest.param([authentication(5, b"salt")], "EPROTO", id="asks for MD5"),
        pytest.param([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "EMSGSIZE", id="a web server"),
        pytest.param([message(b"D", b"")], "EPROTO", id="rows before the login"),
        pytest.param([SASL[:7]], "EOF", id="breaks off"),
    ],
)
def test_who_breaks_the_protocol_is_not_believed(answers: list[bytes | Callable[[bytes], bytes]], detail: str) -> None:
    findings, said, ended = play(ALICE, answers)
    assert (ended, findings.role, findings.authenticated) == (detail, "", False)
    assert not any(b"secret" in octets for octets in said)


def test_a_password_that_is_wanted_and_missing_is_said() -> None:
    with pytest.raises(Ended, match="none is given"):
        talk = talk_postgresql(Endpoint(name="it", probe="postgresql", port=1, tls=False, user="alice"), Findings())
        next(talk)
        talk.send(SASL)


def test_without_anybody_to_log_in_as_only_the_protocol_is_looked_at() -> None:
    nobody: dict[str, Any] = {"name": "it", "probe": "postgresql", "port": 1, "tls": False}
    findings, said, _ended = play(Endpoint(**nobody), [b"N"])
    assert (findings.phase, said[0]) == (Phase.DONE, struct.pack("!II", 8, 80877103))


def test_an_error_s_fields_are_told_apart() -> None:
    assert error_fields(b"SFATAL\0C3D000\0Mno\0\0") == {"S": "FATAL", "C": "3D000", "M": "no"}
