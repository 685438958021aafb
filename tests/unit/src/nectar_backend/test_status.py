# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nectar_backend.errors import NectarError
from nectar_backend.status import Target, as_json, ask, ask_all, find_address, find_ready_path, judge, list_targets

IDENTITY = {"deployment": "alice", "release": "r1", "slot": "blue", "host": "app1", "database": "alice"}
TARGET = Target("alice", "https://alice.nectar.test/", "alice.nectar.test", "127.0.0.1", 443, "", "/readyz", "alice")


def identity(**changes: Any) -> tuple[int, bytes]:
    return 200, json.dumps({**IDENTITY, **changes}).encode()


@pytest.mark.parametrize(
    ("ready", "named", "error"),
    [
        pytest.param((200, b""), identity(), None, id="served"),
        pytest.param((503, b""), identity(), "GET /readyz answered 503, expected 200", id="not ready"),
        pytest.param(
            (200, b""), (404, b""), "GET /.well-known/nectar answered 404, expected 200", id="nobody says who"
        ),
        pytest.param((200, b""), identity(deployment="bob"), "names 'bob', expected 'alice'", id="somebody else"),
        pytest.param((200, b""), (200, b"<html>"), "names None, expected 'alice'", id="no document"),
        pytest.param((200, b""), (200, b'["alice"]'), "names None, expected 'alice'", id="another document"),
    ],
)
def test_the_verdict(ready: tuple[int, bytes], named: tuple[int, bytes], error: str | None) -> None:
    row = judge(TARGET, ready, named)
    assert row.ok is (error is None)
    assert (row.error or "").endswith(error or "")


def test_the_fields_that_scripts_read() -> None:
    [fields] = json.loads(as_json([judge(TARGET, (200, b""), identity())]))
    wanted = {"deployment", "url", "address", "port", "ca_file", "release", "database", "ok"}
    assert wanted <= set(fields)
    assert (fields["deployment"], fields["release"], fields["database"], fields["ok"]) == ("alice", "r1", "alice", True)


def inventory(virtual: list[str]) -> dict[str, Any]:
    def deployment(name: str, kind: str, number: int) -> dict[str, Any]:
        host = f"{name}.nectar.test"
        common = {"name": name, "kind": kind, "number": number, "server_name": host, "database": name}
        return {**common, "url": f"https://{host}/", "application": "orders"}

    variables = {
        "virtual_addresses": virtual,
        "server": {"connect": ["192.0.2.11", "192.0.2.12"]},
        "applications": {"orders": {"ready_path": "/readyz"}},
        "deployments": {
            "alice": deployment("alice", "member", 1),
            "staging": deployment("staging", "team", 12),
            "production": deployment("production", "team", 11),
        },
    }
    return {"_meta": {"hostvars": {"lb1": variables}}, "loadbalancers": {"hosts": ["lb1"]}}


def test_targets_are_the_teams_own_first_and_then_by_number() -> None:
    targets = list_targets(inventory(["192.0.2.10/24"]), Path("/ca.crt"))
    assert [target.deployment for target in targets] == ["production", "staging", "alice"]
    assert targets[2] == replace(TARGET, address="192.0.2.10", ca_file="/ca.crt")


@pytest.mark.parametrize(
    ("virtual", "address"),
    [
        pytest.param(["192.0.2.10/24", "2001:db8::10/64"], "192.0.2.10", id="the virtual one"),
        pytest.param([], "192.0.2.11", id="the host's"),
    ],
)
def test_the_address_that_is_asked(virtual: list[str], address: str) -> None:
    assert find_address(inventory(virtual)) == address


def test_an_inventory_without_load_balancers_is_refused() -> None:
    with pytest.raises(NectarError, match="loadbalancers has no hosts"):
        find_address({"_meta": {"hostvars": {}}})


@pytest.mark.parametrize(
    ("application", "path"),
    [({"ready_path": "/r", "health_path": "/h"}, "/r"), ({"health_path": "/h"}, "/h"), ({}, "/")],
    ids=["ready", "health", "neither"],
)
def test_the_path_that_is_asked(application: dict[str, str], path: str) -> None:
    assert find_ready_path(application) == path


class Answers(http.server.BaseHTTPRequestHandler):
    """A deployment called alice, as far as one can see from outside."""

    def do_GET(self) -> None:
        known = self.headers["Host"].partition(":")[0] == "alice.nectar.test"
        body = json.dumps(IDENTITY).encode()
        self.send_response(200 if known else 421)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


def write_certificate(path: Path, *names: str) -> Path:
    """A certificate that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, private, serialization.NoEncryption()))
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Target]:
    certificate = write_certificate(tmp_path / "ca.crt", "alice.nectar.test", "bob.nectar.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield replace(TARGET, port=server.server_port, ca_file=str(certificate))
        server.shutdown()


def test_a_deployment_is_asked_by_address_and_name(served: Target) -> None:
    row = ask(served)
    assert row.error is None
    assert (row.ok, row.release, row.slot, row.host) == (True, "r1", "blue", "app1")


def test_all_are_asked_in_order(served: Target) -> None:
    bob = replace(served, deployment="bob", server_name="bob.nectar.test")
    assert [(row.deployment, row.ok) for row in ask_all([bob, served])] == [("bob", False), ("alice", True)]


def test_a_certificate_of_another_authority_is_refused(served: Target, tmp_path: Path) -> None:
    other = write_certificate(tmp_path / "other.crt", "alice.nectar.test")
    row = ask(replace(served, ca_file=str(other)))
    assert not row.ok
    assert "certificate that" in str(row.error)


def test_a_certificate_for_another_name_is_refused(served: Target) -> None:
    assert "carol.nectar.test" in str(ask(replace(served, server_name="carol.nectar.test")).error)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"port": 1}, "127.0.0.1 port 1: Connection refused", id="nobody listens"),
        pytest.param({"ca_file": "/nonexistent/ca.crt"}, "there is no /nonexistent/ca.crt", id="no certificate yet"),
    ],
)
def test_why_there_is_no_answer(served: Target, changes: dict[str, Any], error: str) -> None:
    assert ask(replace(served, **changes)).error == error
