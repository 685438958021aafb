# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One HTTP request on a conversation: its status, and who the answer says that it is."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Collection
from typing import Any, cast

from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Phase
from ansible_collections.nectar.backend.plugins.module_utils.probe_conversation import Ended, Findings, Talk

LIMIT = 65_536
HEAD_END = b"\r\n\r\n"


class Recorded:
    """What http.client takes for a socket."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def makefile(self, *_mode: object) -> io.BytesIO:
        return io.BytesIO(self.octets)


def talk_http(
    say: Callable[[bytes], Talk[bytes]], host: str, path: str, keys: Collection[str], findings: Findings
) -> Talk[None]:
    """Ask once; the body is read only where it is to say who answers, and of it only what was asked for."""
    octets = yield from say(request(host, path))
    while HEAD_END not in octets:
        if not octets.startswith(b"HTTP/"[: len(octets)]) or len(octets) > LIMIT:
            raise Ended("EPROTO", f"what answers speaks no HTTP; it says {octets[:40]!r}")
        octets += yield from say(b"")
    status, length, chunked = read_head(octets)
    findings.status = status
    if keys:
        octets = yield from _read_body(say, octets, length, chunked)
        document = read_document(octets)
        findings.identity = None if document is None else {key: document[key] for key in keys if key in document}
    findings.phase = Phase.DONE


def request(host: str, path: str) -> bytes:
    name = f"[{host}]" if ":" in host else host
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {name}",
        "User-Agent: nectar",
        "Accept: application/json, */*;q=0.1",
        "Connection: close",
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")


def _read_body(say: Callable[[bytes], Talk[bytes]], octets: bytes, length: int | None, chunked: bool) -> Talk[bytes]:
    """Read to the body's end, as the head tells it, or to the end of the connection."""
    start = octets.index(HEAD_END) + len(HEAD_END)
    while len(octets) - start < (LIMIT if length is None else min(length, LIMIT)):
        if chunked and octets[start:].endswith(b"0" + HEAD_END):
            break
        try:
            octets += yield from say(b"")
        except Ended:
            if length is None and not chunked:
                break
            raise
    return octets


def read_head(octets: bytes) -> tuple[int, int | None, bool]:
    """Status, length of the body where it is told, and whether it comes in chunks."""
    answer = _parse(octets)
    return answer.status, answer.length, bool(answer.chunked)


def read_document(octets: bytes) -> dict[str, Any] | None:
    """The JSON object in an answer's body, if that is what it is."""
    try:
        document = json.loads(_parse(octets).read(LIMIT))
    except (ValueError, http.client.HTTPException, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _parse(octets: bytes) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(cast(Any, Recorded(octets)))
    try:
        answer.begin()
    except (http.client.HTTPException, ValueError) as error:
        raise Ended("EPROTO", f"what answers speaks no sound HTTP ({type(error).__name__})") from error
    return answer
