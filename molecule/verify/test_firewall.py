# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server lets in, tried from outside over IPv4 and IPv6."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

testinfra_hosts = ["ansible://all"]

# No role listens here, and nothing lets it in.
UNNAMED_PORT = 18999
LISTENER = f"python3 -m http.server --bind :: {UNNAMED_PORT}"


def addresses_of(host: Any) -> list[str]:
    """Return the server's addresses of both families."""
    shown = host.check_output("ip -brief address show scope global up")
    return [word.split("/")[0] for line in shown.splitlines() for word in line.split()[2:] if "/" in word]


def answer_of(address: str, port: int) -> str:
    """Try to connect from here, and say what came back."""
    try:
        with socket.create_connection((address, port), timeout=3):
            return "open"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return str(error)


@contextlib.contextmanager
def listener(host: Any) -> Iterator[None]:
    """Have something listen on the server, so that only the firewall can keep us out."""
    unit = "verify-firewall"
    with host.sudo():
        host.run(f"systemctl stop {unit}")
        host.check_output(f"systemd-run --quiet --unit={unit} {LISTENER}")
        try:
            wait = f"timeout 10 sh -c 'until ss -Hltn sport = :{UNNAMED_PORT} | grep -q LISTEN; do :; done'"
            host.check_output(wait)
            yield
        finally:
            host.run(f"systemctl stop {unit}")


def test_ssh_is_let_in(host: Any) -> None:
    addresses = addresses_of(host)
    assert addresses
    assert {address: answer_of(address, 22) for address in addresses} == dict.fromkeys(addresses, "open")


def test_a_port_that_nobody_named_stays_silent(host: Any) -> None:
    addresses = addresses_of(host)
    with listener(host):
        assert {address: answer_of(address, UNNAMED_PORT) for address in addresses} == dict.fromkeys(
            addresses, "silent"
        )


def test_the_rules_come_back_after_a_restart(host: Any) -> None:
    assert host.service("nftables").is_enabled
    with host.sudo():
        loaded = host.check_output("nft --stateless list ruleset")
        # In a network of its own, the file alone must give the very rules that are loaded.
        afresh = host.check_output(
            "unshare --net sh -c 'nft --file /etc/nftables.conf && nft --stateless list ruleset'"
        )
    if loaded != afresh:
        pytest.fail(f"loaded:\n{loaded}\nafter a restart:\n{afresh}")
