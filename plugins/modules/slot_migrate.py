#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run deployments' migrations on this server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slot_migrate
short_description: Run deployments' migrations on this server
version_added: "0.1.0"
description:
  - Runs each deployment's migration commands, as M(nectar.backend.slot_prepare) wrote them into a unit, as the deployment's user.
  - Several deployments migrate side by side. What a failed one wrote last is part of its error.
  - A deployment without migrations is left alone.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host.deployments
options:
  parallel:
    description: How many deployments migrate at a time.
    type: int
    default: 2
  secrets:
    description: The secrets of each deployment, which are blanked in what is shown of a log.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says which would be run.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Migrate the databases
  nectar.backend.slot_migrate:
    deployments: "{{ plan.steps | selectattr('migrate_host', 'eq', inventory_hostname) }}"
"""

RETURN = r"""
results:
  description: By deployment, the seconds it took, and C(error) with the log's tail where it failed.
  type: dict
  returned: success
  sample: {production: {seconds: 1.5}}
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    DEPLOYMENTS_ARGUMENT,
    journal_tail,
    systemctl,
)
from ansible_collections.nectar.backend.plugins.module_utils.units import migrate_unit

ARGUMENT_SPEC: dict[str, Any] = {
    "deployments": DEPLOYMENTS_ARGUMENT,
    "parallel": {"type": "int", "default": 2},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    names = [deployment["name"] for deployment in module.params["deployments"] if deployment["migrate"]]
    if module.check_mode:
        module.exit_json(changed=bool(names), results={name: {"seconds": 0.0} for name in names})
    with ThreadPoolExecutor(max(module.params["parallel"], 1)) as pool:
        results = dict(zip(names, pool.map(lambda name: migrate(module, name), names), strict=True))
    module.exit_json(changed=bool(names), results=results)


def migrate(module: AnsibleModule, name: str) -> dict[str, Any]:
    """Run one deployment's migrations to their end."""
    unit, began = migrate_unit(name), time.time()
    code, error = systemctl(module, "start", [unit])
    seconds = round(time.time() - began, 1)
    if code == 0:
        return {"seconds": seconds}
    return {
        "seconds": seconds,
        "error": f"the migration failed ({error.splitlines()[0]}); it wrote last:\n{journal_tail(module, unit, began)}",
    }


if __name__ == "__main__":
    main()
