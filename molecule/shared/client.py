# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients that go on asking a deployment while a host is lost, and say what they saw."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and answered (monotonic seconds), and what came back."""

    sent: float
    done: float
    status: int
    body: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class _Connection(http.client.HTTPSConnection):
    """HTTPS to one address, whatever the name resolves to; the name is what the certificate must show."""

    def __init__(self, name: str, address: str, port: int, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(name, port, context=context, timeout=seconds)
        self._address, self._tls = address, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


@dataclass(frozen=True)
class Door:
    """How a deployment is reached: a row of `nectar status --format json`."""

    url: str
    address: str
    port: int
    ca_file: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> Door:
        return cls(row["url"], row["address"], row["port"], row["ca_file"])

    def ask(self, path: str, *, post: dict[str, Any] | None = None, seconds: float = 10.0) -> Answer:
        """Send one request over a connection of its own; a connection that fails is status 0."""
        name = urlsplit(self.url).hostname or ""
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = _Connection(name, self.address, self.port, context, seconds)
        sent = time.monotonic()
        try:
            if post is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(post), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Answer(sent, time.monotonic(), response.status, response.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            return Answer(sent, time.monotonic(), 0, f"{type(error).__name__}: {error}")
        finally:
            connection.close()


@dataclass
class Client:
    """Ask again and again, in a thread, until the block ends or a limit of requests is reached."""

    request: Callable[[], Answer]
    pause: float = 0.1
    limit: int = 2000
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Client:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.is_set() and len(self.answers) < self.limit:
            self.answers.append(self.request())
            self._stop.wait(self.pause)

    @property
    def failures(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.ok]

    def first_success_after(self, moment: float) -> float | None:
        """Seconds from `moment` to the end of the first good answer to a request sent after it."""
        return next((answer.done - moment for answer in self.answers if answer.ok and answer.sent >= moment), None)

    def longest_gap(self) -> float:
        """The longest time, in seconds, between two good answers that follow each other."""
        times = [answer.done for answer in self.answers if answer.ok]
        return max((after - before for before, after in itertools.pairwise(times)), default=float("inf"))


def eventually[T](check: Callable[[], T], seconds: float, pause: float = 0.5) -> T:
    """Return the first true answer of `check`, or its last one when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > deadline:
            return found
        threading.Event().wait(pause)
