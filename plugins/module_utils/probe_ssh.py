# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SSH as OpenSSH's own client judges it: which command is run, and what its messages mean."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable

from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Phase
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import Candidate, Endpoint
from ansible_collections.nectar.backend.plugins.module_utils.probe_conversation import Findings

# Nobody logs in as this: the client is stopped before it would. Some name is needed all the same.
NOBODY = "nobody"
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath, "HOME": "/nonexistent"}
OPTIONS = (
    "BatchMode=yes",
    "ControlPath=none",
    "UserKnownHostsFile=/dev/null",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "NumberOfPasswordPrompts=0",
    "PreferredAuthentications=publickey",
    "ClearAllForwardings=yes",
)
MATCH = re.compile(r"debug1: Host '.*' is known and matches the \S+ host key\.")
FINGERPRINT = re.compile(r"debug1: Server host key: (\S+ \S+)")
FAILED_CONNECT = re.compile(r"ssh: connect to host .* port \d+: (.*)")
DENIED = re.compile(r".*: (Permission denied \(.*\))\.")
DIFFERENT = ("Host key verification failed.", "No matching host key")
BREAKS = ("kex_exchange_identification: ", "Connection closed by ", "Connection reset by ", "ssh_dispatch_run_fatal: ")
ERRORS = {os.strerror(number): name for number, name in errno.errorcode.items()}
HELD_OFF = "Not allowed at this time"


def ssh_command(endpoint: Endpoint, candidate: Candidate) -> list[str]:
    """A client that knows the endpoint's keys and no others, and whose messages tell how far it gets."""
    alias = endpoint.host_key_alias or candidate.address
    options = [*OPTIONS, f"HostKeyAlias={alias}", f"StrictHostKeyChecking={'yes' if endpoint.host_keys else 'no'}"]
    if endpoint.host_keys:
        # OpenSSH expands %-tokens and runs it without a shell; printf needs no file.
        words = " ".join(f"'{alias} {key}'" for key in endpoint.host_keys)
        options.append(f"KnownHostsCommand=/usr/bin/printf '%%s\\n' {words}")
    if endpoint.private_key_file:
        options += ["IdentitiesOnly=yes", "IdentityAgent=none", f"IdentityFile={quote(endpoint.private_key_file)}"]
    elif not endpoint.user:
        options += ["IdentityAgent=none", "IdentityFile=none"]
    arguments = [word for option in options for word in ("-o", option)]
    user = endpoint.user or NOBODY
    return ["ssh", "-F", "none", "-v", "-N", "-T", *arguments, "-l", user, "-p", str(candidate.port), candidate.address]


def quote(path: str) -> str:
    """A file name in OpenSSH's own writing: tokens are escaped, spaces kept together."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


class Transcript:
    """What the client's messages say so far; `ended` once nothing more needs to be known."""

    def __init__(self, endpoint: Endpoint, findings: Findings) -> None:
        self.endpoint, self.findings = endpoint, findings
        self.rest = b""
        self.matched = False
        self.ended = False
        self.error = ""

    def read(self, octets: bytes) -> None:
        *lines, self.rest = (self.rest + octets).split(b"\n")
        self.read_lines(line.decode(errors="replace").strip() for line in lines)

    def read_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            if not self.ended:
                self._read_line(line)

    def close(self) -> None:
        """The client is gone; what it did not say is an error of its own."""
        self.read(b"\n")
        if not self.ended:
            self._end("EOF")

    def _read_line(self, line: str) -> None:
        findings = self.findings
        if line.startswith("debug1: Remote protocol version"):
            findings.heard = True
        elif found := FINGERPRINT.match(line):
            findings.fingerprint = found[1]
        elif MATCH.match(line):
            # The key is the right one, but only the signature that comes next proves that the server has it.
            self.matched = True
        elif line == "debug1: SSH2_MSG_NEWKEYS received":
            findings.host_key = "matches" if self.matched else ""
            if not self.endpoint.user:
                self._done()
        elif line.startswith("Authenticated to "):
            self._done()
        elif line.startswith(DIFFERENT):
            findings.host_key = "differs" if self.endpoint.host_keys else ""
            self._end("" if self.endpoint.host_keys else "EPROTO", line)
        elif found := DENIED.match(line):
            self._end("", found[1])
        elif found := FAILED_CONNECT.match(line):
            findings.phase = Phase.CONNECT
            self._end(ERRORS.get(found[1], "EIO"), found[1])
        elif HELD_OFF in line:
            findings.heard = True
            self._end("EACCES", "the server holds this host off for a while (PerSourcePenalties); ask again later")
        elif line.startswith("Unable to negotiate"):
            self._end("EPROTO", line)
        elif line.startswith(BREAKS):
            self._end("ECONNRESET" if "reset" in line else "EOF", line)
        elif not line.startswith(("debug1: ", "OpenSSH_")):
            findings.detail = line or findings.detail

    def _done(self) -> None:
        self.findings.phase = Phase.DONE
        self.ended = True

    def _end(self, error: str, detail: str = "") -> None:
        self.error, self.ended = error, True
        self.findings.detail = detail or self.findings.detail
