# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an observation of one address means: a verdict, and a sentence that says what was seen and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Candidate, Endpoint
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import show


class Verdict(StrEnum):
    """What an address is worth; the first is the best, and the order is that of what most needs a person's eye."""

    PROVEN = "proven"
    REACHABLE = "reachable"
    AMBIGUOUS = "ambiguous"
    WRONG_SERVER = "wrong_server"
    TLS_MISMATCH = "tls_mismatch"
    SILENT = "silent"
    REFUSED = "refused"
    FILTERED = "filtered"
    UNREACHABLE = "unreachable"
    STALE = "stale"
    FORBIDDEN = "forbidden"
    NO_SUCH_NAME = "no_such_name"


class Phase(StrEnum):
    """How far a probe came: the phase in which it ended."""

    CONNECT = "connect"  # the TCP connection did not come about
    TLS = "tls"  # the connection stands, TLS (or PostgreSQL's request for it) ended it
    ANSWER = "answer"  # the service was spoken to, and did not say all that was asked
    DONE = "done"  # everything that the endpoint asks for was done and answered


@dataclass(frozen=True)
class Observation:
    """What a probe saw. It states facts only: `judge` says what they mean.

    `error` is the name of an errno, `EOF` where the other side closed, or "". `heard` says whether the service sent
    anything at all. `local` is the source address that the kernel chose, with its prefix length where that is known.
    `authenticated` says that the server proved it knows the role's password (SCRAM's signature of the server); `let_in`
    that it let the role in by its password and proved nothing itself, which counts on this host's own loopback (MD5).
    """

    phase: str
    error: str = ""
    timed_out: bool = False
    heard: bool = False
    attempts: int = 1
    seconds: float = 0.0
    local: str = ""
    tls_error: str = ""
    certificate: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None
    identity: Mapping[str, Any] | None = None
    host_key: str = ""  # matches, differs, or "" and unknown: not seen, or nothing to compare with
    fingerprint: str = ""
    role: str = ""  # primary or replica, as the server itself says
    error_code: str = ""
    authenticated: bool = False
    let_in: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Judged:
    """A candidate with what it is worth, and why."""

    candidate: Candidate
    verdict: Verdict
    reason: str
    observation: Observation | None = None


def judge(endpoint: Endpoint, candidate: Candidate, observation: Observation) -> Judged:
    """Say what an observation means for the endpoint."""
    verdict, reason = _verdict(endpoint, candidate, observation)
    return Judged(candidate, verdict, reason, observation)


Finding = tuple[Verdict, str]

# What no route, or a firewall that says so, looks like. EACCES is IPv6's word for "administratively prohibited".
NO_WAY = {
    "ENETUNREACH": "there is no route to this network from here; use an address of a family that works here, or mend the route",
    "EHOSTUNREACH": "a router or firewall says that the host can't be reached; see that it runs, and ask the firewall on the way",
    "EACCES": "a firewall on the way says that it is prohibited; open it, or use another address",
    "EPERM": "this host's own firewall forbids it; open it, or use another address",
    "ENETDOWN": "this host's network is down; bring it up",
    "EHOSTDOWN": "the host is down; start it",
    "EADDRNOTAVAIL": "this host has no address of that family to connect from; use the other family",
    "EAFNOSUPPORT": "this host knows no addresses of that family; use the other family",
}
CLOSED = ("EOF", "ECONNRESET", "ECONNABORTED", "EPIPE")
# SQLSTATE, what it means for whoever connects, and what to do.
LOGIN_ERRORS = {
    "28P01": "the password is wrong; give the role's present one",
    "28000": "this role may not log in from here; look at pg_hba.conf and at the role",
    "42501": "the role lacks a privilege that it needs to connect; grant it",
    "53300": "all connections are taken; look at who holds them",
    "57P03": "it is starting up or recovering; wait, then ask again",
    "57P01": "it is being shut down; ask again",
}
MISSING_DATABASE = "3D000"
MISDIRECTED = 421
SERVICES = {"tls": "a TLS server", "http": "a web server", "ssh": "an SSH server", "postgresql": "PostgreSQL"}


