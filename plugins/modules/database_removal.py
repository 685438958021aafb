#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Close the database of a retired deployment, or drop it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_removal
short_description: Close the database of a retired deployment, or drop it
version_added: "0.1.0"
description:
  - Runs on the primary. Closed, the deployment's role can't log in and its sessions are ended; absent, database and role are gone.
  - Refuses a database that a living deployment claims, that has another owner, or whose role has powers.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  database:
    description: The database, whose role bears the same name.
    type: str
    required: true
  claimed:
    description: The databases of the deployments that live.
    type: list
    elements: str
    required: true
  state:
    description: Whether nobody comes in any more, or nothing is left.
    type: str
    choices: [closed, absent]
    required: true
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows what is done, in words.
    support: full
"""

EXAMPLES = r"""
- name: Let nobody write any more
  nectar.backend.database_removal:
    database: grace
    claimed: [production, alice]
    state: closed
"""

RETURN = r"""
exists:
  description: Whether the database was there.
  type: bool
  returned: success
  sample: true
removed:
  description: What was done, or would be, in plain words.
  type: list
  elements: str
  returned: success
  sample: ["drop the database grace", "drop the role grace"]
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import databases
from ansible_collections.nectar.backend.plugins.module_utils.database_removal import (
    check_removable,
    plan_closing,
    plan_drop,
)
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql

ARGUMENT_SPEC: dict[str, Any] = {
    **PSQL_ARGUMENTS,
    "database": {"type": "str", "required": True},
    "claimed": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["closed", "absent"], "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    name = module.params["database"]
    try:
        state = databases.read_state(json.loads(run_psql(module, f"{databases.STATE_QUERY};")))
        check_removable(name, state, module.params["claimed"])
        plan = plan_closing(name, state) if module.params["state"] == "closed" else plan_drop(name, state)
        if plan and not module.check_mode:
            run_psql(module, "".join(f"{statement.sql};\n" for statement in plan))
    except (databases.DatabasesError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot retire the database {name}: {error}")
    says = [statement.says for statement in plan]
    module.exit_json(
        changed=bool(plan),
        exists=name in state.databases,
        removed=says,
        diff={"before": "", "after": "".join(f"{line}\n" for line in says)},
    )


if __name__ == "__main__":
    main()
