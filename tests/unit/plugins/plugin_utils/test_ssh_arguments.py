"""What OpenSSH is told about one host."""

from __future__ import annotations

import shlex

import pytest
from ansible_collections.nectar.backend.plugins.plugin_utils.ssh_arguments import ssh_arguments


def options(connect: list[str], host_keys: list[str]) -> dict[str, str]:
    words = shlex.split(ssh_arguments("app1", connect, host_keys))
    assert words[::2] == ["-o"] * (len(words) // 2)
    return dict(word.split("=", 1) for word in words[1::2])


@pytest.mark.parametrize("connect", [["192.0.2.1"], ["192.0.2.1", "2001:db8::1"]])
@pytest.mark.parametrize("host_keys", [[], ["ssh-ed25519 AAAA"]])
def test_a_host_is_always_checked_by_its_name(connect: list[str], host_keys: list[str]) -> None:
    found = options(connect, host_keys)
    assert (found["HostKeyAlias"], found["StrictHostKeyChecking"]) == ("app1", "yes")


def test_only_the_registry_s_keys_count() -> None:
    found = options(["192.0.2.1"], ["ssh-ed25519 AAAA", "ssh-rsa BBBB"])
    assert shlex.split(found["KnownHostsCommand"]) == [
        "/usr/bin/printf",
        "%%s\\n",
        "app1 ssh-ed25519 AAAA",
        "app1 ssh-rsa BBBB",
    ]
    assert {found["UserKnownHostsFile"], found["GlobalKnownHostsFile"]} == {"/dev/null"}


def test_without_keys_the_user_s_own_count() -> None:
    assert "UserKnownHostsFile" not in options(["192.0.2.1"], [])


def test_one_address_needs_no_race() -> None:
    assert "ProxyCommand" not in options(["192.0.2.1"], [])


def test_several_addresses_race() -> None:
    found = options(["192.0.2.1", "2001:db8::1"], [])
    assert shlex.split(found["ProxyCommand"])[-4:] == ["--port", "%p", "192.0.2.1", "2001:db8::1"]
    assert found["ProxyUseFdpass"] == "yes"
