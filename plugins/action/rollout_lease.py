# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take leases on a database server, and have them kept by a process on the controller that ends with it."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, cast

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import ARGUMENTS
from ansible_collections.nectar.backend.plugins.module_utils.json_https import endpoint
from ansible_collections.nectar.backend.plugins.module_utils.rollout_record import Keys
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user
from ansible_collections.nectar.backend.plugins.plugin_utils import rollout_keeper, rollout_renew
from ansible_collections.nectar.backend.plugins.plugin_utils.ssh_command import remote_words

MODULE = "nectar.backend.rollout_lease"
LINE = ("/usr/bin/python3", "-I", "/usr/local/lib/nectar/rollout-line")
KEPT_LOGS = 30
# Seconds; a busy host has been seen to need over 12 for a login, and the lease itself lasts 27.
READY_WITHIN = 20.0


class ActionModule(ActionBase):
    """The part of rollout_lease that runs on the controller."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Have the module take the leases, then start the keeper of those that were taken now."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        controller = os.getppid()
        name = f"{socket.gethostname()}:{controller}"
        arguments["controller"] = arguments.get("controller") or name
        arguments["rollout"] = arguments.get("rollout") or f"{name}:{began(controller)}"
        try:
            result = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=variables)
        except AnsibleConnectionFailure as error:
            if not boolean(arguments.get("override", False)) or arguments.get("state", "present") != "present":
                raise
            return go_without(arguments, str(error))
        results = result.get("results") or {}
        beating = {str(entry["name"]) for entry in arguments["deployments"] if wants_beats(entry, arguments)}
        taken = {
            name: lease
            for name, lease in results.items()
            if lease["state"] == "held" and (lease["changed"] or name in beating)
        }
        if not self._task.check_mode and boolean(arguments.get("keeper", True)):
            for number in {lease["lease"] for lease in taken.values()}:
                kept = {name: lease for name, lease in taken.items() if lease["lease"] == number}
                self.keep(result, kept, arguments, variables, controller)
        return result

    def keep(
        self,
        result: dict[str, Any],
        taken: Mapping[str, Mapping[str, Any]],
        arguments: Mapping[str, Any],
        variables: Mapping[str, Any],
        controller: int,
    ) -> None:
        """Start the keeper, wait until it is at work, and add what it says to the result."""
        folder = keeper_folder(arguments)
        number = next(iter(taken.values()))["lease"]
        log = os.path.join(folder, f"{arguments['environment']}-{number}.log")
        plan = {
            "controller": arguments["controller"],
            "ttl": int(arguments.get("ttl") or 27),
            "log": log,
            "ready_within": READY_WITHIN,
            "renewers": self.renewers(taken, number, arguments, variables),
            "deployments": self.lines(taken, arguments, variables),
        }
        pid, said = start_keeper(plan, controller)
        result.setdefault("keepers", []).append({"pid": pid, "log": log})
        for name in taken:
            if said["renewed"]:
                result["results"][name]["lines"] = said["lines"].get(name, {})
            else:
                result["results"][name] |= {
                    "state": "unknown",
                    "error": f"{name}: its lease was taken, but can't be renewed from here: {said['trouble']}; see {log}",
                }

    def renewers(
        self,
        taken: Mapping[str, Any],
        number: str,
        arguments: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """Return the commands that renew, one for each database server; the one that answered is the first."""
        given = {name: arguments.get(name, spec.get("default")) for name, spec in ARGUMENTS.items()}
        keys = Keys(arguments["environment"])
        settings = {
            "lease": number,
            "keys": {name: keys.of("lease", name) for name in taken},
            "urls": [endpoint(address, int(given["etcd_port"])) for address in dict.fromkeys(given["etcd_addresses"])],
            "ca_file": given["etcd_ca_file"],
            "cert_file": given["etcd_cert_file"],
            "key_file": given["etcd_key_file"],
            "timeout": float(given["etcd_timeout"]),
        }
        with open(str(rollout_renew.__file__), encoding="utf-8") as file:
            words = ["/usr/bin/python3", "-I", "-c", file.read(), json.dumps(settings)]
        here = str(self._task.delegate_to or variables["inventory_hostname"])
        hosts = dict.fromkeys([here, *(arguments.get("database_servers") or [])])
        return [{"name": host, "command": self.words(host, words, variables)} for host in hosts]

    def lines(
        self, taken: Mapping[str, Any], arguments: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> dict[str, dict[str, list[str]]]:
        """Return the commands that carry signs of life, by deployment and load balancer."""
        balancers = {
            str(entry["name"]): arguments["load_balancers"] if wants_beats(entry, arguments) else []
            for entry in arguments["deployments"]
        }
        return {
            name: {host: self.words(host, [*LINE, name, str(lease["token"])], variables) for host in balancers[name]}
            for name, lease in taken.items()
        }

    def words(self, host: str, words: list[str], variables: Mapping[str, Any]) -> list[str]:
        """Return the command that runs `words` as root on a host, the way that Ansible would connect."""
        known = variables["hostvars"][host]
        if known.get("ansible_connection") == "local":
            return remote_words(words, {})
        plugin = connection_loader.get("ansible.builtin.ssh", self._play_context, os.devnull)
        wanted = C.config.get_plugin_vars("connection", plugin._load_name)
        plugin.set_options(var_options={name: known[name] for name in wanted if name in known})
        names = (
            "ssh_executable",
            "ssh_args",
            "ssh_common_args",
            "ssh_extra_args",
            "host",
            "port",
            "remote_user",
            "private_key_file",
        )
        return remote_words(words, {name: plugin.get_option(name) for name in names})


def wants_beats(entry: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    """Say whether load balancers are to be shown that this deployment's rollout lives: where a step of it is watched."""
    if arguments.get("state", "present") != "present" or not arguments.get("load_balancers"):
        return False
    watched = "steps" not in entry or any(step.get("watched", True) for step in entry["steps"])
    return boolean(entry.get("beat", watched))


