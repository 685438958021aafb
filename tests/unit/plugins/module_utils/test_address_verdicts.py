# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each kind of probe may see, and what it means."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Observation, Verdict, judge
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Candidate, Endpoint, Source

CANDIDATE = Candidate("10.89.77.10", 443, (Source("registry", order=0), Source("dns", server="10.89.77.41")))
ENDPOINTS = {
    "tcp": Endpoint("cache", "tcp", 443, accept="reachable"),
    "tls": Endpoint("mail", "tls", 443, server_name="mail.nectar.test"),
    "tls, no name": Endpoint("mail", "tls", 443, accept="reachable"),
    "http": Endpoint("alice", "http", 443, server_name="alice.nectar.test", path="/id", identity={"deployment": "alice", "slot": "blue"}),
    "http, no identity": Endpoint("alice", "http", 443, server_name="alice.nectar.test", status=(200, 204)),
    "http, bare": Endpoint("alice", "http", 80, tls=False, accept="reachable"),
    "ssh": Endpoint("app1", "ssh", 22, host_keys=("ssh-ed25519 AAAA",), host_key_alias="app1"),
    "ssh, no keys": Endpoint("app1", "ssh", 22, accept="reachable"),
    "ssh, login": Endpoint("app1", "ssh", 22, host_keys=("ssh-ed25519 AAAA",), host_key_alias="app1", user="alice"),
    "primary": Endpoint("db", "postgresql", 5432, server_name="primary.nectar.test", role="primary", user="alice", database="shop"),
    "replica": Endpoint("db", "postgresql", 5432, server_name="primary.nectar.test", role="replica", user="alice"),
    "database": Endpoint("db", "postgresql", 5432, server_name="primary.nectar.test"),
    "pooler": Endpoint("db", "postgresql", 6432, tls=False, user="alice", password="secret", database="alice"),
    "database, no name": Endpoint("db", "postgresql", 5432, accept="reachable"),
}  # fmt: skip


def seen(phase: str, error: str = "", **more: Any) -> Observation:
    return Observation(phase, error=error, seconds=more.pop("seconds", 4.0), **more)


