# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load generator, against real HTTP servers that keep connections, close them, or fail."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench import load


class Server(ThreadingHTTPServer):
    def __init__(self, handler: type[Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.asked: list[tuple[object, str]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has enough just goes."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    closes, status, body = False, 200, b"x" * 100_000

    def do_GET(self) -> None:
        self.server.asked.append((self.client_address, self.path))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        if self.closes:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def handler() -> type[Handler]:
    return type("Own", (Handler,), {})


@pytest.fixture
def server(handler: type[Handler], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(handler) as server:
        monkeypatch.setattr(load, "PORT", server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("closes", [pytest.param(False, id="kept connections"), pytest.param(True, id="closed ones")])
def test_answers_are_counted_once_each(closes: bool, handler: type[Handler], server: Server) -> None:
    handler.closes = closes
    answered, seconds = load.load("/orders/{identity}", 3, connections=4, seconds=0.3)
    asked = server.asked
    assert seconds >= 0.3
    # What was on its way when the time was over is not counted.
    assert 0 < answered <= len(asked) <= answered + 4
    assert {path for _, path in asked} == {"/orders/1", "/orders/2", "/orders/3"}
    clients = {client for client, _ in asked}
    assert len(clients) == (len(asked) if closes else 4)


@pytest.mark.parametrize(
    ("status", "closes"), [pytest.param(503, False, id="it says no"), pytest.param(404, True, id="it finds nothing")]
)
def test_an_answer_that_is_none_ends_the_measurement(
    status: int, closes: bool, handler: type[Handler], server: Server
) -> None:
    handler.status, handler.closes = status, closes
    with pytest.raises(load.LoadError, match=f"expected 200.*{status}"):
        load.load("/", 1, connections=2, seconds=5)


def test_it_runs_alone_and_says_what_is_wrong() -> None:
    script = Path(load.__file__).read_text(encoding="utf-8")
    plan = '{"deployment": "nobody", "ways": {"one": ["true"]}, "rounds": 1}'
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-", plan], input=script, capture_output=True, text=True, check=False,
        env={"PATH": "/nowhere"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "systemctl" in done.stderr
    assert "Traceback" not in done.stderr
