# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's hosts are servers: booted by systemd, with a name, addresses, a limit of memory and a way to the mirror.

That each shows the SSH key that it was made with is proven by reaching it: the lab's ssh_config allows no other.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml

testinfra_hosts = ["ansible://all"]

FILESYSTEMS = {"/var/lib/postgresql": 1500, "/var/lib/postgresql-wal": 512, "/var/lib/etcd": 512}
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def database_servers(request):
    """Name the hosts that have filesystems of their own."""
    inventory = yaml.safe_load(Path(request.config.getoption("--ansible-inventory")).read_text(encoding="utf-8"))
    return inventory["all"]["children"]["database_servers"]["hosts"]


def test_systemd_is_the_first_process(host):
    assert host.process.get(pid=1).comm == "systemd"


def test_the_first_user_may_do_everything_and_has_no_password(host):
    assert host.user().name == "debian"
    with host.sudo():
        assert host.user("debian").password == "*"


def test_it_has_an_address_of_each_family(host):
    addresses = [ipaddress.ip_address(address) for address in host.interface("eth0").addresses]
    assert {address.version for address in addresses if not address.is_link_local} == {4, 6}


def test_it_resolves_and_reaches_the_mirror(host):
    mirror = host.addr("deb.debian.org")
    assert mirror.is_resolvable
    assert host.run("python3 -c 'import socket; socket.create_connection((\"deb.debian.org\", 80), 10)'").rc == 0


def test_its_memory_is_limited(host):
    files = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    limit = next(host.file(path).content_string.strip() for path in files if host.file(path).exists)
    assert 64 * MEBIBYTE <= int(limit) <= 4096 * MEBIBYTE


@pytest.mark.parametrize("path", FILESYSTEMS)
def test_a_database_server_has_small_filesystems(host, database_servers, path):
    if host.check_output("hostname") not in database_servers:
        assert not host.mount_point(path).exists
        return
    assert host.mount_point(path).filesystem == "ext4"
    blocks, block_size = host.check_output(f"stat --file-system --format='%b %S' {path}").split()
    assert int(blocks) * int(block_size) <= FILESYSTEMS[path] * MEBIBYTE
