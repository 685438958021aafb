"""The race over real sockets of this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.nectar.backend.plugins.plugin_utils import ssh_proxy
from ansible_collections.nectar.backend.plugins.plugin_utils.ssh_proxy import RaceError, Racer

BANNER = b"SSH-2.0-test\r\n"


class Server:
    """A listener on 127.0.0.x whose accepted connections find a greeting, or silence."""

    def __init__(self, address: str, port: int, greeting: bytes) -> None:
        self.listener = socket.create_server((address, port))
        self.port = self.listener.getsockname()[1]
        self.greeting = greeting

    def greet(self) -> socket.socket:
        connection, _peer = self.listener.accept()
        connection.sendall(self.greeting)
        return connection


@pytest.fixture
def ssh_server() -> Iterator[Server]:
    server = Server("127.0.0.1", 0, BANNER)
    yield server
    server.listener.close()


def start_greeting(server: Server) -> None:
    """Greet the one connection that is to come, from a thread."""
    threading.Thread(target=server.greet, daemon=True).start()


@pytest.mark.parametrize(
    "candidates",
    [
        pytest.param(["127.0.0.1"], id="alone"),
        pytest.param(["127.0.0.2", "127.0.0.1"], id="after one that refuses"),
        pytest.param(["::1", "127.0.0.1"], id="after one of the other family"),
        pytest.param(["no-such-name.invalid", "127.0.0.1"], id="after a name that doesn't resolve"),
    ],
)
def test_the_address_that_answers_wins(candidates: list[str], ssh_server: Server) -> None:
    start_greeting(ssh_server)
    with Racer(candidates, ssh_server.port).run(5) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"
        assert connection.getblocking()
        assert connection.recv(100) == BANNER, "the banner is left for ssh to read"


def test_silence_loses(ssh_server: Server) -> None:
    silent = Server("127.0.0.2", ssh_server.port, b"")
    start_greeting(ssh_server)
    with Racer(["127.0.0.2", "127.0.0.1"], ssh_server.port).run(5) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"
    silent.listener.close()


def test_no_address_answers() -> None:
    free = Server("127.0.0.1", 0, b"")
    free.listener.close()
    with pytest.raises(RaceError, match=r"127.0.0.1 \(Connection refused\), 127.0.0.2 \(Connection refused\)"):
        Racer(["127.0.0.1", "127.0.0.2"], free.port).run(5)


def test_another_protocol_is_named(ssh_server: Server) -> None:
    ssh_server.greeting = b"HTTP/1.1 400\r\n"
    start_greeting(ssh_server)
    with pytest.raises(RaceError, match="answers, but not as SSH"):
        Racer(["127.0.0.1"], ssh_server.port).run(5)


def test_silence_alone_ends_at_the_deadline(ssh_server: Server) -> None:
    with pytest.raises(RaceError, match="no SSH banner in time"):
        Racer(["127.0.0.1"], ssh_server.port).run(0.1)


def run_script(server: Server, output: int) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-I",
        "-S",
        ssh_proxy.__file__,
        "--name",
        "app1",
        "--port",
        str(server.port),
        "127.0.0.1",
    ]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE)


def test_the_script_hands_the_connection_over(ssh_server: Server) -> None:
    """As ssh starts it: by its path, without the collection on Python's path, standard output a socket."""
    start_greeting(ssh_server)
    ours, its = socket.socketpair()
    with ours, its, run_script(ssh_server, its.fileno()):
        ours.settimeout(10)
        _data, descriptors, _flags, _address = socket.recv_fds(ours, 1, 1)
        with socket.socket(fileno=descriptors[0]) as connection:
            assert connection.recv(100) == BANNER


def test_the_script_says_why_it_failed(ssh_server: Server) -> None:
    ssh_server.listener.close()
    with run_script(ssh_server, subprocess.DEVNULL) as process:
        _output, error = process.communicate(timeout=10)
    assert process.returncode == 1
    assert error.decode() == f"No address of app1 answers on port {ssh_server.port}: 127.0.0.1 (Connection refused)\n"
