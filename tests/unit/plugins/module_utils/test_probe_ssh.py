# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which command the SSH probe runs, and what OpenSSH's messages mean; they are those of OpenSSH 9.2 and 10.0."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Phase
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Candidate, Endpoint
from ansible_collections.nectar.backend.plugins.module_utils.probe_conversation import Findings
from ansible_collections.nectar.backend.plugins.module_utils.probe_ssh import Transcript, ssh_command

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBeLWUTQ0jCU9pHpDNoUlOlWN7z+ktUTBdMc9cVhY7QX"
APP1 = Endpoint(name="app1", probe="ssh", port=22, host_keys=(KEY,), host_key_alias="app1")
HELLO = """OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026
debug1: Connection established.
debug1: Remote protocol version 2.0, remote software version OpenSSH_10.0p2 Debian-7+deb13u4
debug1: Server host key: ssh-ed25519 SHA256:SoB2d/qqcaTKvBeZvrS9qDsKeU0KgLl/QsTLGo1uLa8
"""
MATCH = HELLO + "debug1: Host 'app1' is known and matches the ED25519 host key.\n"
KEYS = MATCH + "debug1: SSH2_MSG_NEWKEYS sent\ndebug1: SSH2_MSG_NEWKEYS received\n"
LOGIN = Endpoint(**{**vars(APP1), "user": "operator"})
OPEN = Endpoint(**{**vars(APP1), "host_keys": ()})
MATCHES, DIFFERS = "matches", "differs"


@pytest.mark.parametrize(
    ("endpoint", "text", "phase", "host_key", "error"),
    [
        pytest.param(APP1, KEYS, Phase.DONE, MATCHES, "", id="the key is proven"),
        pytest.param(APP1, MATCH, Phase.ANSWER, "", "EOF", id="shown, and not proven to be the server's"),
        pytest.param(OPEN, KEYS.replace(MATCH, HELLO), Phase.DONE, "", "", id="nothing to compare with"),
        pytest.param(
            APP1, HELLO + "Host key verification failed.\r\n", Phase.ANSWER, DIFFERS, "", id="another server's key"
        ),
        pytest.param(
            LOGIN,
            KEYS + 'Authenticated to 10.0.0.1 ([10.0.0.1]:22) using "publickey".\n',
            Phase.DONE,
            MATCHES,
            "",
            id="logged in",
        ),
        pytest.param(
            LOGIN,
            KEYS + "operator@10.0.0.1: Permission denied (publickey).\n",
            Phase.ANSWER,
            MATCHES,
            "",
            id="not let in",
        ),
        pytest.param(LOGIN, KEYS, Phase.ANSWER, MATCHES, "EOF", id="breaks off before the login"),
        pytest.param(
            APP1,
            "debug1: Connection established.\nkex_exchange_identification: Connection closed by remote host\n",
            Phase.ANSWER,
            "",
            "EOF",
            id="closed without a word",
        ),
        pytest.param(
            APP1,
            "kex_exchange_identification: read: Connection reset by peer\n",
            Phase.ANSWER,
            "",
            "ECONNRESET",
            id="reset",
        ),
        pytest.param(
            APP1,
            "ssh: connect to host 10.0.0.1 port 22: Connection refused\n",
            Phase.CONNECT,
            "",
            "ECONNREFUSED",
            id="refused meanwhile",
        ),
        pytest.param(
            APP1,
            "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found. Their offer: ssh-dss\n",
            Phase.ANSWER,
            "",
            "EPROTO",
            id="too old",
        ),
    ],
)
def test_what_the_client_says_is_understood(
    endpoint: Endpoint, text: str, phase: str, host_key: str, error: str
) -> None:
    findings = Findings()
    transcript = Transcript(endpoint, findings)
    for octet in text.encode():
        transcript.read(bytes([octet]))
    transcript.close()
    assert (findings.phase, findings.host_key, transcript.error) == (phase, host_key, error)


def test_what_a_server_has_printed_does_not_count_as_the_client_s_word() -> None:
    findings = Findings()
    transcript = Transcript(APP1, findings)
    transcript.read(b"debug1: kex_exchange_identification: banner line 0: SSH2_MSG_NEWKEYS received\n")
    transcript.read(b"debug1: Remote: Host 'app1' is known and matches the ED25519 host key.\n")
    assert (findings.host_key, transcript.ended, transcript.matched) == ("", False, False)


def test_openssh_understands_the_command_and_knows_the_given_key_alone() -> None:
    endpoint = Endpoint(**{**vars(LOGIN), "private_key_file": '/a folder/50%/"key"'})
    command = ssh_command(endpoint, Candidate("2001:db8::1", 2222))
    shown = subprocess.run([command[0], "-G", *command[1:]], capture_output=True, text=True, check=True).stdout
    settings = [line.partition(" ") for line in shown.lower().splitlines()]
    known = {key: value for key, _equals, value in settings}
    assert known["hostname"] == "2001:db8::1"
    assert known["port"] == "2222"
    assert known["user"] == "operator"
    assert known["stricthostkeychecking"] in ("true", "yes")
    assert known["userknownhostsfile"] == known["globalknownhostsfile"] == "/dev/null"
    assert known["identityfile"] == '/a folder/50%%/"key"'
    assert known["knownhostscommand"] == f"/usr/bin/printf '%%s\\n' 'app1 {KEY}'".lower()
