# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of addresses, paths and servers, made on the lab's hosts; each is undone when its block ends."""

from __future__ import annotations

import contextlib
import datetime
import json
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from client import eventually
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lab import STATE, Lab


@contextlib.contextmanager
def addresses(lab: Lab, host: str, *added: str) -> Iterator[None]:
    """Further addresses on a host, as if they were its own."""
    try:
        for address in added:
            # The duplicates that IPv6 looks for would keep an address from being used for a second.
            lab.inside(host, f"ip address replace {address} dev eth0 nodad")
        yield
    finally:
        for address in added:
            lab.inside(host, f"ip address flush to {address}")


@contextlib.contextmanager
def rules(lab: Lab, host: str, *statements: str, opened: Iterable[int] = ()) -> Iterator[None]:
    """Statements that a host's kernel asks before its own firewall, and ports that this one lets through meanwhile.

    Such as `input: ip daddr 192.0.2.1 drop`; the chains are those of packets that come in and go out, and of nat.
    A host has one such block at a time.
    """
    hooks = {"input": "filter hook input priority -10", "output": "filter hook output priority -10"}
    hooks["prerouting"] = "nat hook prerouting priority -100"
    chains = {name: f"type {hook};\n" for name, hook in hooks.items()}
    for statement in statements:
        chain, _, rule = statement.partition(": ")
        chains[chain] += f"{rule}\n"
    table = "".join(f"chain {name} {{\n{content}}}\n" for name, content in chains.items())
    ports = "".join(f"add rule inet nectar allow tcp dport {port} accept\n" for port in opened)
    lab.inside(host, "nft -f -", f"create table inet faults\ntable inet faults {{\n{table}}}\n{ports}")
    try:
        yield
    finally:
        lab.inside(host, "nft -f /etc/nftables.conf")


@contextlib.contextmanager
def paused(lab: Lab, host: str) -> Iterator[None]:
    lab.pause(host)
    try:
        yield
    finally:
        lab.unpause(host)


@contextlib.contextmanager
def serving(lab: Lab, host: str, name: str, port: int, command: str, files: dict[str, str]) -> Iterator[None]:
    """A server that listens on a host's port; files are written to its folder first."""
    folder, unit = f"/run/faults-{name}", f"faults-{name}"
    try:
        lab.inside(host, f"mkdir -p -m 0700 {folder}")
        for file, content in files.items():
            lab.inside(host, f"umask 077; cat > {folder}/{file}", content)
        lab.inside(host, f"systemd-run --quiet --collect --unit={unit} --working-directory={folder} {command}")
        assert eventually(lambda: f":{port} " in lab.inside(host, "ss -Hltn"), 10), f"{name} does not listen on {host}"
        yield
    finally:
        lab.inside(host, f"systemctl stop {unit} || true; rm -r {folder}")


@contextlib.contextmanager
def certificate(lab: Lab, host: str, name: str, port: int, server_name: str, days: int) -> Iterator[None]:
    """A TLS server whose certificate is of the environment's authority and ends in so many days."""
    command = f"openssl s_server -quiet -www -accept {port} -cert server.pem -key server.pem"
    with serving(lab, host, name, port, command, {"server.pem": issue(server_name, days)}):
        yield


@contextlib.contextmanager
def foreign_ssh_server(lab: Lab, host: str) -> Iterator[None]:
    """Whoever comes to a host's SSH port meets a server with a key that nobody knows."""
    port = 2222
    start = f"sh -c 'ssh-keygen -q -t ed25519 -N \"\" -f key && exec /usr/sbin/sshd -D -p {port} -h $PWD/key -o PidFile=none'"
    redirect = f"prerouting: tcp dport 22 redirect to :{port}"
    with serving(lab, host, "sshd", port, start, {}), rules(lab, host, redirect, opened=[port]):
        yield


def issue(server_name: str, days: int) -> str:
    """A key and a certificate of the environment's own authority, in one PEM."""
    authority = x509.load_pem_x509_certificate((STATE / "ca/ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((STATE / "ca/ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, server_name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(server_name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + signed.public_bytes(serialization.Encoding.PEM)).decode()


@contextlib.contextmanager
def names(lab: Lab, **variables: Any) -> Iterator[None]:
    """Other records, zones and views of the environment's name server, from its role's variables."""
    converge = ("site.yml", "--tags", "name_server", "--limit", "ops_servers")
    try:
        lab.play(*converge, "--extra-vars", json.dumps(variables))
        yield
    finally:
        lab.play(*converge)


class Delay:
    """A TCP proxy on the loopback that lets every octet pass so many seconds later, in both directions."""

    def __init__(self, address: str, port: int, seconds: float) -> None:
        self._target, self._seconds = (address, port), seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Delay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self._listener.close()

    def _run(self) -> None:
        late: deque[tuple[float, socket.socket, bytes]] = deque()
        open_sockets: list[socket.socket] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _ in selector.select(0.005):
                    if key.fileobj is self._listener:
                        client, _address = self._listener.accept()
                        server = socket.create_connection(self._target, 5)
                        open_sockets += [client, server]
                        selector.register(client, selectors.EVENT_READ, server)
                        selector.register(server, selectors.EVENT_READ, client)
                        continue
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    with contextlib.suppress(OSError):
                        octets = source.recv(65_536)
                        late.append((time.monotonic() + self._seconds, key.data, octets))
                        if octets:
                            continue
                    selector.unregister(source)
                while late and late[0][0] <= time.monotonic():
                    _, receiver, octets = late.popleft()
                    with contextlib.suppress(OSError):
                        receiver.sendall(octets) if octets else receiver.shutdown(socket.SHUT_WR)
        for each in open_sockets:
            each.close()
