#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hold a pooler's clients for as long as the database's lead goes to another server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pooler_hold
short_description: Hold a pooler's clients for as long as the database's lead goes to another server
version_added: "0.1.0"
description:
  - Pauses PgBouncer at the moment O(at), waits until one of O(standbys) takes writes, tells the local HAProxy so, and resumes PgBouncer. Clients notice
    nothing but the wait.
  - Resumes after O(limit) seconds in any case, and after O(start) seconds where O(leader) still leads, for then nothing happened.
  - The pause is held by a shell of its own. It resumes PgBouncer as soon as this module ends, however that happens, so nobody needs to be there to end it.
  - Meant to be run with C(async), so that all servers hold their clients at the same moment.
options:
  at:
    description: When to begin, as seconds since 1970; at most five minutes from now.
    type: float
    required: true
  leader:
    description: C(name) and C(address) of the database server that leads.
    type: dict
    required: true
  standbys:
    description: Addresses of the database servers that may lead then, by their names. The first to take writes ends the wait.
    type: dict
    required: true
  start:
    description: Seconds within which the lead must have left O(leader).
    type: float
    default: 2.5
  limit:
    description: Seconds after which clients go on in any case.
    type: float
    default: 5
  patroni_port:
    description: Port of Patroni's REST API.
    type: int
    default: 8008
  ca_file:
    description: Path of the CA certificate that Patroni's certificates are checked with.
    type: path
    default: /etc/nectar/tls/ca.crt
  haproxy_socket:
    description: Path of the admin socket of the local HAProxy.
    type: path
    default: /run/haproxy/admin.sock
  haproxy_backend:
    description: Name of the section whose servers are the database's.
    type: str
    default: primary
  socket_directory:
    description: Folder of PgBouncer's socket.
    type: path
    default: /run/postgresql
  port:
    description: Port of PgBouncer.
    type: int
    default: 6432
  login_user:
    description: User of the operating system that PgBouncer runs as, who may pause it.
    type: str
    default: postgres
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Whether it predicts without changing anything.
    support: full
  diff_mode:
    description: Whether it shows what changes.
    support: none
"""

EXAMPLES = r"""
- name: Hold the clients
  nectar.backend.pooler_hold:
    at: 1795946400.25
    leader: {name: db1, address: 10.0.0.1}
    standbys: {db2: 10.0.0.2, db3: 10.0.0.3}
  async: 60
  poll: 0
"""

RETURN = r"""
held:
  description: Seconds for which clients were held.
  type: float
  returned: when not in check mode
  sample: 1.4
why:
  description: Why they were let go on; C(taken over), C(nothing happened) or C(too late).
  type: str
  returned: when not in check mode
  sample: taken over
