#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start prepared slots and wait until they can serve."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slot_start
short_description: Start prepared slots and wait until they can serve
version_added: "0.1.0"
description:
  - Starts the slots of all deployments at once, then asks each web process for its readiness path until it answers 200.
  - A slot that doesn't get there, because a process keeps ending or the deadline passes, is stopped again
    if it was to take over, and its error holds what the process wrote last.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
  - nectar.backend.deployment_host.deployments
options:
  address:
    description: The address on which web processes listen.
    type: str
    required: true
  deadline:
    description: Seconds until a slot must be ready.
    type: int
    default: 60
  secrets:
    description: The secrets of each deployment, which are blanked in what is shown of a log.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says which would be started.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Start the idle slots
  nectar.backend.slot_start:
    deployments: "{{ plan.steps }}"
    address: 192.0.2.21
    deadline: 30
"""

RETURN = r"""
results:
  description: By deployment, the seconds until it was ready, and C(error) with the log's tail where it wasn't.
  type: dict
  returned: success
  sample: {production: {seconds: 1.5}}
"""

import http.client
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.readiness import UnitState, judge_units
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    DEPLOYMENTS_ARGUMENT,
    HOST_ARGUMENTS,
    Layout,
    all_units,
    journal_tail,
    layout_from,
    read_slot_units,
    show_units,
    systemctl,
)
from ansible_collections.nectar.backend.plugins.module_utils.traffic import has_web

POLL_SECONDS = 0.3
REQUEST_SECONDS = 5

ARGUMENT_SPEC: dict[str, Any] = {
    **HOST_ARGUMENTS,
    "deployments": DEPLOYMENTS_ARGUMENT,
    "address": {"type": "str", "required": True},
    "deadline": {"type": "int", "default": 60},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    layout, deployments = layout_from(module.params), module.params["deployments"]
    units = {
        deployment["name"]: read_slot_units(layout, deployment["name"], deployment["slot"])
        for deployment in deployments
    }
    targets = [unit for entry in units.values() for unit in entry.get("target", ())]
    idle = [
        unit for unit, state in show_units(module, targets, "ActiveState").items() if state["ActiveState"] != "active"
    ]
    if module.check_mode:
        module.exit_json(changed=bool(idle) or len(targets) < len(deployments), results={name: {} for name in units})
    systemctl(module, "reset-failed", [unit for entry in units.values() for unit in all_units(entry)])
    systemctl(
        module,
        "start",
        [unit for entry in units.values() for unit in [*entry["target"], *entry["services"]]],
        "--no-block",
    )
    results = await_slots(module, {deployment["name"]: deployment for deployment in deployments}, units)
    stop_failed(module, layout, deployments, results)
    module.exit_json(changed=bool(idle), results=results)


def await_slots(
    module: AnsibleModule, deployments: dict[str, dict[str, Any]], units: dict[str, dict[str, list[str]]]
) -> dict[str, dict[str, Any]]:
    """Ask all slots in turn until each is ready or given up."""
    began, results = time.time(), dict[str, dict[str, Any]]()
    while waiting := [name for name in deployments if name not in results]:
        states = unit_states(module, [unit for name in waiting for unit in units[name]["services"]])
        late = time.time() - began > module.params["deadline"]
        for name in waiting:
            answer = ask(module.params["address"], deployments[name])
            verdict = judge_units([states[unit] for unit in units[name]["services"]], answer, late)
            if verdict.ready:
                results[name] = {"seconds": round(time.time() - began, 1)}
            elif verdict.culprit:
                tail = journal_tail(module, verdict.culprit, began)
                slot = deployments[name]["slot"]
                results[name] = {"error": f"slot {slot}: {verdict.reason}; {verdict.culprit} wrote last:\n{tail}"}
        time.sleep(POLL_SECONDS if len(results) < len(deployments) else 0)
    return results


def unit_states(module: AnsibleModule, units: list[str]) -> dict[str, UnitState]:
    """Ask systemd how the services are."""
    found = show_units(module, units, "ActiveState", "SubState", "NRestarts", "Result")
    return {
        unit: UnitState(
            unit, state["ActiveState"], state["SubState"], int(state.get("NRestarts") or 0), state["Result"]
        )
        for unit, state in found.items()
    }


def ask(address: str, deployment: dict[str, Any]) -> str:
    """Return an empty text if the web process is ready, else what it said instead."""
    if not has_web(deployment):
        return ""
    port, path = deployment["ports"][deployment["slot"]], deployment["ready_path"]
    connection = http.client.HTTPConnection(address, port, timeout=REQUEST_SECONDS)
    try:
        connection.request(
            "GET",
            path,
            headers={"Host": deployment["server_name"], "X-Forwarded-Proto": "https", "Connection": "close"},
        )
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"http://{address}:{port}{path} doesn't answer ({error})"
    finally:
        connection.close()
    return "" if status == http.client.OK else f"http://{address}:{port}{path} answers {status} instead of 200"


def stop_failed(
    module: AnsibleModule, layout: Layout, deployments: list[dict[str, Any]], results: dict[str, dict[str, Any]]
) -> None:
    """Stop what won't take over. A slot that serves already is left to systemd, which keeps trying."""
    failed = [
        deployment for deployment in deployments if deployment["switches"] and results[deployment["name"]].get("error")
    ]
    units = [unit for entry in failed for unit in all_units(read_slot_units(layout, entry["name"], entry["slot"]))]
    systemctl(module, "stop", units)


if __name__ == "__main__":
    main()
