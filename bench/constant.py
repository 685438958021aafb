# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask at a constant rate and account for every request: `python -I -S constant.py PLAN RESULT`.

When a request is due doesn't depend on the answers before it, and its latency counts from when it was due: what waits
behind a stall is seen as slow too. Connections are kept, HTTPS, and new ones are made when all are busy. It ends when
its standard input does, so that it never outlives whoever started it, or when its plan's time or requests are used up.
PLAN and RESULT are JSON; the time and the count of requests so far are printed each second.
"""

import asyncio
import contextlib
import json
import os
import ssl
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# Seconds until an answer that hasn't come counts as none, and until what is on its way at the end must be there.
PATIENCE = 10.0
# Connections to one door at a time; more requests wait for one, and their time runs.
MOST_CONNECTIONS = 128
LONGEST_HEAD = 16384
PRIORITY = -10

# What can go wrong with a request.
STATUS, TRUNCATED, WRONG, UNANSWERED, UNCONNECTED, SILENT = (
    "status", "truncated", "wrong", "unanswered", "unconnected", "silent"
)  # fmt: skip


class AnswerError(Exception):
    """An answer that isn't what was asked for: the kind of failure, and what there is to say of it."""

    def __init__(self, kind: str, detail: str, status: int = 0, request_id: str = "") -> None:
        super().__init__(detail)
        self.kind, self.detail, self.status, self.request_id = kind, detail, status, request_id


@dataclass(frozen=True)
class Failure:
    """A request that wasn't answered as it should have been; `number` says when it was due."""

    number: int
    kind: str
    status: int
    request_id: str
    detail: str


@dataclass
class Result:
    """Request `number` was due at `began + number / rate`, seconds since 1970; its milliseconds are None where they are unknown."""

    began: float
    rate: float
    milliseconds: list[float | None] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class Head:
    """What the start of an answer says."""

    status: int
    length: int
    closes: bool
    request_id: str


def parse_head(text: bytes) -> Head:
    """Read status and headers; an answer of unknown length can't be known to be whole."""
    first, *lines = text.decode("latin-1").split("\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon
    }
    try:
        return Head(
            status=int(first.split(" ", 2)[1]),
            length=int(fields["content-length"]),
            closes=fields.get("connection", "").lower() == "close",
            request_id=fields.get("x-request-id", ""),
        )
    except (KeyError, ValueError, IndexError):
        raise AnswerError(WRONG, f"no HTTP answer with a length: {text[:200]!r}") from None


class Connection:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def is_usable(self) -> bool:
        return not (self.reader.at_eof() or self.reader.exception() or self.writer.is_closing())

    async def exchange(self, request: bytes) -> tuple[Head, bytes]:
        """Send a request and read its whole answer."""
        read = b""
        try:
            self.writer.write(request)
            read = await self.reader.readuntil(b"\r\n\r\n")
            head = parse_head(read)
            return head, await self.reader.readexactly(head.length)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            read += getattr(error, "partial", b"")
            kind = TRUNCATED if read else UNANSWERED
            raise AnswerError(kind, f"{type(error).__name__}: {error}, after {len(read)} bytes") from error

    def close(self) -> None:
        self.writer.transport.abort()


