#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Have a load balancer send an application server no new requests, or all that are its own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_drain
short_description: Have a load balancer send an application server no new requests, or all that are its own
version_added: "0.1.0"
description:
  - Runs on a load balancer. Takes the weights of an application server's slots away in HAProxy's workers, where another server that is up takes its
    requests, and waits until what it has in hand is answered.
  - Files say nothing of it, so a reload ends it, and so does O(state=serving), which has the workers do what the files say.
extends_documentation_fragment:
  - nectar.backend.balancer
options:
  host:
    description: Name of the application server.
    type: str
    required: true
  deployments:
    description: Names of the deployments.
    type: list
    elements: str
    required: true
  state:
    description: Whether it is to get no new requests, or its own.
    type: str
    choices: [drained, serving]
    default: drained
  timeout:
    description: Seconds to wait for what it has in hand.
    type: float
    default: 15
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Says whether a worker would be told anything.
    support: full
  diff_mode:
    description: Whether it shows what changes.
    support: none
"""

EXAMPLES = r"""
- name: Send it no new requests
  nectar.backend.traffic_drain:
    host: app1
    deployments: [production, staging]
"""

RETURN = r"""
alone:
  description: The deployments that no other server takes over; their requests go on coming.
  type: list
  elements: str
  returned: success
  sample: []
left:
  description: Requests that were still in hand when the time was up.
  type: int
  returned: success
  sample: 0
"""

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.haproxy_runtime import parse_down, parse_sessions
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.traffic import Files, read_servers, spare
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import (
    BALANCER_ARGUMENTS,
    Balancer,
    ask_master,
    balancer_from,
    locked,
    read_files,
    read_workers,
    steer,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **BALANCER_ARGUMENTS,
    "host": {"type": "str", "required": True},
    "deployments": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["drained", "serving"], "default": "drained"},
    "timeout": {"type": "float", "default": 15},
}
PAUSE = 0.1


def main() -> None:
    """Tell the workers, and wait."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    balancer = balancer_from(params)
    drains = params["state"] == "drained"
    try:
        with locked(balancer.lock):
            files = read_files(balancer, params["deployments"])
            wanted = spared(balancer, files, params["host"]) if drains else files
            steered = steer(balancer, wanted, only_look=module.check_mode)
        left = in_hand(balancer, params, wanted) if drains and not module.check_mode else 0
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"{params['host']} can't be {params['state']}: {error}")
    alone = sorted(name for name, text in wanted.fragments.items() if drains and text and takes(text, params["host"]))
    module.exit_json(changed=bool(steered.commands), alone=alone, left=left)


def takes(fragment: str, host: str) -> bool:
    """Say whether a host gets requests by a fragment."""
    servers = read_servers(fragment).items()
    return any(server.weight and server.state == "ready" for name, server in servers if name.rpartition("-")[0] == host)


def spared(balancer: Balancer, files: Files, host: str) -> Files:
    """What the files say, but for the host's weights."""
    fragments = {
        name: text and spare(text, host, parse_down(ask_current(balancer, f"show stat be_{name} 4 -1")))
        for name, text in files.fragments.items()
    }
    return replace(files, fragments=fragments)


def ask_current(balancer: Balancer, command: str) -> str:
    """Ask the worker that takes new connections."""
    current = [worker.pid for worker in read_workers(balancer) or () if worker.current]
    return ask_master(balancer, f"@!{current[0]} {command}") if current else ""


def in_hand(balancer: Balancer, params: dict[str, Any], files: Files) -> int:
    """Wait for the requests that the host still answers; return how many are left."""
    backends = {f"be_{name}" for name, text in files.fragments.items() if text and not takes(text, params["host"])}
    deadline = time.monotonic() + params["timeout"]
    while (left := count(balancer, backends, params["host"])) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return left


def count(balancer: Balancer, backends: Collection[str], host: str) -> int:
    """Count a host's requests in all workers that live."""
    total = 0
    for worker in read_workers(balancer) or ():
        sessions = parse_sessions(ask_master(balancer, f"@!{worker.pid} show stat"))
        for backend in backends:
            servers = sessions.get(backend, {}).items()
            total += sum(number for name, number in servers if name.rpartition("-")[0] == host)
    return total


if __name__ == "__main__":
    main()
