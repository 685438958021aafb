#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read what a server knows about all deployments."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_info
short_description: Read what a server knows about all deployments
version_added: "0.1.0"
description:
  - Reads the records of all deployments, whether their active slots run, which revisions are kept, how rollouts ended, which releases are
    installed, and what Debian this is.
  - On a load balancer it reads which slot of each deployment is sent requests.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read what the server knows
  nectar.backend.deployment_info:
  register: state
"""

RETURN = r"""
debian:
  description: Debian's major version.
  type: str
  returned: success
  sample: "13"
machine:
  description: The machine, as wheels call it.
  type: str
  returned: success
  sample: x86_64
records:
  description: What is remembered, by deployment.
  type: dict
  returned: success
  sample:
    production:
      active: blue
      deployment: production
      generation: 1
      promoted: "2026-01-31T10:00:00Z"
      slots: {blue: {release: orders-0123456789ab, revision: ba9876543210}, green: null}
serves:
  description: Whether the active slot runs and is enabled, by deployment.
  type: dict
  returned: success
  sample: {production: true}
kept:
  description: The revisions from which a slot can be made anew, the newest first, by deployment.
  type: dict
  returned: success
  sample: {production: [{release: orders-0123456789ab, revision: ba9876543210, server_name: production.nectar.test, ready_path: /readyz}]}
outcomes:
  description: The copies of what etcd remembers of rollouts, as M(nectar.backend.outcome_copy) writes them, by deployment.
  type: dict
  returned: success
  sample: {production: {at: "2026-01-31T10:00:00Z", good: {revision: ba9876543210}, bad: {}, rollouts: []}}
releases:
  description: The releases that are installed, the newest first.
  type: list
  elements: str
  returned: success
  sample: [orders-0123456789ab]
traffic:
  description:
    - Where a load balancer sends requests, by deployment; C(token), C(step) and C(withdrawn) where a rollout in steps has been here.
  type: dict
  returned: success
  sample: {production: {active: blue, deployment: production, generation: 1, step: null}}
"""

import os
import platform
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.host_memory import USAGE_FILES, free_memory
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    HOST_ARGUMENTS,
    Layout,
    installed_releases,
    layout_from,
    read_kept,
    read_outcomes,
    read_slots,
    recorded_deployments,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError, record_data
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import read_all_traffic


def main() -> None:
    module = AnsibleModule(argument_spec=HOST_ARGUMENTS, supports_check_mode=True)
    layout = layout_from(module.params)
    try:
        module.exit_json(changed=False, **read_state(module, layout))
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot read the deployments of {layout.state}: {error}")


def read_state(module: AnsibleModule, layout: Layout) -> dict[str, Any]:
    """Return all that is known here, as plain values."""
    names = [name for name in recorded_deployments(layout) if os.path.exists(layout.record(name))]
    slots = read_slots(module, layout, names)
    return {
        "debian": platform.freedesktop_os_release().get("VERSION_ID", ""),
        "machine": platform.machine(),
        "records": {name: record_data(slot["record"]) for name, slot in slots.items()},
        "serves": {name: slot["serves"] for name, slot in slots.items()},
        "kept": {name: [asdict(content) for content in read_kept(layout, name)] for name in names},
        "outcomes": {name: copy for name in names if (copy := read_outcomes(layout, name))},
        "releases": installed_releases(layout),
        "free_memory": free_memory({path: read_text(path) for path in USAGE_FILES}),
        "traffic": {
            name: {key: value for key, value in note.items() if key != "former"}
            for name, note in read_all_traffic(layout.state).items()
        },
    }


if __name__ == "__main__":
    main()