def go_without(arguments: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return what the module says where etcd is silent, for a database server that can't even be reached."""
    override = {
        "person": session_user(),
        "why": arguments.get("why") or "no reason was given",
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    results = {
        str(entry["name"]): {
            "changed": False,
            "state": "overridden",
            "token": int(entry.get("floor") or 0) + 1,
            "override": override,
        }
        for entry in arguments["deployments"]
    }
    return {
        "changed": False,
        "reachable": False,
        "person": override["person"],
        "results": results,
        "msg": f"Nobody could be asked for the leases: {reason}",
    }


def began(pid: int) -> str:
    """Return when a process began, in the kernel's own ticks: its number may have been another's before."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


def keeper_folder(arguments: Mapping[str, Any]) -> str:
    """Return the folder of the keepers' logs, of which the newest are kept."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = os.path.expanduser(arguments.get("keeper_directory") or os.path.join(state, "nectar", "leases"))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    logs = sorted(
        (os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".log")), key=os.path.getmtime
    )
    for path in logs[: -KEPT_LOGS + 1]:
        os.unlink(path)
    return folder


def start_keeper(plan: Mapping[str, Any], controller: int) -> tuple[int, dict[str, Any]]:
    """Start the keeper in a session of its own, and return its number and what it said once it was at work."""
    descriptor = os.pidfd_open(controller)
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", str(rollout_keeper.__file__), str(descriptor)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor],
            start_new_session=True,
            cwd=os.sep,
        )
    finally:
        os.close(descriptor)
    stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    with stdin, stdout:
        stdin.write(json.dumps(plan).encode())
        stdin.close()
        patience = plan["ready_within"] + 5
        said = stdout.readline() if select.select([stdout], [], [], patience)[0] else b""
    if not said:
        process.terminate()
        return process.pid, {
            "renewed": False,
            "trouble": f"the keeper said nothing in {READY_WITHIN:.0f} s",
            "lines": {},
        }
    return process.pid, json.loads(said)
