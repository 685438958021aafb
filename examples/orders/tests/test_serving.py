"""The server as it is started, without a database."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orders.serving import read_options

SOURCE = Path(__file__).resolve().parents[1] / "src"
# No connection leaves from this address: a free port of 127.0.0.1 may be some client's a moment later.
LOOPBACK = "127.79.0.1"


@pytest.mark.parametrize(
    ("argv", "environment", "expected"),
    [
        pytest.param([], {}, ("127.0.0.1", 8000, 2, 1), id="nothing said"),
        pytest.param(["--bind", "192.0.2.1:80", "--threads=2"], {}, ("192.0.2.1", 80, 2, 1), id="an address"),
        pytest.param(["--bind", "[2001:db8::1]:80"], {"WEB_CONCURRENCY": "3"}, ("2001:db8::1", 80, 2, 3), id="IPv6"),
        pytest.param(["--workers=2"], {"WEB_CONCURRENCY": "3"}, ("127.0.0.1", 8000, 2, 2), id="the nearer word"),
    ],
)
def test_options(argv: list[str], environment: dict[str, str], expected: tuple[object, ...]) -> None:
    told = read_options(argv, environment)
    assert (told["address"], told["port"], told["blocking_threads"], told["workers"]) == expected


@pytest.mark.parametrize("text", ["8000", ":8000", "localhost:http", "localhost:65536"])
def test_an_address_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_options(["--bind", text], {})
    assert f"found {text!r}, expected ADDRESS:PORT" in capsys.readouterr().err


@pytest.fixture
def port() -> int:
    with socket.create_server((LOOPBACK, 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "orders.serving", "--bind", f"{LOOPBACK}:{port}", "--threads", "2"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "ORDERS_DATABASE": "postgresql://nobody:x@127.0.0.1:1/none"}
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:  # noqa: S603 - this program, and a number
        try:
            assert eventually(lambda: health(port) == 200)
            yield process
        finally:
            # Its workers, too: they outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def health(port: int) -> int | None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > until or pause.wait(0.05):
            return False
    return True


def workers(server: subprocess.Popen[bytes]) -> list[int]:
    text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii")
    return [int(number) for number in text.split()]


def test_a_worker_that_dies_is_replaced(server: subprocess.Popen[bytes], port: int) -> None:
    (died,) = workers(server)
    os.kill(died, signal.SIGKILL)
    assert eventually(lambda: died not in workers(server) and health(port) == 200)


def test_it_stops_when_told_to_and_closes_what_is_idle(server: subprocess.Popen[bytes], port: int) -> None:
    with socket.create_connection((LOOPBACK, port), 5) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: orders\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
        server.terminate()
        assert server.wait(10) == 0
        assert idle.recv(4096) == b""
