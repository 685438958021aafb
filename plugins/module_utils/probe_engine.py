# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many addresses probed at once: one epoll loop, TCP for all of them, a protocol only where somebody answers."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Observation, Phase
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Candidate, Endpoint, Settings
from ansible_collections.nectar.backend.plugins.module_utils.probe_conversation import (
    Ended,
    Findings,
    Talk,
    say_plainly,
)
from ansible_collections.nectar.backend.plugins.module_utils.probe_http import talk_http
from ansible_collections.nectar.backend.plugins.module_utils.probe_postgresql import talk_postgresql
from ansible_collections.nectar.backend.plugins.module_utils.probe_ssh import ENVIRONMENT, Transcript, ssh_command
from ansible_collections.nectar.backend.plugins.module_utils.probe_tls import Tls, talk_tls

# What is open besides connections: standard streams, epoll, what SSH clients write to.
SPARE_DESCRIPTORS = 128
# Connections opened, and events handled, before others have their turn.
BATCH = 256
# Protocols spoken at a time: TLS takes some 50 KB for each. Others wait, connected, and their time does not run.
TALKS = 1_000
# OpenSSH clients at a time: each is a process of 6 MB that takes 20 ms of a processor.
CLIENTS = 24
# Own work in one turn of the loop is held against nobody beyond this many seconds.
PATIENCE = 0.1
CHUNK = 65_536
# Lacks of this host that pass; the address has no part in them.
PASSING = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
PAUSE = 0.1


class Probe:
    """One address of one endpoint, from its first attempt to its observation."""

    __slots__ = (
        "address", "attempts", "began", "candidate", "client", "connection", "endpoint", "family", "findings", "index",
        "local", "outgoing", "sockets", "state", "talk", "transcript",
    )  # fmt: skip

    def __init__(self, index: int, endpoint: Endpoint, candidate: Candidate) -> None:
        self.index, self.endpoint, self.candidate = index, endpoint, candidate
        self.family = socket.AF_INET6 if ":" in candidate.address else socket.AF_INET
        self.address = (candidate.address, candidate.port)
        self.state = "waiting"  # then connecting, connected, talking, over
        self.attempts, self.began, self.local = 0, 0.0, ""
        self.sockets: list[socket.socket] = []
        self.connection: socket.socket | None = None
        self.findings: Findings | None = None
        self.talk: Talk[bytes] | None = None
        self.client: Client | None = None
        self.transcript: Transcript | None = None
        self.outgoing = b""


def probe_all(pairs: Iterable[tuple[Endpoint, Candidate]], settings: Settings) -> list[Observation]:
    """Probe each pair, and answer what was seen in the same order."""
    engine = Engine([Probe(index, *pair) for index, pair in enumerate(pairs)], settings, raise_descriptor_limit())
    try:
        return engine.run()
    finally:
        engine.close()


def raise_descriptor_limit() -> int:
    """Let this process open as many files as it may, and answer how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_000_000


def start_talk(probe: Probe, findings: Findings) -> Talk[bytes]:
    """What the endpoint's probe says."""
    endpoint = probe.endpoint
    if endpoint.probe == "tls":
        return talk_tls(endpoint.ca_file, endpoint.server_name, findings)
    if endpoint.probe == "postgresql":
        return talk_postgresql(endpoint, findings, on_loopback=probe.candidate.ip.is_loopback)
    return _talk_http(endpoint, probe.candidate, findings)


def _talk_http(endpoint: Endpoint, candidate: Candidate, findings: Findings) -> Talk[bytes]:
    host = endpoint.server_name or candidate.address
    say: Callable[[bytes], Talk[bytes]] = say_plainly
    tls = Tls(endpoint.ca_file, endpoint.server_name, findings) if endpoint.tls else None
    if tls:
        yield from tls.open()
        say = tls.say
    yield from talk_http(say, host, endpoint.path, endpoint.identity.keys(), findings)
    return tls.farewell() if tls else b""


