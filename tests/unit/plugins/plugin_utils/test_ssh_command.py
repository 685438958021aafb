# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command by which the keeper reaches a server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.plugin_utils.ssh_command import FIRST, remote_words

FLAGS = [word for setting in FIRST for word in ("-o", setting)]
THERE = """echo '{"greeting": true}'; exec sudo -n python3 -c 'print("it'"'"'s")'"""
WORDS = ["python3", "-c", """print("it's")"""]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, ["/bin/sh", "-c", THERE], id="this machine"),
        pytest.param({"host": "192.0.2.1"}, ["ssh", "-T", *FLAGS, "192.0.2.1", THERE], id="nothing configured"),
        pytest.param(
            {
                "ssh_executable": "/opt/ssh",
                "host": "192.0.2.1",
                "port": 2222,
                "remote_user": "debian",
                "private_key_file": "/keys/of mine",
                "ssh_args": "-o ControlMaster=auto -o ControlPersist=120s",
                "ssh_common_args": "-o HostKeyAlias=lb1 -o 'ProxyCommand=race %p'",
                "ssh_extra_args": "-4",
            },
            [
                "/opt/ssh",
                "-T",
                *FLAGS,
                *("-o", "Port=2222", "-o", "User=debian", "-o", 'IdentityFile="/keys/of mine"'),
                *("-o", "ControlMaster=auto", "-o", "ControlPersist=120s"),
                *("-o", "HostKeyAlias=lb1", "-o", "ProxyCommand=race %p", "-4"),
                "192.0.2.1",
                THERE,
            ],
            id="all configured, after what the keeper needs",
        ),
    ],
)
def test_commands(options: dict[str, Any], expected: list[str]) -> None:
    assert remote_words(WORDS, options) == expected
