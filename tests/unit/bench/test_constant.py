# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The constant load, against a real HTTPS server that answers well, late, in part, wrongly, or not at all."""

from __future__ import annotations

import datetime
import json
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import constant

SCRIPT = Path(constant.__file__)
IDENTITIES = 5


class Server(ThreadingHTTPServer):
    """Answers orders; what happens to one of them is said by its identity."""

    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.behaviour: dict[int, str] = {}
        self.clients: Counter[Any] = Counter()
        self.pause = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has enough just goes."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.clients[self.client_address] += 1
        identity = int(self.path.rpartition("/")[2])
        behaviour = self.server.behaviour.get(identity, "")
        if behaviour == "gone":
            self.close_connection = True
            return
        if behaviour == "late":
            self.server.pause.wait(0.6)
        body = json.dumps({"id": identity + (behaviour == "wrong"), "rest": "x" * 2000}).encode()
        self.send_response(500 if behaviour == "error" else 200)
        self.send_header("X-Request-Id", f"request-{identity}")
        self.send_header("Content-Length", str(len(body)))
        if behaviour == "closes":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[:100] if behaviour == "part" else body)
        self.close_connection = behaviour in ("part", "closes")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    with Server(certificate) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Load:
    def __init__(self, server: Server, certificate: Path, folder: Path) -> None:
        self.server, self.result = server, folder / "result.json"
        self.plan: dict[str, Any] = {
            "name": "localhost", "doors": ["127.0.0.1"], "port": server.server_port, "ca_file": str(certificate),
            "path": "/orders/{identity}", "identities": IDENTITIES, "connections": 3, "rate": 100, "seconds": 60, "requests": 50,
        }  # fmt: skip

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(SCRIPT), json.dumps({**self.plan, **changes}), str(self.result)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, **changes: Any) -> dict[str, Any]:
        process = self.start(**changes)
        try:
            # Standard input stays open: its end would be the load's.
            assert process.wait(30) == 0, process.stderr and process.stderr.read()
        finally:
            process.kill()
            process.communicate()
        found: dict[str, Any] = json.loads(self.result.read_text())
        return found


@pytest.fixture
def load(server: Server, certificate: Path, tmp_path: Path) -> Load:
    return Load(server, certificate, tmp_path)


def test_every_request_is_counted_on_connections_that_are_kept(load: Load) -> None:
    found = load.run()
    assert found["failures"] == []
    assert len(found["milliseconds"]) == 50
    assert all(taken > 0 for taken in found["milliseconds"])
    assert sum(load.server.clients.values()) == 50
    assert len([client for client, asked in load.server.clients.items() if asked > 1]) >= 3


def test_connections_that_the_server_closes_are_made_anew(load: Load) -> None:
    load.server.behaviour = dict.fromkeys(range(1, IDENTITIES + 1), "closes")
    assert load.run()["failures"] == []
    assert set(load.server.clients.values()) == {1}


@pytest.mark.parametrize(
    ("behaviour", "kind", "status", "request_id"),
    [
        pytest.param("error", constant.STATUS, 500, "request-2", id="an error is told by its identity"),
        pytest.param("wrong", constant.WRONG, 200, "request-2", id="another order"),
        pytest.param("part", constant.TRUNCATED, 0, "", id="an answer that ends early"),
        pytest.param("gone", constant.UNANSWERED, 0, "", id="no answer"),
    ],
)
def test_what_goes_wrong_is_told_apart(behaviour: str, kind: str, status: int, request_id: str, load: Load) -> None:
    load.server.behaviour = {2: behaviour}
    found = load.run()
    assert {(item["kind"], item["status"], item["request_id"]) for item in found["failures"]} == {
        (kind, status, request_id)
    }
    assert sorted(item["number"] for item in found["failures"]) == list(range(1, 50, IDENTITIES))
    assert None not in found["milliseconds"]


def test_a_late_answer_keeps_no_other_request_from_being_sent(load: Load) -> None:
    load.server.behaviour = {1: "late"}
    found = load.run(requests=60)
    late = [number for number, taken in enumerate(found["milliseconds"]) if taken > 500]
    assert set(range(0, 60, IDENTITIES)) <= set(late)
    assert found["failures"] == []


def test_waiting_for_a_connection_counts(load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "constant.py"
    script.write_text(SCRIPT.read_text().replace("MOST_CONNECTIONS = 128", "MOST_CONNECTIONS = 1"))
    monkeypatch.setitem(globals(), "SCRIPT", script)
    load.server.behaviour = {1: "late"}
    found = load.run(requests=5, connections=1)
    # All of these were due within 50 ms, and behind the one that is late.
    assert all(taken > 500 for taken in found["milliseconds"])


def test_it_ends_with_whoever_started_it(load: Load) -> None:
    with load.start(requests=10_000) as process:
        try:
            assert process.stdout
            assert json.loads(process.stdout.readline()) == {"sent": 1, "failed": 0}
            assert process.stdin
            process.stdin.close()
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert 0 < len(json.loads(load.result.read_text())["milliseconds"]) < 10_000


def test_without_a_server_nothing_is_measured(load: Load) -> None:
    process = load.start(port=1)
    assert process.communicate(timeout=20)[1].startswith("127.0.0.1: ")
    assert process.returncode == 1


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="of unknown length"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="no HTTP"),
    ],
)
def test_an_answer_that_cannot_be_judged_is_wrong(head: bytes) -> None:
    with pytest.raises(constant.AnswerError) as caught:
        constant.parse_head(head)
    assert caught.value.kind == constant.WRONG
