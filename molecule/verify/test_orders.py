# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The example's own tests over this PostgreSQL, in a database of their own, by an application server's way to the primary."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
NAME = "orders_of_the_tests"
DIRECT_PORT = 5433
# No connection leaves from this address: a free port of 127.0.0.1 may be some client's a moment later.
LOOPBACK = "127.79.0.1"


def hosts(request: pytest.FixtureRequest, group: str) -> list[Any]:
    """Return a group's hosts."""
    option = request.config.getoption
    sources = {"ansible_inventory": option("--ansible-inventory"), "ssh_config": option("--ssh-config")}
    return list(testinfra.get_hosts([f"ansible://{group}"], **sources))


def query(host: Any, statement: str) -> str:
    """Ask PostgreSQL as its superuser."""
    with host.sudo("postgres"):
        return str(host.check_output("psql --no-psqlrc --tuples-only --no-align --command %s", statement))


@pytest.fixture
def password(request: pytest.FixtureRequest) -> Iterator[str]:
    """Make a role and its database on the primary, and take both away again."""
    leader = next(
        host for host in hosts(request, "database_servers") if query(host, "SELECT pg_is_in_recovery()") == "f"
    )
    made = secrets.token_hex(16)
    query(leader, f"CREATE ROLE {NAME} LOGIN PASSWORD '{made}'")
    try:
        query(leader, f"CREATE DATABASE {NAME} OWNER {NAME}")
        yield made
    finally:
        query(leader, f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        query(leader, f"DROP ROLE {NAME}")


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Iterator[int]:
    """Open a port of this machine that leads through an application server to the primary."""
    server = hosts(request, "app_servers")[0].backend.hostname
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    forward = f"{LOOPBACK}:{port}:localhost:{DIRECT_PORT}"
    ssh = ["ssh", "-F", request.config.getoption("--ssh-config")]
    command = [*ssh, "-oControlPath=none", "-oExitOnForwardFailure=yes", "-L", forward, server, "echo open; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tunnel:
        assert tunnel.stdout is not None
        assert tunnel.stdout.readline() == b"open\n"
        yield port
        tunnel.communicate(timeout=10)


def test_the_examples_own_tests_pass(password: str, way: int) -> None:
    database = f"postgresql://{NAME}:{password}@{LOOPBACK}:{way}/{NAME}?sslmode=require"
    tests = ["-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", "examples/orders/tests/test_api.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *tests],
        env={**os.environ, "ORDERS_TEST_DATABASE": database},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
