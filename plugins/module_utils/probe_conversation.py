# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a probe says on a connection, and what it notes of the answers; sockets and clocks are the engine's."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Phase

Result = TypeVar("Result")
# It yields octets to send, and is given what came back: at least one octet, for the end raises Ended. A whole probe
# returns the octets to send last, after which nothing is waited for.
Talk = Generator[bytes, bytes, Result]


class Ended(Exception):
    """The conversation can't go on; `error` is the name of an errno, `EOF`, or "" where `Findings` say why."""

    def __init__(self, error: str = "", detail: str = "") -> None:
        self.error, self.detail = error, detail
        super().__init__(detail or error)


@dataclass
class Findings:
    """What was seen so far; when time is up, this is what is known."""

    phase: str = Phase.ANSWER
    heard: bool = False
    tls_error: str = ""
    certificate: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    identity: dict[str, Any] | None = None
    host_key: str = ""
    fingerprint: str = ""
    role: str = ""
    error_code: str = ""
    authenticated: bool = False
    let_in: bool = False
    detail: str = ""


def say_plainly(octets: bytes) -> Talk[bytes]:
    """Send, and wait for something back; nothing to send only waits."""
    return (yield octets)


class Inbox:
    """What has come and isn't read yet, on a plain connection or inside TLS."""

    def __init__(self, say: Callable[[bytes], Talk[bytes]], limit: int = 65_536) -> None:
        self.say, self.limit = say, limit
        self.octets = b""

    def take(self, count: int, outgoing: bytes = b"") -> Talk[bytes]:
        """Send what there is to send, and answer exactly so many octets."""
        if count > self.limit:
            raise Ended("EMSGSIZE", f"a message of {count} octets, where at most {self.limit} make sense")
        if outgoing:
            self.octets += yield from self.say(outgoing)
        while len(self.octets) < count:
            self.octets += yield from self.say(b"")
        taken, self.octets = self.octets[:count], self.octets[count:]
        return taken
