#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan PostgreSQL's parameters from the host, the workload and the budget."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_plan
short_description: Plan PostgreSQL's parameters from the host, the workload and the budget
version_added: "0.1.0"
description:
  - Runs on the server that leads. Compares what the kind of workload and the host ask for, or what O(proposal) says, with what PostgreSQL has.
  - What the budget decides is left to it. Values that it leaves no memory or log for are refused, as are parameters that this version lacks, that
    belong to a library that isn't loaded, that lose acknowledged commits, or that are others'.
  - Changes nothing.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  kind:
    description: Kind of the workload.
    type: str
    choices: [select, oltp, mixed, analytic, application]
    default: mixed
  budget:
    description: The budget's figures of the database, each with its C(setting), and C(memory).
    type: dict
    default: {}
  pinned:
    description: Parameters that the inventory sets, which go first.
    type: dict
    default: {}
  kept:
    description: Parameters that an earlier tuning kept, which the formulas leave alone; a proposal may change them.
    type: dict
    default: {}
  proposal:
    description: Parameters and values to plan, instead of those of the kind and the host.
    type: dict
    default: {}
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: It only reads.
    support: full
  diff_mode:
    description: Shows the parameters that would change.
    support: full
"""

EXAMPLES = r"""
- name: Plan for reads and writes
  nectar.backend.tuning_plan:
    kind: mixed
    budget: "{{ budget.database }}"
  register: plan

- name: See whether a value of one's own could be
  nectar.backend.tuning_plan:
    budget: "{{ budget.database }}"
    proposal: {work_mem: 8MB}
"""

RETURN = r"""
change:
  description: The parameters that would change, with their values.
  type: dict
  returned: success
  sample: {checkpoint_timeout: 15min}
restarting:
  description: Names of those that need a restart.
  type: list
  elements: str
  returned: success
  sample: []
rows:
  description: Each change with C(parameter), C(now), C(planned), C(context), C(scope), C(reason) and C(source).
  type: list
  elements: dict
  returned: success
lines:
  description: The same as a table for a person, and what is left alone and why.
  type: list
  elements: str
  returned: success
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import tuning
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql
from ansible_collections.nectar.backend.plugins.module_utils.tuning_facts import SETTINGS_QUERY, preloaded
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import TuningError, read_parameters

ARGUMENT_SPEC: dict[str, Any] = {
    "kind": {"type": "str", "default": "mixed", "choices": ["select", "oltp", "mixed", "analytic", "application"]},
    "budget": {"type": "dict", "default": {}},
    "pinned": {"type": "dict", "default": {}},
    "kept": {"type": "dict", "default": {}},
    "proposal": {"type": "dict", "default": {}},
    **PSQL_ARGUMENTS,
}


def main() -> None:
    """Read, plan, and say."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        facts = json.loads(run_psql(module, f"{SETTINGS_QUERY};"))
        parameters = read_parameters(facts["settings"])
        server = tuning.Server(
            facts["version"], parameters, installed_libraries(facts["version"]), preloaded(parameters)
        )
        host = tuning.Host(is_solid(facts["data_directory"]))
        wanted = tuning.wishes(params["kind"], host, server.version)
        if params["proposal"]:
            wanted = [
                tuning.Wish(name, value, "a person proposed it", "proposal")
                for name, value in params["proposal"].items()
            ]
        rules = tuning.Rules(params["budget"], params["pinned"], params["kept"])
        plan = tuning.plan(server, rules, wanted, proposed=bool(params["proposal"]))
    except (DatabasesError, TuningError, OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot plan PostgreSQL's parameters: {error}")
    if plan.refusals:
        module.fail_json(msg="Refused, and nothing was changed:\n" + "\n".join(f"- {line}" for line in plan.refusals))
    rows = tuning.table(plan.rows) if plan.rows else ["nothing would change"]
    module.exit_json(
        changed=False,
        change=plan.change,
        restarting=plan.restarting,
        rows=[asdict(row) for row in plan.rows],
        lines=[*rows, *(f"left alone: {note}" for note in plan.notes)],
        diff={
            "before": "".join(f"{row.parameter} = {row.now}\n" for row in plan.rows),
            "after": "".join(f"{row.parameter} = {row.planned}\n" for row in plan.rows),
        },
    )


def installed_libraries(version: int) -> list[str]:
    """Names of the libraries that Debian's packages brought."""
    return [path.stem for path in Path(f"/usr/lib/postgresql/{version // 10000}/lib").glob("*.so")]


def is_solid(directory: str) -> bool:
    """Whether the kernel says that the disk below a folder has no moving parts."""
    device = os.stat(directory).st_dev
    place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    # A partition's queue is that of its disk.
    for disk in (place, place.parent):
        try:
            return (disk / "queue" / "rotational").read_text(encoding="ascii").strip() == "0"
        except OSError:
            continue
    return False


if __name__ == "__main__":
    main()
