# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command that runs something as root on a server over SSH, for as long as its stdin is open."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

GREETING = """echo '{"greeting": true}'"""
# OpenSSH takes the first value of an option: these go before what is configured. A connection of its own depends on nobody else's, and
# a dead one is noticed before a load balancer misses its signs of life.
FIRST = (
    "BatchMode=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ConnectTimeout=10",
    "ServerAliveInterval=3",
    "ServerAliveCountMax=3",
)


def remote_words(words: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the command; with no options it runs on this machine. It greets once it is there."""
    command = f"{GREETING}; exec {shlex.join(['sudo', '-n', *words])}"
    if not options:
        return ["/bin/sh", "-c", command]
    settings = [
        *FIRST,
        *([f"Port={options['port']}"] if options.get("port") else []),
        *([f"User={options['remote_user']}"] if options.get("remote_user") else []),
        *([f'IdentityFile="{options["private_key_file"]}"'] if options.get("private_key_file") else []),
    ]
    configured = [
        word
        for name in ("ssh_args", "ssh_common_args", "ssh_extra_args")
        for word in shlex.split(str(options.get(name) or ""))
    ]
    flags = [word for setting in settings for word in ("-o", setting)]
    return [str(options.get("ssh_executable") or "ssh"), "-T", *flags, *configured, str(options["host"]), command]
