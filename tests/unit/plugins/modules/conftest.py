# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stand-ins: a small server that speaks JSON over TLS on the loopback, for the modules that ask etcd and Patroni, and HAProxy's master."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = Callable[[str, str, Any], tuple[int, Any]]
LOOPBACK = "127.0.0.1"


class JsonServer:
    """Answers with what `answer` returns for a method, a path and a body; keeps what was asked."""

    def __init__(self, directory: Path) -> None:
        self.cert_file, self.key_file = str(directory / "server.crt"), str(directory / "server.key")
        write_certificate(Path(self.cert_file), Path(self.key_file))
        self.answer: Answer = lambda method, path, body: (404, {})
        self.asked: list[tuple[str, str, Any]] = []
        self.authorizations: list[str] = []
        self.server = ThreadingHTTPServer((LOOPBACK, 0), make_handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert_file, self.key_file)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def changes(self) -> list[tuple[str, str, Any]]:
        """Return the requests other than GET."""
        return [request for request in self.asked if request[0] != "GET"]


def make_handler(world: JsonServer) -> type[BaseHTTPRequestHandler]:
    """Make the handler that asks `world`."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(text) if text else None
            world.asked.append((self.command, self.path, body))
            world.authorizations.append(self.headers.get("Authorization") or "")
            status, reply = world.answer(self.command, self.path, body)
            # Patroni answers orders in plain words.
            content = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = respond

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent."""

    return Handler


def write_certificate(cert_file: Path, key_file: Path) -> None:
    """Write a certificate for the loopback that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture
def json_server(tmp_path: Path) -> Iterator[JsonServer]:
    """A server of its own for each test."""
    world = JsonServer(tmp_path)
    yield world
    world.server.shutdown()
    world.server.server_close()


class Master:
    """HAProxy's master with its workers, as its socket shows them: a reload gives a new worker, and the old ones live on."""

    def __init__(self, haproxy: Path, reloads: Path) -> None:
        self.haproxy, self.reloads = haproxy, reloads
        self.folder = tempfile.TemporaryDirectory(prefix="nectar-")
        self.path = f"{self.folder.name}/master.sock"
        self.workers: list[dict[str, Any]] = []
        # What workers don't do although they are told, by a part of the command.
        self.deaf_to: str | None = None
        self.heard: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(16)
        self._notice_reloads()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self.folder.cleanup()

    def weights(self, backend: str) -> list[dict[str, str]]:
        """Return how the servers of a backend take requests, by worker, the current one first."""
        self._notice_reloads()
        return [
            {name: f"{weight} {'maint' if admin & 1 else 'ready'}" for name, (weight, admin) in found.items()}
            for worker in self.workers
            if (found := worker["servers"].get(backend))
        ]

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with connection:
                command = connection.recv(65536).decode().strip()
                self._notice_reloads()
                connection.sendall(self._answer(command).encode())

    def _notice_reloads(self) -> None:
        count = len(self.reloads.read_text().splitlines()) if self.reloads.exists() else 0
        while len(self.workers) <= count:
            self.workers.insert(0, {"pid": 100 + len(self.workers), "servers": self._load(), "slots": self._slots()})

    def _load(self) -> dict[str, dict[str, tuple[int, int]]]:
        servers: dict[str, dict[str, tuple[int, int]]] = {}
        for path in sorted(self.haproxy.glob("conf.d/60-*.cfg")):
            for line in path.read_text().splitlines():
                words = line.split()
                if words[:1] == ["backend"]:
                    backend = servers.setdefault(words[1], {})
                elif words[:1] == ["server"] and "weight" in words:
                    backend[words[1]] = (int(words[words.index("weight") + 1]), 5 if words[-1] == "disabled" else 0)
        return servers

    def _slots(self) -> dict[str, str]:
        path = self.haproxy / "maps" / "slots.map"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split() for line in lines if not line.startswith("#"))

    def _answer(self, command: str) -> str:
        if command == "show proc":
            rows = [f"{worker['pid']} worker {number} 0d00h00m01s 3.0" for number, worker in enumerate(self.workers)]
            return "\n".join(
                ["#<PID> <type> <reloads> <uptime> <version>", "1 master 0 0d 3.0", "# workers", *rows, ""]
            )
        pid, _space, order = command.removeprefix("@!").partition(" ")
        worker = next((worker for worker in self.workers if str(worker["pid"]) == pid), None)
        return self._obey(worker, order) if worker else "Can't find the target CLI!\n"

    def _obey(self, worker: dict[str, Any], order: str) -> str:
        words = order.split()
        if order == "show servers state":
            rows = [
                f"3 {backend} 1 {name} 192.0.2.21 2 {admin} {weight}"
                for backend, servers in worker["servers"].items()
                for name, (weight, admin) in servers.items()
            ]
            header = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
            return "\n".join(["1", header, *rows, ""])
        if order.startswith("show map"):
            return "".join(f"0x1 {name} {slot}\n" for name, slot in worker["slots"].items())
        if order.startswith("show stat"):
            return "\n"
        self.heard.append(f"{worker['pid']} {order}")
        if self.deaf_to and self.deaf_to in order:
            return "\n"
        if words[1] == "server" and worker is not self.workers[0]:
            return "Proxy is disabled.\n\n"
        if words[1] == "map":
            worker["slots"][words[3]] = words[4]
        else:
            backend, name = words[2].split("/")
            weight, admin = worker["servers"][backend][name]
            told = {"weight": (words[4], admin), "state": (weight, {"ready": 4, "maint": 5}.get(words[4]))}[words[3]]
            worker["servers"][backend][name] = (int(told[0]), told[1])
        return "\n"


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """HAProxy's master for the configuration in `haproxy`; its reloads are lines of `log`."""
    master = Master(tmp_path / "haproxy", tmp_path / "log")
    yield master
    master.close()
