# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who gets in, how servers find each other, and what upgrades by itself."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

testinfra_hosts = ["ansible://all"]

CONTAINERS = {"docker", "lxc", "podman", "systemd-nspawn"}


def ssh_refusal(host: Any, user: str) -> str:
    """Knock without a key, and return what the server says."""
    options = [
        "BatchMode=yes",
        "PreferredAuthentications=none",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
    ]
    command = ["ssh", "-F", "none", *(f"-o{option}" for option in options), f"{user}@{address_of(host)}", "true"]
    attempt = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert attempt.returncode == 255
    return attempt.stderr


def address_of(host: Any) -> str:
    """Return an address of the server."""
    shown = host.check_output("ip -brief -4 address show scope global up")
    return str(shown.split()[2].split("/")[0])


@pytest.mark.parametrize("user", ["root", "debian", "nobody"])
def test_ssh_takes_keys_and_nothing_else(host: Any, user: str) -> None:
    assert "Permission denied (publickey)." in ssh_refusal(host, user)


def test_ssh_refuses_root(host: Any) -> None:
    with host.sudo():
        assert "permitrootlogin no" in host.check_output("sshd -T").splitlines()


def members_of(host: Any, group: str) -> list[str]:
    """Return who is in the group."""
    return [name for name in host.check_output(f"getent group {group}").split(":")[3].split(",") if name]


def test_members_have_accounts_and_keys(host: Any) -> None:
    members = members_of(host, "nectar-members")
    assert members
    for member in members:
        assert host.user(member).shell == "/bin/bash"
        keys = host.file(f"/etc/ssh/authorized_keys.d/{member}")
        assert (keys.user, keys.mode) == ("root", 0o644)
        assert re.match(r"(sk-)?(ssh|ecdsa)-", keys.content_string)


def test_administrators_become_root_and_nobody_else(host: Any) -> None:
    admins = members_of(host, "nectar-admins")
    with host.sudo():
        for member in members_of(host, "nectar-members"):
            allowed = host.run(f"runuser -u {member} -- sudo -n id -u")
            assert (allowed.stdout.strip() == "0") is (member in admins), allowed.stderr


def test_servers_find_each_other_by_name(host: Any) -> None:
    with host.sudo():
        block = host.check_output("sed -n '/^# BEGIN the environment/,/^# END the environment/p' /etc/hosts")
    entries = [line.split() for line in block.splitlines() if not line.startswith("#")]
    assert entries
    for address, name, *_more in entries:
        assert address in {line.split()[0] for line in host.check_output(f"getent ahosts {name}").splitlines()}


def test_what_serves_does_not_upgrade_unattended(host: Any) -> None:
    settings = host.check_output("apt-config dump")
    origins = re.findall(r'^Unattended-Upgrade::Origins-Pattern:: "(.*)";$', settings, re.MULTILINE)
    assert [origin for origin in origins if "Debian-Security" not in origin] == []
    assert origins
    patterns = re.findall(r'^Unattended-Upgrade::Package-Blacklist:: "(.*)";$', settings, re.MULTILINE)
    serving = ["postgresql-17", "postgresql-client-15", "patroni", "etcd-server", "haproxy", "pgbouncer", "keepalived"]
    assert [package for package in serving if not any(re.match(pattern, package) for pattern in patterns)] == []
    assert not any(re.match(pattern, "openssl") for pattern in patterns)
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert host.service("apt-daily-upgrade.timer").is_enabled


def test_the_clock_is_in_step_or_the_machines_own(host: Any) -> None:
    is_container = host.run("systemd-detect-virt --container").stdout.strip() in CONTAINERS
    settings = host.file("/etc/systemd/timesyncd.conf.d/10-nectar.conf")
    assert settings.exists is not is_container
    assert is_container or host.check_output("timedatectl show --property=NTPSynchronized --value") == "yes"
