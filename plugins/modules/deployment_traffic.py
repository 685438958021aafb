#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Send deployments' requests to the slots that shall serve them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_traffic
short_description: Send deployments' requests to the slots that shall serve them
version_added: "0.1.0"
description:
  - Writes each deployment's fragment of HAProxy's configuration and its line in the map of server names, checks the whole, and reloads once,
    all under a lock of this load balancer.
  - Where the configuration is refused, all former fragments come back and nothing is reloaded.
  - With O(verify), it then asks each deployment over HTTPS which revision answers, and takes those back that don't get there in time.
  - Something older never replaces something newer.
  - With O(state=absent) the deployments are taken off the load balancer altogether, by their names alone.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host.deployments
options:
  identity_port:
    description: The port on the application servers that tells which revision a slot runs.
    type: int
    default: 8010
  max_connections:
    description: Requests that one server is given at a time; more wait in the queue.
    type: int
    default: 64
  verify:
    description: Ask each changed deployment which revision answers, and take back what doesn't answer as it should.
    type: bool
    default: false
  verify_address:
    description: The address and port on which this load balancer serves HTTPS.
    type: str
    default: 127.0.0.1:443
  verify_deadline:
    description: Seconds within which the new revision must answer.
    type: int
    default: 15
  ca_file:
    description: The certificates that vouch for this load balancer.
    type: path
    default: /etc/nectar/tls/ca.crt
  revert:
    description: Take back the switches of these deployments, where their generation is the present one.
    type: bool
    default: false
  state:
    description: Whether the deployments are served here; V(absent) is for those that are retired.
    type: str
    choices: [present, absent]
    default: present
  haproxy_directory:
    description: HAProxy's configuration.
    type: path
    default: /etc/haproxy
  state_directory:
    description: Where it is noted which slots are sent requests.
    type: path
    default: /var/lib/nectar
  lock_file:
    description: What keeps two runs from changing the configuration at a time.
    type: path
    default: /run/lock/nectar-haproxy.lock
attributes:
  check_mode:
    description: Says what would be switched.
    support: full
  diff_mode:
    description: Shows the fragments and the map.
    support: full
"""

EXAMPLES = r"""
- name: Switch to the new slots
  nectar.backend.deployment_traffic:
    deployments: "{{ plan.steps }}"
    verify: true
"""

RETURN = r"""
results:
  description: By deployment, whether it changed, and C(error) where it failed and was taken back.
  type: dict
  returned: success
  sample: {production: {changed: true}}
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import DEPLOYMENTS_ARGUMENT
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text
from ansible_collections.nectar.backend.plugins.module_utils.traffic import (
    Switch,
    has_web,
    plan_removal,
    plan_revert,
    plan_switches,
)
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import (
    Balancer,
    ask_revision,
    read_files,
    write_files,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "deployments": DEPLOYMENTS_ARGUMENT,
    "identity_port": {"type": "int", "default": 8010},
    "max_connections": {"type": "int", "default": 64},
    "verify": {"type": "bool", "default": False},
    "verify_address": {"type": "str", "default": "127.0.0.1:443"},
    "verify_deadline": {"type": "int", "default": 15},
    "ca_file": {"type": "path", "default": "/etc/nectar/tls/ca.crt"},
    "revert": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "haproxy_directory": {"type": "path", "default": "/etc/haproxy"},
    "state_directory": {"type": "path", "default": "/var/lib/nectar"},
    "lock_file": {"type": "path", "default": "/run/lock/nectar-haproxy.lock"},
}
POLL_SECONDS = 0.2


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    balancer = Balancer(params["haproxy_directory"], params["state_directory"])
    is_removal = params["state"] == "absent"
    deployments = [entry for entry in params["deployments"] if is_removal or has_web(entry)]
    try:
        with locked(params["lock_file"], not module.check_mode):
            present = read_files(balancer, [entry["name"] for entry in deployments])
            if is_removal:
                switch = plan_removal([entry["name"] for entry in deployments], present)
            elif params["revert"]:
                switch = plan_revert(deployments, present)
            else:
                switch = plan_switches(deployments, present, params["identity_port"], params["max_connections"])
            failed = apply(module, balancer, deployments, switch) if switch.changed and not module.check_mode else {}
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot switch the traffic: {error}")
    errors = {**switch.refused, **failed}
    results = {
        entry["name"]: {
            "changed": entry["name"] in switch.changed,
            **({"error": errors[entry["name"]]} if entry["name"] in errors else {}),
        }
        for entry in deployments
    }
    module.exit_json(changed=bool(switch.changed), results=results, diff=switch.diff)


@contextmanager
def locked(path: str, needed: bool) -> Iterator[None]:
    """Let one run at a time change the configuration."""
    if not needed:
        yield
        return
    with open(path, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def apply(
    module: AnsibleModule, balancer: Balancer, deployments: Sequence[dict[str, Any]], switch: Switch
) -> dict[str, str]:
    """Bring the switch about; return the deployments that had to be taken back, and why."""
    write_files(balancer, switch.after)
    refused = check_configuration(module, balancer)
    if refused:
        write_files(balancer, switch.before)
        return dict.fromkeys(
            switch.changed, f"HAProxy refuses the configuration, and the former one is back: {refused}"
        )
    reload_haproxy(module)
    if not module.params["verify"] or module.params["state"] == "absent":
        return {}
    failed = verify(module, [entry for entry in deployments if entry["name"] in switch.changed])
    if failed:
        back = plan_revert(
            [entry for entry in deployments if entry["name"] in failed], read_files(balancer, list(failed))
        )
        write_files(balancer, back.after)
        reload_haproxy(module)
    return failed


def check_configuration(module: AnsibleModule, balancer: Balancer) -> str:
    """Return what HAProxy has against the whole configuration, or nothing."""
    main_file, fragments = os.path.join(balancer.directory, "haproxy.cfg"), os.path.join(balancer.directory, "conf.d")
    if read_text(main_file) is None:
        return f"{main_file} is missing; run site.yml for this load balancer first"
    code, out, error = module.run_command(["haproxy", "-c", "-q", "-f", main_file, "-f", fragments])
    return (error or out).strip() if code else ""


def reload_haproxy(module: AnsibleModule) -> None:
    """Load the configuration without closing a connection."""
    code, _out, error = module.run_command(["systemctl", "reload-or-restart", "haproxy.service"])
    if code:
        raise SlotError(f"HAProxy did not reload: {error.strip()}")


def verify(module: AnsibleModule, deployments: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Ask until every deployment answers with its new revision; return what was wrong with the others at the deadline."""
    deadline = time.monotonic() + module.params["verify_deadline"]
    waiting = list(deployments)
    while True:
        answers = {
            entry["name"]: ask_revision(module.params["verify_address"], module.params["ca_file"], entry)
            for entry in waiting
        }
        waiting = [entry for entry in waiting if answers[entry["name"]]]
        if not waiting or time.monotonic() > deadline:
            return {entry["name"]: answers[entry["name"]] for entry in waiting}
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