def _verdict(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> Finding:
    if seen.phase == Phase.CONNECT:
        return _not_connected(candidate, seen)
    if endpoint.probe == "tcp":
        return Verdict.REACHABLE, f"{candidate} accepts connections; who answers there is not known"
    if seen.tls_error:
        return Verdict.TLS_MISMATCH, _tls_mismatch(endpoint, candidate, seen)
    if seen.host_key == "differs":
        return Verdict.WRONG_SERVER, _wrong_host_key(endpoint, candidate, seen)
    if seen.phase != Phase.DONE and not seen.error_code and (seen.timed_out or seen.error):
        return _broken_off(endpoint, candidate, seen)
    return {"tls": _tls, "http": _http, "ssh": _ssh, "postgresql": _postgresql}[endpoint.probe](
        endpoint, candidate, seen
    )


def _not_connected(candidate: Candidate, seen: Observation) -> Finding:
    if seen.error in ("ECONNREFUSED", "ECONNRESET"):
        return Verdict.REFUSED, (
            f"{candidate} refuses connections ({seen.error}); start the service there, open its firewall, "
            f"or {_correct(candidate)}"
        )
    if seen.timed_out or seen.error == "ETIMEDOUT":
        times = f"{seen.attempts} attempts" if seen.attempts > 1 else "1 attempt"
        return Verdict.FILTERED, (
            f"{candidate} does not answer at all, after {times} in {seen.seconds:.1f} s; see that the host runs "
            f"and that no firewall drops it, or {_correct(candidate)}"
        )
    remedy = NO_WAY.get(seen.error, "this host could not open a connection; see the error")
    return Verdict.UNREACHABLE, f"{candidate} can't be reached ({seen.error or seen.detail}): {remedy}"


def _correct(candidate: Candidate) -> str:
    return f"correct the address where it comes from ({', '.join(candidate.labels) or 'the caller'})"


def _broken_off(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> Finding:
    service = SERVICES[endpoint.probe]
    if seen.heard:
        how = f"says no more for {seen.seconds:.1f} s" if seen.timed_out else f"breaks off ({seen.error})"
        return Verdict.REACHABLE, (
            f"{candidate} begins to answer and then {how}; nothing is proven; look at the service's log there"
        )
    if seen.timed_out:
        return Verdict.SILENT, (
            f"{candidate} accepts the connection and says nothing for {seen.seconds:.1f} s, where {service} should speak; "
            f"the host or the service is frozen or overloaded: look there"
        )
    return Verdict.REFUSED, (
        f"{candidate} accepts the connection and closes it without a word ({seen.error}), where {service} should speak; "
        f"see that something serves behind it"
    )


def _tls_mismatch(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> str:
    names = ", ".join(str(name) for name in seen.certificate.get("names", ()))
    shown = f"; its certificate is for {names}" if names else ""
    until = f", valid until {seen.certificate['not_after']}" if seen.certificate.get("not_after") else ""
    wanted = f" as {endpoint.server_name}" if endpoint.server_name else ""
    return (
        f"{candidate} does not prove itself{wanted}: {seen.tls_error}{shown}{until}; renew or correct the certificate "
        f"there, or {_correct(candidate)}"
    )


def _wrong_host_key(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> str:
    owner = f" of {endpoint.host_key_alias}" if endpoint.host_key_alias else ""
    shown = f" ({seen.fingerprint})" if seen.fingerprint else ""
    return (
        f"{candidate} answers with a host key{shown} that is none{owner}: another server has this address; "
        f"{_correct(candidate)}, or enter the new key if the server was made anew"
    )


def _tls(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> Finding:
    if endpoint.server_name:
        return Verdict.PROVEN, f"{candidate} proves by its certificate that it is {endpoint.server_name}"
    return Verdict.REACHABLE, (
        f"{candidate} has a certificate of a trusted authority; give server_name to prove whose it is"
    )


def _http(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> Finding:
    wrong = {
        key: seen.identity[key]
        for key, value in endpoint.identity.items()
        if seen.identity is not None and key in seen.identity and seen.identity[key] != value
    }
    if wrong:
        said = ", ".join(f"{key} {show(value)}" for key, value in wrong.items())
        meant = ", ".join(f"{key} {show(endpoint.identity[key])}" for key in wrong)
        return Verdict.WRONG_SERVER, (
            f"{candidate} says that it is {said}, where {meant} is meant; {_correct(candidate)}, "
            f"or correct what leads there (the load balancer's map)"
        )
    if seen.status == MISDIRECTED:
        return Verdict.WRONG_SERVER, (
            f"{candidate} answers 421: it serves no {endpoint.server_name or 'such name'}; {_correct(candidate)}, "
            f"or deploy there what is to answer"
        )
    if seen.status not in endpoint.status:
        expected = " or ".join(str(status) for status in endpoint.status)
        return Verdict.REACHABLE, (
            f"{candidate} answers {seen.status} at {endpoint.path}, where {expected} is expected; "
            f"who answers is not known: see what serves there"
        )
    missing = [key for key in endpoint.identity if seen.identity is None or key not in seen.identity]
    if missing:
        document = "no JSON document" if seen.identity is None else f"a document without {', '.join(missing)}"
        return Verdict.REACHABLE, (
            f"{candidate} answers {seen.status} at {endpoint.path} with {document}; who answers is not known: "
            f"see that path leads to the identity document"
        )
    if endpoint.identity:
        proof = ", ".join(f"{key} {show(value)}" for key, value in endpoint.identity.items())
        return Verdict.PROVEN, f"{candidate} says that it is {proof}"
    if endpoint.tls and endpoint.server_name:
        return Verdict.PROVEN, f"{candidate} proves by its certificate that it is {endpoint.server_name}"
    return Verdict.REACHABLE, f"{candidate} answers {seen.status}; give identity to prove who answers"


def _ssh(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> Finding:
    owner = endpoint.host_key_alias or endpoint.name
    if seen.host_key != "matches":
        return Verdict.REACHABLE, (
            f"{candidate} is an SSH server; whose is not known{_detail(seen)}; give host_keys to prove it"
        )
    if endpoint.user and seen.phase != Phase.DONE:
        return Verdict.REACHABLE, (
            f"{candidate} has a host key of {owner}, and refuses the login of {endpoint.user}{_detail(seen)}; "
            f"see that the account is there and has the key"
        )
    return Verdict.PROVEN, f"{candidate} has a host key of {owner}" + (
        f", and lets {endpoint.user} in" if endpoint.user else ""
    )


def _postgresql(endpoint: Endpoint, candidate: Candidate, seen: Observation) -> Finding:
    if endpoint.role != "any" and seen.role not in ("", "any", endpoint.role):
        return Verdict.WRONG_SERVER, (
            f"{candidate} is a {seen.role}, where a {endpoint.role} is meant; ask the cluster who leads "
            f"(patronictl list), or {_correct(candidate)}"
        )
    if seen.error_code == MISSING_DATABASE:
        return Verdict.WRONG_SERVER, (
            f"{candidate} has no database {endpoint.database or endpoint.user} ({MISSING_DATABASE}); "
            f"{_correct(candidate)}, or create the database"
        )
    if seen.error_code:
        meaning = LOGIN_ERRORS.get(seen.error_code, "see PostgreSQL's log there")
        who = endpoint.user or "this connection"
        return (
            Verdict.REACHABLE,
            f"{candidate} is PostgreSQL and refuses {who} ({seen.error_code}{_detail(seen)}): {meaning}",
        )
    named = endpoint.tls and bool(endpoint.server_name)
    if not (named or seen.authenticated or seen.let_in):
        return Verdict.REACHABLE, (
            f"{candidate} is PostgreSQL; whose is not known: give server_name with tls, or user and password"
        )
    if endpoint.role != "any" and not seen.role:
        return Verdict.REACHABLE, (
            f"{candidate} is PostgreSQL, and does not say whether it is a {endpoint.role}{_detail(seen)}; give user and password"
        )
    who = (
        f"proves that it is {endpoint.server_name}" if named
        else f"proves that it knows {endpoint.user}" if seen.authenticated
        else f"is on this host itself, lets {endpoint.user} in by password"
    )  # fmt: skip
    role = f", and is the {seen.role}" if seen.role == "primary" else f", and is a {seen.role}" if seen.role else ""
    return Verdict.PROVEN, f"{candidate} {who}{role}"


def _detail(seen: Observation) -> str:
    return f" ({seen.detail})" if seen.detail else ""
