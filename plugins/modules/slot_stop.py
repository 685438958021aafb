#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stop slots that were to take over and don't."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slot_stop
short_description: Stop slots that were to take over and don't
version_added: "0.1.0"
description:
  - Stops each deployment's slot on this server. A slot that the record names as the one that serves is never stopped.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
  - nectar.backend.deployment_host.deployments
attributes:
  check_mode:
    description: Says whether anything would be stopped.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Stop the slots that did not become ready
  nectar.backend.slot_stop:
    deployments: "{{ plan.steps }}"
"""

RETURN = r"""
stopped:
  description: The units that were running.
  type: list
  elements: str
  returned: success
  sample: [nectar-production-green.target]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    DEPLOYMENTS_ARGUMENT,
    HOST_ARGUMENTS,
    RUNNING,
    all_units,
    layout_from,
    read_record,
    read_slot_units,
    show_units,
    systemctl,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError


def main() -> None:
    module = AnsibleModule(
        argument_spec={**HOST_ARGUMENTS, "deployments": DEPLOYMENTS_ARGUMENT}, supports_check_mode=True
    )
    layout = layout_from(module.params)
    try:
        idle = [
            entry
            for entry in module.params["deployments"]
            if read_record(layout, entry["name"]).active != entry["slot"]
        ]
        units = [unit for entry in idle for unit in all_units(read_slot_units(layout, entry["name"], entry["slot"]))]
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot stop slots: {error}")
    running = [
        unit for unit, state in show_units(module, units, "ActiveState").items() if state["ActiveState"] in RUNNING
    ]
    if running and not module.check_mode:
        systemctl(module, "stop", units)
    module.exit_json(changed=bool(running), stopped=running)


if __name__ == "__main__":
    main()
