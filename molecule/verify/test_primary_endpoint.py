# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application server reaches the primary under one name, and under that name alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from client import eventually

testinfra_hosts = ["ansible://app_servers"]

# Asks for TLS as PostgreSQL's clients do, on the listener's address, and verifies the certificate against a name.
HANDSHAKE = """
import socket, ssl, sys
address, name = sys.argv[1:]
with socket.create_connection((address, 5433), 10) as plain:
    plain.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
    assert plain.recv(1) == b"S", "the server has no TLS"
    ssl.create_default_context(cafile="/etc/nectar/tls/ca.crt").wrap_socket(plain, server_hostname=name).close()
"""


@pytest.fixture
def primary_name(host: Any) -> str:
    """Return the name that leads to the listener."""
    block = host.file("/etc/hosts").content_string.partition("BEGIN nectar.backend.primary_endpoint")[2]
    found = re.search(r"^127\.0\.0\.1 (\S+)$", block, re.MULTILINE)
    assert found, "no name of the primary in /etc/hosts"
    return found.group(1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_primary_answers_under_its_name(host: Any, primary_name: str, address: str) -> None:
    host.run_expect([0], "python3 -c %s %s %s", HANDSHAKE, address, primary_name)


def test_the_primary_answers_under_no_other_name(host: Any) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in host.run("python3 -c %s 127.0.0.1 elsewhere.test", HANDSHAKE).stderr


def test_one_server_is_the_primary(host: Any) -> None:
    ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); "
    ask += "s.sendall(b'show stat primary 4 -1\\n'); print(s.makefile().read())"

    def up() -> list[str]:
        with host.sudo():
            rows = host.check_output("python3 -c %s", ask).splitlines()
        columns = rows[0].removeprefix("# ").split(",")
        servers = [dict(zip(columns, row.split(","), strict=False)) for row in rows[1:] if row]
        return [row["svname"] for row in servers if row["pxname"] == "primary" and row["status"].startswith("UP")]

    # A check that comes late on a machine that stalls counts as failed, until the next one.
    assert eventually(lambda: len(up()) == 1, 30), up()


def test_nobody_else_reaches_the_listener(host: Any) -> None:
    addresses = {
        socket.rpartition(":")[0] for socket in host.socket.get_listening_sockets() if socket.endswith(":5433")
    }
    assert addresses == {"tcp://127.0.0.1", "tcp://::1"}