"""

import os
import socket
import subprocess
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.json_https import Caller, HttpsError, endpoint
from ansible_collections.nectar.backend.plugins.module_utils.pooler_hold import (
    Hold,
    Look,
    health_commands,
    is_primary,
    judge_hold,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "at": {"type": "float", "required": True},
    "leader": {"type": "dict", "required": True},
    "standbys": {"type": "dict", "required": True},
    "start": {"type": "float", "default": 2.5},
    "limit": {"type": "float", "default": 5},
    "patroni_port": {"type": "int", "default": 8008},
    "ca_file": {"type": "path", "default": "/etc/nectar/tls/ca.crt"},
    "haproxy_socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
    "haproxy_backend": {"type": "str", "default": "primary"},
    "socket_directory": {"type": "path", "default": "/run/postgresql"},
    "port": {"type": "int", "default": 6432},
    "login_user": {"type": "str", "default": "postgres"},
}
LONGEST_NOTICE = 300.0
PAUSE = 0.05
ANSWER_SECONDS = 0.5
# Each line that it reads ends one wait, and so does this module's end: it pauses at the first, and resumes at the second or when time is up.
# PgBouncer itself resumes where a pause is not complete and whoever asked for it is gone.
GUARD = """
{ read -r -t "$1" && echo 'PAUSE;' && { read -r -t "$2"; echo 'RESUME;'; } } |
timeout --foreground --signal KILL "$3" psql -X -q -v ON_ERROR_STOP=1 -h "$4" -p "$5" -U pgbouncer pgbouncer
"""


class Guard(subprocess.Popen[bytes]):
    """The shell that pauses and resumes."""

    def __init__(self, params: dict[str, Any]) -> None:
        waits = [LONGEST_NOTICE + 1, params["limit"], LONGEST_NOTICE + params["limit"] + 2]
        command = ["runuser", "--user", params["login_user"], "--", "bash", "-c", GUARD, "guard"]
        command += [str(word) for word in (*waits, params["socket_directory"], params["port"])]
        super().__init__(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )

    def step(self) -> None:
        """Let it do the next thing; one that has ended is found out at the end."""
        try:
            os.write(self.stdin.fileno() if self.stdin else -1, b"\n")
        except BrokenPipeError:
            return

    def finish(self, seconds: float) -> str:
        """Wait until it has ended; return what went wrong, nothing where nothing did."""
        try:
            _out, errors = self.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, 9)
            self.communicate()
            return "PgBouncer did not take RESUME in time; the order was withdrawn, which resumes it"
        return errors.decode(errors="replace").strip() or (
            f"psql ended with {self.returncode}" if self.returncode else ""
        )


def main() -> None:
    """Wait for the moment, hold, and let go."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    notice = params["at"] - time.time()
    if not 0 <= notice <= LONGEST_NOTICE:
        module.fail_json(
            msg=f"at: {params['at']:.1f} is {notice:.1f} s from now, expected 0 to {LONGEST_NOTICE:.0f}; nothing was paused"
        )
    if module.check_mode:
        module.exit_json(changed=True)
    guard = Guard(params)
    time.sleep(max(0.0, params["at"] - time.time()))
    began = time.monotonic()
    guard.step()
    try:
        why = watch(params, began)
    finally:
        guard.step()
    errors = guard.finish(3.0)
    held = round(time.monotonic() - began, 2)
    if errors:
        module.fail_json(msg=f"PgBouncer was held for {held} s, and said: {errors}", held=held, why=why)
    module.exit_json(changed=True, held=held, why=why)


def watch(params: dict[str, Any], began: float) -> str:
    """Look again and again until there is a reason to let the clients go on."""
    hold = Hold(params["start"], params["limit"])
    caller = Caller(params["ca_file"], timeout=ANSWER_SECONDS)
    while True:
        seconds = time.monotonic() - began
        leader = ask(caller, params, params["leader"]["address"]) if seconds >= hold.start else None
        primary = find_primary(caller, params)
        why = judge_hold(hold, Look(seconds, primary, leader))
        if primary:
            tell_haproxy(params, primary)
        if why:
            return why
        time.sleep(PAUSE)


def find_primary(caller: Caller, params: dict[str, Any]) -> str | None:
    """Ask the standbys, until one of them takes writes."""
    return next(
        (name for name, address in params["standbys"].items() if is_primary(ask(caller, params, address))), None
    )


def ask(caller: Caller, params: dict[str, Any], address: str) -> Any:
    """Ask a member's Patroni about itself."""
    try:
        return caller.ask("GET", f"{endpoint(address, params['patroni_port'])}/patroni")
    except HttpsError:
        return None


def tell_haproxy(params: dict[str, Any], primary: str) -> None:
    """Spare HAProxy the wait for its next checks; where it doesn't listen, they come all the same."""
    try:
        table = converse(params["haproxy_socket"], "show stat")
        for command in health_commands(table, params["haproxy_backend"], params["leader"]["name"], primary):
            converse(params["haproxy_socket"], command)
    except OSError:
        return


def converse(path: str, command: str) -> str:
    """Say one thing to HAProxy, and return its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        connection.sendall(f"{command}\n".encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")


if __name__ == "__main__":
    main()
