#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Advise on a deployment's database by what its statements really took."""

from __future__ import annotations

DOCUMENTATION = r"""
module: query_advice
short_description: Advise on a database by what its statements really took
version_added: "0.1.0"
description:
  - Reads from C(pg_stat_statements) which statements take most time, explains them without their values (C(EXPLAIN (GENERIC_PLAN)),
    PostgreSQL 16 or later), derives indexes from their plans, and tries each with HypoPG. Nothing is built and nothing stays.
  - An index is advised where it halves a plan's cost at least, and saves three times what it costs in writes, by what has been counted.
  - All advised indexes together slow writes by O(write_loss_max) at most; those that save least for what they cost writes are left out.
  - Further hints are about statements that run too often, OFFSET, patterns, statistics, bloat, sequences, and indexes to spare.
  - Runs C(psql) on the primary as O(login_user). Statements are explained with the rights of the database's owner alone.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  database:
    description: Name of the database.
    type: str
    required: true
  name:
    description: What to call it in the table; the database's name unless given.
    type: str
    default: ""
  most:
    description: How many statements to look at, those that took most time.
    type: int
    default: 100
  mean:
    description: Milliseconds that a statement takes in the mean before it counts as slow.
    type: float
    default: 1.0
  write_loss_max:
    description: The share of the database's writes a second that all advised indexes may cost together, by an estimate.
    type: float
    default: 0.05
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Advise on a deployment's database
  nectar.backend.query_advice:
    database: alice
  register: advice

- name: Show it
  ansible.builtin.debug:
    msg: "{{ advice.lines }}"
"""

RETURN = r"""
lines:
  description: The advice for a person.
  type: list
  elements: str
  returned: success
  sample: ["alice: 2 slow statements in 3 days, 1 indexes to build, 0 further hints"]
advice:
  description:
    - The advice for a script. C(indexes) hold the registry's C(entry), C(sql), sizes, and by query the cost before and after.
    - C(refused) are indexes that don't pay, or with C(beyond_limit) those that would cost writes too much.
    - C(hints) are what is no index, C(slow) the statements that were looked at.
    - C(write_loss) is the share of writes that the advised indexes cost together, C(write_loss_by_table) that of each table's.
    - C(to_spare) are indexes that could go, C(given_back) the share of writes that this would give back; nothing is dropped.
    - C(entries) are the advised indexes as the registry declares them.
  type: dict
  returned: success
  sample: {counted_hours: 71.2, indexes: [], refused: [], hints: [], slow: [], entries: []}
"""

import json
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import query_facts
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql
from ansible_collections.nectar.backend.plugins.module_utils.query_choice import Limits
from ansible_collections.nectar.backend.plugins.module_utils.query_report import advice_data, advice_lines
from ansible_collections.nectar.backend.plugins.module_utils.query_rounds import Advice, advise

ARGUMENT_SPEC: dict[str, Any] = {
    "database": {"type": "str", "required": True},
    "name": {"type": "str", "default": ""},
    "most": {"type": "int", "default": 100},
    "mean": {"type": "float", "default": 1.0},
    "write_loss_max": {"type": "float", "default": 0.05},
    **PSQL_ARGUMENTS,
}


def main() -> None:
    """Ask, advise, and show."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    database = module.params["database"]
    try:
        advice = advise_on(module, database)
    except (DatabasesError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot advise on the database {database}: {error}")
    module.exit_json(
        changed=False,
        lines=advice_lines(module.params["name"] or database, advice),
        advice=advice_data(advice),
    )


def advise_on(module: AnsibleModule, database: str) -> Advice:
    """Read what has been counted, and try what might help."""
    owner = query_facts.read_owner(json.loads(run_psql(module, f"{query_facts.server_query(database)};")), database)
    counted = json.loads(run_psql(module, f"{query_facts.statements_query(database)};"))
    statements, seconds = query_facts.read_statements(counted)
    facts = query_facts.read_facts(json.loads(run_psql(module, f"{query_facts.FACTS_QUERY};", database)))

    def ask(tasks: Sequence[query_facts.Task]) -> Sequence[query_facts.Outcome]:
        out = run_psql(module, query_facts.session(owner, facts.hypopg_schema, tasks), database)
        return [query_facts.read_outcome(json.loads(line)) for line in out.splitlines() if line]

    limits = Limits(module.params["most"], module.params["mean"], write_loss=in_range(module.params["write_loss_max"]))
    return advise(statements, seconds, facts, limits, ask)


def in_range(share: float) -> float:
    """A share between 0 and 1, or an error."""
    if not 0 <= share <= 1:
        raise ValueError(f"write_loss_max is {share:g}, expected a share from 0 to 1; 0.05 lets writes lose 5 %")
    return share


if __name__ == "__main__":
    main()
