#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give every deployment its own role and database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_databases
short_description: Give every deployment its own role and database
version_added: "0.1.0"
description:
  - Makes, for all deployments in one call, a role that may log in and nothing more, and a database that belongs to it
    and lets no other role in. The databases C(postgres) and C(template1) are closed to the deployments as well.
  - Runs C(psql) on the primary as O(login_user). Passwords become SCRAM verifiers before they leave this module, and are
    changed only when they differ.
  - Nothing is ever dropped. Databases that no deployment claims are reported.
  - A role or database whose own settings weaken C(synchronous_commit) is warned of, for its commits can be lost after they were acknowledged.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  deployments:
    description: The deployments.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the deployment.
        type: str
        required: true
      database:
        description: Name of the database.
        type: str
        required: true
      role:
        description: Name of the role that owns it; the servers ask that it be the database's.
        type: str
        required: true
      password:
        description: Password of the login.
        type: str
        required: true
      login:
        description:
          - Whose password O(deployments[].password) is, the role itself unless given. The role's second login bears its name and V(-2), is a
            member of it, and acts as the role in every session. A login that isn't valid any more is closed, and its sessions are ended.
        type: str
      former_password:
        description: Password of the role's other login, which is valid too where this is given, while one replaces the other.
        type: str
      connection_limit:
        description: How many connections the role may hold; O(connection_limit) unless given.
        type: int
      statement_timeout:
        description:
          - Seconds after which the role's statements end, where a session doesn't set another time; V(0) for no limit of its own.
        type: int
        default: 0
  connection_limit:
    description: How many connections each role may hold; V(-1) for no limit of its own.
    type: int
    default: -1
  maintenance_roles:
    description: Roles of the cluster itself that the database C(postgres) lets in.
    type: list
    elements: str
    default: []
  extensions:
    description: Extensions that the database C(postgres) is to have.
    type: list
    elements: str
    default: []
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Whether it predicts without changing anything.
    support: full
  diff_mode:
    description: Whether it shows what changes.
    support: full
"""

EXAMPLES = r"""
- name: Give every deployment its own role and database
  nectar.backend.deployment_databases:
    deployments:
      - {name: production, database: production, role: production, password: "{{ production_password }}"}
      - {name: alice, database: alice, role: alice, password: "{{ alice_password }}"}
    connection_limit: 20
    maintenance_roles: [rewind]
    extensions: [pg_stat_statements]
"""

RETURN = r"""
statements:
  description: What was done, or would be, in plain words.
  type: list
  elements: str
  returned: success
  sample: ["create the database alice", "close the database alice"]
weakened:
  description: Roles and databases whose commits can be lost after they were acknowledged, for so they are set; a warning names them too.
  type: list
  elements: str
  returned: success
  sample: ["the role alice has synchronous_commit off"]
unclaimed:
  description: Databases that no deployment claims.
  type: list
  elements: str
  returned: success
  sample: []
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import databases
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql

ARGUMENT_SPEC: dict[str, Any] = {
    "deployments": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "database": {"type": "str", "required": True},
            "role": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "login": {"type": "str"},
            "former_password": {"type": "str", "no_log": True},
            "connection_limit": {"type": "int"},
            "statement_timeout": {"type": "int", "default": 0},
        },
    },
    "connection_limit": {"type": "int", "default": -1},
    "maintenance_roles": {"type": "list", "elements": "str", "default": []},
    "extensions": {"type": "list", "elements": "str", "default": []},
    **PSQL_ARGUMENTS,
}


def main() -> None:
    """Read what there is, and run what is missing."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        wanted = databases.read_wanted(params["deployments"], params["connection_limit"])
        state = databases.read_state(json.loads(run_psql(module, f"{databases.STATE_QUERY};")))
        plan = databases.plan_databases(
            wanted, state, params["maintenance_roles"], params["extensions"], os.urandom(16)
        )
        if plan and not module.check_mode:
            run_psql(module, "".join(f"{statement.sql};\n" for statement in plan))
    except (databases.DatabasesError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot make the deployments' databases: {error}")
    if state.weakened:
        module.warn(
            f"Acknowledged commits can be lost: {'; '.join(state.weakened)}. "
            "Where that isn't meant, `ALTER ROLE … RESET synchronous_commit`, or `ALTER DATABASE …`, ends it."
        )
    says = [statement.says for statement in plan]
    module.exit_json(
        changed=bool(plan),
        statements=says,
        weakened=list(state.weakened),
        unclaimed=list(databases.find_unclaimed(wanted, state)),
        diff={"before": "", "after": "".join(f"{line}\n" for line in says)},
    )


if __name__ == "__main__":
    main()
