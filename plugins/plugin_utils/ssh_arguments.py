# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OpenSSH's arguments for one host: which key must answer, and on which of its addresses."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

PROXY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ssh_proxy.py")
PORT = "%p"  # OpenSSH fills it in


def ssh_arguments(name: str, connect: Sequence[str], host_keys: Sequence[str]) -> str:
    """The value of ansible_ssh_common_args."""
    options = [f"HostKeyAlias={name}", "StrictHostKeyChecking=yes"]
    if host_keys:
        # printf needs no file, and writes every key on a line of its own.
        options += [
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            f"KnownHostsCommand={_known_hosts_command(name, host_keys)}",
        ]
    if len(connect) > 1:
        options += [f"ProxyCommand={_proxy_command(name, connect)}", "ProxyUseFdpass=yes"]
    return " ".join(f"-o {shlex.quote(option)}" for option in options)


def _known_hosts_command(name: str, host_keys: Sequence[str]) -> str:
    """OpenSSH expands %-tokens and runs it without a shell."""
    words = " ".join(f"'{name} {key}'" for key in host_keys)
    return f"/usr/bin/printf '%%s\\n' {words}"


def _proxy_command(name: str, connect: Sequence[str]) -> str:
    """OpenSSH expands %-tokens and hands it to the user's shell; -I and -S spare Python what the script doesn't need."""
    words = [sys.executable, "-I", "-S", PROXY, "--name", name, "--port", PORT, *connect]
    return " ".join(word if word == PORT else shlex.quote(word).replace("%", "%%") for word in words)
