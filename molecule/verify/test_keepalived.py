# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every virtual address is on exactly one load balancer, answers there, and would find another one ready."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
import testinfra  # type: ignore[import-untyped]
from client import eventually

testinfra_hosts = ["ansible://loadbalancers"]


@pytest.fixture(autouse=True)
def shared(load_balancers: list[Any]) -> None:
    """Leave out a topology in which the playbooks don't run this role."""
    if len(load_balancers) < 2:
        pytest.skip("one load balancer has no virtual address")


@pytest.fixture
def virtual_addresses(host: Any) -> list[str]:
    """Return the addresses that the load balancers share."""
    found = re.findall(
        r"^\s+(\S+)/(?:32|128) dev", host.file("/etc/keepalived/keepalived.conf").content_string, re.MULTILINE
    )
    assert found
    return found


@pytest.fixture
def load_balancers(request: Any) -> list[Any]:
    """Return all load balancers, whichever of them is tested."""
    option = request.config.getoption
    return list(
        testinfra.get_hosts(
            testinfra_hosts, ansible_inventory=option("--ansible-inventory"), ssh_config=option("--ssh-config")
        )
    )


def holds(host: Any, address: str) -> bool:
    """Say whether a host has an address now."""
    return re.search(rf"\b{re.escape(address)}/", host.check_output("ip -o address show")) is not None


def test_one_load_balancer_holds_every_virtual_address(load_balancers: list[Any], virtual_addresses: list[str]) -> None:
    def holders() -> list[str]:
        return [host.backend.host for host in load_balancers for address in virtual_addresses if holds(host, address)]

    def is_one() -> bool:
        found = holders()
        return len(found) == len(virtual_addresses) and len(set(found)) == 1

    # They are asked one after another, and on a machine that stalls for a second the addresses may move meanwhile.
    assert eventually(is_one, 30), holders()


def test_a_virtual_address_answers(virtual_addresses: list[str]) -> None:
    for address in virtual_addresses:
        socket.create_connection((address, 443), 10).close()


def test_its_check_finds_haproxy(host: Any) -> None:
    with host.sudo("haproxy"):
        host.run_expect([0], "/usr/bin/python3 -IS /usr/local/libexec/nectar/haproxy-alive")


def test_it_is_a_member_and_not_at_fault(host: Any) -> None:
    assert host.service("keepalived").is_running
    with host.sudo():
        events = host.check_output(
            "journalctl -u keepalived -o cat --no-pager -g 'Entering (MASTER|BACKUP|FAULT) STATE|entering FAULT' -n 1"
        )
    assert "FAULT" not in events