class Door:
    """An address with its kept connections; each is used in its turn, so that none is idle for long."""

    def __init__(self, address: str, plan: Mapping[str, Any], context: ssl.SSLContext) -> None:
        self.address, self.plan, self.context = address, plan, context
        self.idle: deque[Connection] = deque()
        self.places = asyncio.Semaphore(MOST_CONNECTIONS)

    async def take(self) -> Connection:
        while self.idle:
            connection = self.idle.popleft()
            if connection.is_usable:
                return connection
            connection.close()
        return await self.connect()

    async def connect(self) -> Connection:
        try:
            return Connection(
                *await asyncio.open_connection(
                    self.address,
                    self.plan["port"],
                    ssl=self.context,
                    server_hostname=self.plan["name"],
                    limit=LONGEST_HEAD,
                )
            )
        except OSError as error:
            raise AnswerError(UNCONNECTED, f"{self.address}: {type(error).__name__}: {error}") from error

    async def ask(self, request: bytes, identity: int) -> None:
        """One request and its answer, which must be the order that was asked for."""
        async with self.places:
            connection = await self.take()
            is_kept = False
            try:
                head, body = await connection.exchange(request)
                is_kept = not head.closes
            finally:
                if is_kept:
                    self.idle.append(connection)
                else:
                    connection.close()
        if head.status != 200:
            raise AnswerError(STATUS, body[:200].decode(errors="replace"), head.status, head.request_id)
        if not names(body, identity):
            raise AnswerError(WRONG, f"expected order {identity}: {body[:200]!r}", head.status, head.request_id)


def names(body: bytes, identity: int) -> bool:
    """Whether the answer is the order, whole."""
    try:
        return bool(json.loads(body)["id"] == identity)
    except (ValueError, KeyError, TypeError):
        return False


class Load:
    """Requests that are due one after the other, whatever becomes of the ones before."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan
        context = ssl.create_default_context(cafile=plan["ca_file"])
        context.set_alpn_protocols(["http/1.1"])
        doors = {address: Door(address, plan, context) for address in plan["doors"]}
        # One after the other; an address that is named several times gets as many of the requests.
        self.doors = [doors[address] for address in plan["doors"]]
        self.requests = [
            f"GET {plan['path'].format(identity=number)} HTTP/1.1\r\nHost: {plan['name']}\r\n\r\n".encode()
            for number in range(1, plan["identities"] + 1)
        ]
        self.over = asyncio.Event()

    async def run(self) -> Result:
        loop, rate = asyncio.get_running_loop(), self.plan["rate"]
        loop.set_task_factory(asyncio.eager_task_factory)
        loop.add_reader(sys.stdin.fileno(), self.over.set)
        await self.warm_up()
        began = loop.time()
        self.result = Result(time.time(), rate)
        most = min(int(self.plan["seconds"] * rate), self.plan["requests"])
        telling, pending = began, set[asyncio.Task[None]]()
        for number in range(most):
            due = began + number / rate
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if self.over.is_set():
                break
            self.result.milliseconds.append(None)
            task = asyncio.create_task(self.ask(number, due))
            if not task.done():
                pending.add(task)
                task.add_done_callback(pending.discard)
            if loop.time() >= telling:
                telling = loop.time() + 1
                self.tell(number + 1)
        await asyncio.gather(*pending)
        return self.result

    async def warm_up(self) -> None:
        """Open the connections that are kept."""
        for door in set(self.doors):
            door.idle.extend([await door.connect() for _ in range(self.plan["connections"])])

    async def ask(self, number: int, due: float) -> None:
        """One request; whatever becomes of it is noted."""
        loop, result = asyncio.get_running_loop(), self.result
        index = number % len(self.requests)
        try:
            async with asyncio.timeout_at(due + PATIENCE):
                await self.doors[number % len(self.doors)].ask(self.requests[index], index + 1)
        except TimeoutError:
            result.failures.append(Failure(number, SILENT, 0, "", f"no answer within {PATIENCE:g} s"))
        except AnswerError as error:
            result.failures.append(Failure(number, error.kind, error.status, error.request_id, error.detail))
        result.milliseconds[number] = round((loop.time() - due) * 1000, 2)

    def tell(self, sent: int) -> None:
        print(json.dumps({"sent": sent, "failed": len(self.result.failures)}), flush=True)


def raise_priority() -> None:
    """Its own waiting for a processor would count as the server's."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def main(plan: str, result: str) -> None:
    raise_priority()
    found = asyncio.run(Load(json.loads(plan)).run())
    with open(result, "w", encoding="ascii") as file:
        json.dump(asdict(found), file)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (AnswerError, OSError) as failed:
        sys.exit(f"{failed}")
