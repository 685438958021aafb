# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers on the loopback that behave and misbehave, and an authority that vouches for some of them."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LOOPBACK = "127.0.0.1"
DAY = datetime.timedelta(days=1)
Serve = Callable[[socket.socket], None]


@dataclass
class Authority:
    """Certificates for the names of a test."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        certificate = self._builder("test authority", self.key, now + DAY)
        certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = certificate.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
        )
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        signed = certificate.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())
        self.file = self.folder / "ca.crt"
        self.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """What a server needs that is called by these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        builder = self._builder(names[0], key, now - DAY if expired else now + DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        signed = builder.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())
        file = self.folder / f"{names[0]}-{expired}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, name: str, key: ec.EllipticCurvePrivateKey, until: datetime.datetime) -> x509.CertificateBuilder:
        def called(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        return (
            x509.CertificateBuilder()
            .subject_name(called(name))
            .issuer_name(called("test authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 3 * DAY)
            .not_valid_after(until)
        )


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@dataclass
class Servers:
    """Servers of one test; each is a function that is given a connection."""

    listeners: list[socket.socket] = field(default_factory=list)

    def start(self, serve: Serve, context: ssl.SSLContext | None = None, host: str = LOOPBACK) -> int:
        """Serve each connection with a thread of its own, and answer the port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, 0), family=family, backlog=128)
        self.listeners.append(listener)

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _peer = listener.accept()
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                if context is None:
                    serve(connection)
                else:
                    with context.wrap_socket(connection, server_side=True) as wrapped:
                        serve(wrapped)

        threading.Thread(target=run, daemon=True).start()
        return int(listener.getsockname()[1])

    def silent(self) -> int:
        """Connections are accepted by the kernel, and nobody speaks, as on a frozen host."""
        listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.listeners.append(listener)
        return int(listener.getsockname()[1])

    def http(
        self, body: bytes, status: str = "200 OK", context: ssl.SSLContext | None = None, head: str | None = None
    ) -> int:
        """Answer every request alike."""
        lines = head if head is not None else f"Content-Length: {len(body)}\r\n"
        answer = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{lines}\r\n".encode() + body

        def serve(connection: socket.socket) -> None:
            request = b""
            while b"\r\n\r\n" not in request:
                octets = connection.recv(4096)
                if not octets:
                    return
                request += octets
            connection.sendall(answer)

        return self.start(serve, context)

    def refusing(self) -> int:
        """A port on which nobody listens; it is kept from others by being bound."""
        bound = socket.socket()
        bound.bind((LOOPBACK, 0))
        self.listeners.append(bound)
        return int(bound.getsockname()[1])

    def full(self) -> int:
        """A port whose queue is full: the kernel drops what comes, as a firewall would."""
        listener = socket.socket()
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        self.listeners.append(listener)
        address = listener.getsockname()
        for _try in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(address)
            self.listeners.append(waiting)
        return int(address[1])


@pytest.fixture
def servers() -> Iterator[Servers]:
    world = Servers()
    yield world
    for listener in world.listeners:
        listener.close()