class Engine:
    """The loop. All timers of a kind last equally long, so each kind is a queue in which the first is due first."""

    def __init__(self, probes: Sequence[Probe], settings: Settings, descriptors: int) -> None:
        self.settings = settings
        self.limit = max(1, min(settings.parallel, descriptors - SPARE_DESCRIPTORS))
        self.probes = probes
        self.results: list[Observation | None] = [None] * len(probes)
        self.unopened = deque(probes)
        self.connected: deque[Probe] = deque()
        self.clients_waiting: deque[Probe] = deque()
        self.attempt_timers: deque[tuple[float, Probe]] = deque()
        self.talk_timers: deque[tuple[float, Probe]] = deque()
        self.resume_at = 0.0
        self.epoll = select.epoll()
        self.handlers: dict[int, tuple[Callable[[Probe, Any], None], Probe, Any]] = {}
        self.remaining, self.open, self.talking, self.clients = len(probes), 0, 0, 0
        self.now = 0.0  # the loop's own clock, which own work beyond PATIENCE does not move

    def run(self) -> list[Observation]:
        while self.remaining:
            started = time.monotonic()
            self._start_due()
            busy = time.monotonic() - started
            events = self.epoll.poll(self._pause(), BATCH)
            polled = time.monotonic()
            for descriptor, _flags in events:
                # An earlier event of the same turn may have ended this one.
                if handler := self.handlers.get(descriptor):
                    handler[0](handler[1], handler[2])
            waited = polled - started - busy
            self.now += waited + min(busy + time.monotonic() - polled, PATIENCE)
            if len(events) < BATCH:
                self._expire()
        return [result for result in self.results if result]

    def close(self) -> None:
        """Leave nothing behind, however it ended."""
        for probe in self.probes:
            if probe.state != "over":
                self._release(probe)
        self.epoll.close()

    def _pause(self) -> float:
        """Seconds until something is due."""
        if self.unopened and self.open < self.limit and self.now >= self.resume_at:
            return 0.0
        due = [timers[0][0] for timers in (self.attempt_timers, self.talk_timers) if timers]
        if self.unopened and self.open < self.limit:
            due.append(self.resume_at)
        return max(0.0, min(due, default=self.now) - self.now)

    def _start_due(self) -> None:
        while self.connected and self.talking < TALKS:
            self._start_talking(self.connected.popleft())
        while self.clients_waiting and self.clients < CLIENTS:
            self._start_client(self.clients_waiting.popleft())
        for _number in range(BATCH):
            if not self.unopened or self.open >= self.limit or self.now < self.resume_at:
                return
            probe = self.unopened.popleft()
            probe.state, probe.began = "connecting", time.monotonic()
            self._attempt(probe)

    def _expire(self) -> None:
        while self.talk_timers and self.talk_timers[0][0] <= self.now:
            probe = self.talk_timers.popleft()[1]
            if probe.state == "talking":
                self._finish(probe, timed_out=True)
        while self.attempt_timers and self.attempt_timers[0][0] <= self.now:
            probe = self.attempt_timers.popleft()[1]
            if probe.state != "connecting":
                continue
            if probe.attempts >= self.settings.attempts:
                self._finish(probe, phase=Phase.CONNECT, timed_out=True)
            else:
                self._attempt(probe)

    def _attempt(self, probe: Probe) -> None:
        """Connect once more; earlier attempts may still succeed, unless descriptors are short."""
        if probe.sockets and self.open >= self.limit:
            self._drop_socket(probe, probe.sockets[0])
        try:
            connection = socket.socket(probe.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._fail_attempt(probe, error.errno or errno.EIO)
            return
        self.open += 1
        probe.sockets.append(connection)
        code = connection.connect_ex(probe.address)
        if code not in (0, errno.EINPROGRESS):
            self._drop_socket(probe, connection)
            self._fail_attempt(probe, code)
            return
        probe.attempts += 1
        self.handlers[connection.fileno()] = (self._on_connect, probe, connection)
        self.epoll.register(connection.fileno(), select.EPOLLOUT)
        self.attempt_timers.append((self.now + self.settings.timeout / self.settings.attempts, probe))

    def _fail_attempt(self, probe: Probe, code: int) -> None:
        if code not in PASSING or not self.open:
            self._finish(probe, phase=Phase.CONNECT, error=errno.errorcode.get(code, "EIO"))
        elif probe.sockets:
            probe.attempts += 1
            self.attempt_timers.append((self.now + self.settings.timeout / self.settings.attempts, probe))
        else:
            probe.state = "waiting"
            self.unopened.append(probe)
            self.resume_at = self.now + PAUSE

    def _on_connect(self, probe: Probe, connection: socket.socket) -> None:
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._finish(probe, phase=Phase.CONNECT, error=errno.errorcode.get(code, "EIO"))
            return
        probe.local = connection.getsockname()[0]
        if probe.endpoint.probe == "tcp":
            self._finish(probe, phase=Phase.DONE)
            return
        for other in [item for item in probe.sockets if item is not connection]:
            self._drop_socket(probe, other)
        self._unwatch(connection.fileno())
        probe.state = "connected"
        if probe.endpoint.probe == "ssh":
            # The client opens a connection of its own: nobody else may speak for it.
            self._drop_socket(probe, connection)
            self.clients_waiting.append(probe)
            return
        probe.connection = connection
        self.connected.append(probe)

    def _start_talking(self, probe: Probe) -> None:
        probe.state = "talking"
        self.talking += 1
        probe.findings = Findings()
        probe.talk = start_talk(probe, probe.findings)
        self.talk_timers.append((self.now + self.settings.timeout, probe))
        connection = self._connection(probe)
        self.handlers[connection.fileno()] = (self._on_talk, probe, connection)
        self.epoll.register(connection.fileno(), select.EPOLLIN)
        self._advance(probe, None)

    def _on_talk(self, probe: Probe, connection: socket.socket) -> None:
        try:
            if probe.outgoing:
                self._send(probe, b"")
            octets = connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(probe, error=errno.errorcode.get(error.errno or errno.EIO, "EIO"))
            return
        if octets and probe.findings:
            probe.findings.heard = True
        self._advance(probe, octets)

    def _advance(self, probe: Probe, octets: bytes | None) -> None:
        """Give the conversation what came, and send what it says; None begins it, nothing is the other side's end."""
        if probe.talk is None:
            return
        try:
            if octets is None:
                self._send(probe, next(probe.talk))
            else:
                self._send(probe, probe.talk.send(octets) if octets else probe.talk.throw(Ended("EOF")))
        except StopIteration as end:
            probe.outgoing += end.value
            self._say_farewell(probe)
            self._finish(probe)
        except Ended as end:
            if probe.findings and end.detail:
                probe.findings.detail = end.detail
            self._finish(probe, error=end.error)
        except OSError as error:
            self._finish(probe, error=errno.errorcode.get(error.errno or errno.EIO, "EIO"))

    def _send(self, probe: Probe, octets: bytes) -> None:
        connection = self._connection(probe)
        probe.outgoing += octets
        if probe.outgoing:
            with contextlib.suppress(BlockingIOError):
                probe.outgoing = probe.outgoing[connection.send(probe.outgoing, socket.MSG_NOSIGNAL) :]
            self.epoll.modify(connection.fileno(), select.EPOLLIN | (select.EPOLLOUT if probe.outgoing else 0))

    def _say_farewell(self, probe: Probe) -> None:
        # All is known already; a server that is gone needs no farewell.
        with contextlib.suppress(OSError):
            self._connection(probe).send(probe.outgoing, socket.MSG_NOSIGNAL)

    def _start_client(self, probe: Probe) -> None:
        probe.state, probe.findings = "talking", Findings()
        probe.transcript = Transcript(probe.endpoint, probe.findings)
        client = probe.client = Client(ssh_command(probe.endpoint, probe.candidate), client_environment())
        self.clients += 1
        descriptor = client.errors
        os.set_blocking(descriptor, False)
        self.handlers[descriptor] = (self._on_client, probe, descriptor)
        self.epoll.register(descriptor, select.EPOLLIN)
        self.talk_timers.append((self.now + self.settings.timeout, probe))

    def _on_client(self, probe: Probe, descriptor: int) -> None:
        transcript = probe.transcript
        if transcript is None:
            return
        try:
            octets = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return
        if octets:
            transcript.read(octets)
        else:
            transcript.close()
        if transcript.ended:
            self._finish(probe, error=transcript.error)

    def _finish(self, probe: Probe, phase: str = "", error: str = "", timed_out: bool = False) -> None:
        facts = vars(probe.findings) if probe.findings else {"phase": phase}
        self.results[probe.index] = Observation(
            error=error, timed_out=timed_out, attempts=probe.attempts, local=probe.local,
            seconds=time.monotonic() - probe.began, **facts,
        )  # fmt: skip
        self.remaining -= 1
        self._release(probe)

    def _release(self, probe: Probe) -> None:
        if probe.state == "talking" and probe.client:
            self.clients -= 1
        elif probe.state == "talking":
            self.talking -= 1
        probe.state = "over"
        for connection in list(probe.sockets):
            self._drop_socket(probe, connection)
        if probe.client:
            self._unwatch(probe.client.errors)
            probe.client.end()
        probe.talk = probe.connection = probe.client = probe.transcript = probe.findings = None

    def _drop_socket(self, probe: Probe, connection: socket.socket) -> None:
        probe.sockets.remove(connection)
        self._unwatch(connection.fileno())
        connection.close()
        self.open -= 1

    def _unwatch(self, descriptor: int) -> None:
        if self.handlers.pop(descriptor, None):
            self.epoll.unregister(descriptor)

    def _connection(self, probe: Probe) -> socket.socket:
        if probe.connection is None:
            raise ConnectionError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return probe.connection


def client_environment() -> dict[str, str]:
    """What the SSH client needs of ours: where programs are, and the agent that a login may ask."""
    kept = {key: os.environ[key] for key in ("PATH", "SSH_AUTH_SOCK", "HOME") if key in os.environ}
    return {**ENVIRONMENT, **kept}


class Client(subprocess.Popen[bytes]):
    """An SSH client beside the loop, in a session of its own so that it asks no terminal; run_command would wait for its end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        super().__init__(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self.errors = self.stderr.fileno() if self.stderr else -1

    def end(self) -> None:
        if self.stderr:
            self.stderr.close()
        self.kill()
        self.wait()