CASES: dict[str, tuple[str, Observation, str, str]] = {
    # The connection, the same for every probe
    "nothing listens": ("http", seen("connect", "ECONNREFUSED"), "refused", "registry, dns:10.89.77.41"),
    "a firewall resets": ("http", seen("connect", "ECONNRESET"), "refused", "ECONNRESET"),
    "no answer to three attempts": ("ssh", seen("connect", timed_out=True, attempts=3), "filtered", "after 3 attempts in 4.0 s"),
    "no answer to one": ("ssh", seen("connect", timed_out=True), "filtered", "after 1 attempt in"),
    "the kernel gave up": ("tcp", seen("connect", "ETIMEDOUT"), "filtered", "no firewall drops it"),
    "no route": ("tcp", seen("connect", "ENETUNREACH"), "unreachable", "no route to this network"),
    "a router says no": ("tcp", seen("connect", "EHOSTUNREACH"), "unreachable", "ask the firewall on the way"),
    "prohibited in IPv6": ("tcp", seen("connect", "EACCES"), "unreachable", "prohibited"),
    "this host's own firewall": ("tcp", seen("connect", "EPERM"), "unreachable", "own firewall"),
    "no address of that family": ("tcp", seen("connect", "EADDRNOTAVAIL"), "unreachable", "use the other family"),
    "something unheard of": ("tcp", seen("connect", "EMFILE"), "unreachable", "(EMFILE)"),
    "TCP alone": ("tcp", seen("done"), "reachable", "who answers there is not known"),
    # Silence and hanging up, after the connection
    "no ServerHello": ("tls", seen("tls", timed_out=True), "silent", "where a TLS server should speak"),
    "no answer to the request": ("http", seen("answer", timed_out=True), "silent", "where a web server should speak"),
    "no banner": ("ssh", seen("answer", timed_out=True), "silent", "where an SSH server should speak"),
    "no answer to the startup message": ("primary", seen("answer", timed_out=True), "silent", "PostgreSQL should speak"),
    "closed at once": ("primary", seen("tls", "EOF"), "refused", "closes it without a word (EOF)"),
    "reset at once": ("ssh", seen("answer", "ECONNRESET"), "refused", "closes it without a word"),
    "half an answer": ("http", seen("answer", timed_out=True, heard=True), "reachable", "says no more for 4.0 s"),
    "broken off": ("ssh", seen("answer", "ECONNRESET", heard=True), "reachable", "breaks off (ECONNRESET)"),
    # TLS
    "a certificate of the name": ("tls", seen("done"), "proven", "that it is mail.nectar.test"),
    "a certificate, and no name to compare": ("tls, no name", seen("done"), "reachable", "give server_name"),
    "another name": (
        "tls", seen("tls", tls_error="name mismatch", certificate={"names": ["a.test", "b.test"], "not_after": "2027-01-01"}),
        "tls_mismatch", "as mail.nectar.test: name mismatch; its certificate is for a.test, b.test, valid until 2027-01-01",
    ),
    "an unknown authority": ("http", seen("tls", tls_error="unable to get local issuer"), "tls_mismatch", "local issuer"),
    "no TLS at all": ("primary", seen("tls", tls_error="the server offers no TLS"), "tls_mismatch", "offers no TLS"),
    # HTTP
    "the identity": (
        "http", seen("done", status=200, identity={"deployment": "alice", "slot": "blue", "host": "app1"}), "proven", 'deployment "alice", slot "blue"',
    ),
    "another identity": (
        "http", seen("done", status=200, identity={"deployment": "bob", "slot": "blue"}), "wrong_server",
        'says that it is deployment "bob", where deployment "alice" is meant',
    ),
    "another identity, and ill": ("http", seen("done", status=503, identity={"deployment": "bob"}), "wrong_server", 'deployment "bob"'),
    "the identity, and ill": (
        "http", seen("done", status=503, identity={"deployment": "alice", "slot": "blue"}), "reachable", "answers 503 at /id, where 200 is expected",
    ),
    "a type that differs": ("http", seen("done", status=200, identity={"deployment": ["alice"], "slot": "blue"}), "wrong_server", '["alice"]'),
    "half an identity": ("http", seen("done", status=200, identity={"deployment": "alice"}), "reachable", "a document without slot"),
    "no JSON": ("http", seen("done", status=200), "reachable", "no JSON document"),
    "a redirection": ("http", seen("done", status=301), "reachable", "answers 301"),
    "misdirected": ("http", seen("done", status=421), "wrong_server", "serves no alice.nectar.test"),
    "the certificate is proof enough": ("http, no identity", seen("done", status=204), "proven", "by its certificate that it is alice.nectar.test"),
    "one of two statuses is missing": ("http, no identity", seen("done", status=404), "reachable", "200 or 204 is expected"),
    "plain HTTP": ("http, bare", seen("done", status=200), "reachable", "give identity"),
    # SSH
    "its host key": ("ssh", seen("done", host_key="matches"), "proven", "has a host key of app1"),
    "another host key": (
        "ssh", seen("answer", host_key="differs", fingerprint="SHA256:abc"), "wrong_server", "host key (SHA256:abc) that is none of app1",
    ),
    "another host key, and hung up": (
        "ssh", seen("answer", "EOF", host_key="differs", heard=True), "wrong_server", "another server has this address",
    ),
    "a host key to compare with nothing": ("ssh, no keys", seen("done"), "reachable", "give host_keys"),
    "an answer without a host key": ("ssh", seen("answer", detail="no common algorithm"), "reachable", "no common algorithm"),
    "its host key, and a login": ("ssh, login", seen("done", host_key="matches"), "proven", "lets alice in"),
    "its host key, and no login": (
        "ssh, login", seen("answer", host_key="matches", detail="Permission denied"), "reachable", "refuses the login of alice (Permission denied)",
    ),
    # PostgreSQL
    "the primary": ("primary", seen("done", role="primary", authenticated=True), "proven", "that it is primary.nectar.test, and is the primary"),
    "a replica, where the primary is meant": ("primary", seen("done", role="replica"), "wrong_server", "is a replica, where a primary is meant"),
    "the primary, where a replica is meant": ("replica", seen("done", role="primary"), "wrong_server", "is a primary, where a replica is meant"),
    "a replica": ("replica", seen("done", role="replica"), "proven", "and is a replica"),
    "no role told": ("primary", seen("done"), "reachable", "does not say whether it is a primary"),
    "any role": ("database", seen("done", role="replica"), "proven", "is primary.nectar.test, and is a replica"),
    "any role, without a login": ("database", seen("done"), "proven", "is primary.nectar.test"),
    "no such database": ("primary", seen("answer", error_code="3D000"), "wrong_server", "has no database shop (3D000)"),
    "a wrong password": ("primary", seen("answer", error_code="28P01"), "reachable", "(28P01): the password is wrong"),
    "not let in": ("primary", seen("answer", error_code="28000", detail="no pg_hba.conf entry"), "reachable", "no pg_hba.conf entry"),
    "no privilege": ("pooler", seen("answer", error_code="42501"), "reachable", "lacks a privilege"),
    "full": ("pooler", seen("answer", error_code="53300"), "reachable", "all connections are taken"),
    "starting up": ("primary", seen("answer", error_code="57P03"), "reachable", "wait, then ask again"),
    "an unknown error": ("primary", seen("answer", error_code="XX000"), "reachable", "see PostgreSQL's log"),
    "an error, then closed": ("primary", seen("answer", "EOF", heard=True, error_code="28P01"), "reachable", "28P01"),
    "a pooler that knows the password": ("pooler", seen("done", authenticated=True), "proven", "that it knows alice"),
    "a pooler that checks the password": ("pooler", seen("done", role="primary", let_in=True), "proven", "lets alice in by password, and is the primary"),
    "a pooler that asks for none": ("pooler", seen("done"), "reachable", "whose is not known"),
    "a server without a name to compare": ("database, no name", seen("done"), "reachable", "give server_name with tls"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("endpoint", "observation", "verdict", "reason"), [pytest.param(*row, id=name) for name, row in CASES.items()]
)
def test_judge(endpoint: str, observation: Observation, verdict: str, reason: str) -> None:
    judged = judge(ENDPOINTS[endpoint], CANDIDATE, observation)
    assert judged.verdict == Verdict(verdict)
    assert reason in judged.reason
    assert judged.reason.startswith("10.89.77.10:443 ")
    assert judged.observation is observation
    assert "secret" not in judged.reason


@pytest.mark.parametrize("probe", ["tls", "http", "ssh", "primary", "pooler"])
@pytest.mark.parametrize("phase", ["connect", "tls", "answer"])
@pytest.mark.parametrize("fault", [{"timed_out": True}, {"error": "EOF"}, {"error": "ECONNRESET"}], ids=str)
@pytest.mark.parametrize("heard", [False, True])
def test_nothing_unfinished_is_proven(probe: str, phase: str, fault: dict[str, Any], heard: bool) -> None:
    assert judge(ENDPOINTS[probe], CANDIDATE, Observation(phase, heard=heard, **fault)).verdict != Verdict.PROVEN
