#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide who is retired, and say what is still there of them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: retirement_plan
short_description: Decide who is retired, and say what is still there of them
version_added: "0.1.0"
description:
  - Runs on the controller. Takes a name that the registry keeps under C(retired), and what M(nectar.backend.leftovers) found on the servers.
  - Refuses who lives, and who has no tombstone yet, with the line to write.
author:
  - Nectar Backend maintainers (@nectar)
options:
  deployment:
    description: The deployment to retire; an account of the same name stays.
    type: str
    default: ""
  member:
    description: The member to retire, with deployment, account and keys.
    type: str
    default: ""
  deployments:
    description: The deployments that live.
    type: dict
    required: true
  members:
    description: The members.
    type: dict
    required: true
  retired:
    description: The tombstones, as the inventory derives them.
    type: dict
    required: true
  looks:
    description: By server, what was found on it.
    type: dict
    required: true
attributes:
  check_mode:
    description: Only decides.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Decide who is retired
  nectar.backend.retirement_plan:
    member: grace
    deployments: "{{ deployments }}"
    members: "{{ members }}"
    retired: "{{ retired }}"
    looks: {app1: "{{ hostvars.app1.look.leftovers }}"}
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
name:
  description: Who is retired.
  type: str
  returned: success
  sample: grace
tombstone:
  description: What was theirs, by number and names.
  type: dict
  returned: success
with_account:
  description: Whether account and keys go too.
  type: bool
  returned: success
  sample: true
there:
  description: By server, what is there of them; empty where nothing is left.
  type: dict
  returned: success
table:
  description: The same for a person to read.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.retirement import (
    Registry,
    RetirementError,
    plan_retirement,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "deployment": {"type": "str", "default": ""},
    "member": {"type": "str", "default": ""},
    **{name: {"type": "dict", "required": True} for name in ("deployments", "members", "retired", "looks")},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    registry = Registry(params["deployments"], params["members"], params["retired"])
    try:
        plan = plan_retirement(params["deployment"], params["member"], registry, params["looks"])
    except RetirementError as error:
        module.fail_json(msg=f"Nothing was retired: {error}")
    module.exit_json(changed=False, **plan)


if __name__ == "__main__":
    main()
