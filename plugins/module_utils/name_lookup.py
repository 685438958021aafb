# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names asked of several name servers at once: what each says, that there is no such name, or nothing usable."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.endpoints import (
    SYSTEM,
    Endpoint,
    Lookup,
    Service,
    Settings,
)

try:
    import dns.exception
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.resolver

    HAS_DNSPYTHON = True
except ImportError:
    HAS_DNSPYTHON = False

FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
THREADS = 64
# glibc waits 5 s and asks twice; a packet that is lost once must not look like a server that is gone.
RESOLVER_OPTIONS = "timeout:1 attempts:3"
NO_SUCH_NAME, NO_DATA = (socket.EAI_NONAME,), (socket.EAI_NODATA, socket.EAI_ADDRFAMILY)

Question = tuple[str, str, str]  # server, name, type


def lacks_dnspython(endpoints: Iterable[Endpoint], settings: Settings) -> bool:
    """The system's resolver asks for addresses alone, and its own servers alone; the rest is dnspython's."""
    chosen = any(server != SYSTEM for server in settings.name_servers)
    needed = any(endpoint.services or (chosen and endpoint.names) for endpoint in endpoints)
    return needed and not HAS_DNSPYTHON


def look_up(endpoints: Iterable[Endpoint], settings: Settings) -> list[Lookup]:
    """Ask every server for all that the endpoints name: addresses and services, then the services' hosts."""
    names = {name for endpoint in endpoints for name in endpoint.names}
    services = {name for endpoint in endpoints for name in endpoint.services}
    servers = settings.name_servers
    questions = {(server, name, kind) for server in servers for name in names for kind in FAMILIES}
    first = ask_all(questions | {(server, name, "SRV") for server in servers for name in services}, settings)
    targets = {
        (lookup.server, service.target, kind) for lookup in first for service in lookup.services for kind in FAMILIES
    }
    return [*first, *ask_all(targets - questions, settings)]


def ask_all(questions: Iterable[Question], settings: Settings) -> list[Lookup]:
    """Ask in parallel; what isn't answered when time is up has failed."""
    todo = sorted(questions)
    if not todo:
        return []
    waiting: queue.SimpleQueue[Question] = queue.SimpleQueue()
    answers: queue.SimpleQueue[Lookup] = queue.SimpleQueue()
    for question in todo:
        waiting.put(question)
    os.environ.setdefault("RES_OPTIONS", RESOLVER_OPTIONS)

    def work() -> None:
        while True:
            try:
                question = waiting.get_nowait()
            except queue.Empty:
                return
            answers.put(ask(question, settings))

    # A system resolver can't be interrupted: such a thread is left behind, and ends with the process.
    for _number in range(min(THREADS, len(todo))):
        threading.Thread(target=work, daemon=True).start()
    rounds = -(-len(todo) // THREADS)
    deadline = time.monotonic() + settings.timeout * rounds + 1
    found: dict[Question, Lookup] = {}
    while len(found) < len(todo):
        try:
            lookup = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[lookup.server, lookup.name, lookup.type] = lookup
    late = f"no answer in {settings.timeout:g} s"
    return one_voice(
        found.get(question) or Lookup(*question, outcome="failed", detail=late, seconds=settings.timeout)
        for question in todo
    )


def one_voice(lookups: Iterable[Lookup]) -> list[Lookup]:
    """The system's resolver denies a name of which it has no address of a family, even where it has one of the other."""
    known = list(lookups)
    names = {lookup.name for lookup in known if lookup.server == SYSTEM and lookup.addresses}
    return [
        replace(lookup, outcome="answered", detail="")
        if lookup.outcome == "no_such_name" and lookup.server == SYSTEM and lookup.name in names
        else lookup
        for lookup in known
    ]


def ask(question: Question, settings: Settings) -> Lookup:
    """Ask one server one question."""
    server, name, kind = question
    began = time.monotonic()

    def found(outcome: str, **more: Any) -> Lookup:
        return Lookup(server, name, kind, outcome, seconds=time.monotonic() - began, **more)

    try:
        if server == SYSTEM and kind in FAMILIES:
            return found("answered", addresses=_ask_system(name, kind))
        servers = system_servers() if server == SYSTEM else [server]
        return _ask_servers(servers, name, kind, settings, found)
    except socket.gaierror as error:
        if error.errno in NO_SUCH_NAME:
            return found("no_such_name", detail=str(error.strerror))
        if error.errno in NO_DATA:
            return found("answered")
        return found("failed", detail=str(error.strerror))
    except (OSError, UnicodeError) as error:
        return found("failed", detail=str(error))


def _ask_system(name: str, kind: str) -> tuple[str, ...]:
    answers = socket.getaddrinfo(name, None, FAMILIES[kind], socket.SOCK_STREAM)
    return tuple(sorted({str(answer[-1][0]) for answer in answers}))


def system_servers() -> list[str]:
    """The servers that the system's own resolver asks; it answers for addresses alone."""
    try:
        return [str(server) for server in dns.resolver.Resolver().nameservers]
    except dns.exception.DNSException:
        return []


def _ask_servers(
    servers: Sequence[str], name: str, kind: str, settings: Settings, found: Callable[..., Lookup]
) -> Lookup:
    """The first server's answer that is one; attempts share the time there is."""
    query = dns.message.make_query(name, kind)
    detail = "no name server is configured"
    patience = settings.timeout / settings.attempts / max(1, len(servers))
    for server in list(servers) * settings.attempts:
        try:
            answer, _by_tcp = dns.query.udp_with_fallback(query, server, timeout=patience, ignore_unexpected=True)
        except dns.exception.Timeout:
            detail = f"no answer in {settings.timeout:g} s"
            continue
        except (dns.exception.DNSException, OSError, EOFError) as error:
            detail = f"{type(error).__name__}: {error}".rstrip(": ")
            continue
        code = answer.rcode()
        if code == dns.rcode.NXDOMAIN:
            return found("no_such_name", detail="NXDOMAIN")
        if code == dns.rcode.NOERROR:
            return found("answered", **read_answer(answer, name, kind))
        detail = dns.rcode.to_text(code)
    return found("failed", detail=detail)


def read_answer(answer: Any, name: str, kind: str) -> dict[str, Any]:
    """The addresses or services of an answer, aliases followed; in no order, for DNS gives none."""
    wanted = dns.rdatatype.from_text(kind)
    try:
        records = list(answer.resolve_chaining().answer or ())
    except dns.exception.DNSException:
        records = []
    if kind != "SRV":
        return {"addresses": tuple(sorted(record.address for record in records if record.rdtype == wanted))}
    services = {
        Service(record.target.to_text(omit_final_dot=True).lower(), record.port, record.priority, record.weight)
        for record in records
        if record.rdtype == wanted and str(record.target) != "."
    }
    return {"services": tuple(sorted(services, key=lambda item: (item.priority, item.target, item.port)))}
