#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let the cluster's own roles log in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_logins
short_description: Let the cluster's own roles log in
version_added: "0.1.0"
description:
  - Runs on every member of a cluster. On the primary it lets those logins in that are to be valid, and closes the role's other one.
  - On a standby it changes nothing, and can wait until that streams by the login whose turn it is. Where PostgreSQL doesn't run it does nothing.
  - Each role has two logins, its own name and that with V(-2), which take turns each time that the password is replaced.
  - A login by which a standby streams is never closed.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  logins:
    description: The cluster's own roles.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name of the role.
        type: str
        required: true
      login:
        description: Whose turn it is; the role itself where it's empty.
        type: str
      password:
        description: The password of that login.
        type: str
        required: true
      former_password:
        description: The other login's password, as long as that is valid.
        type: str
      purpose:
        description: What the role is for.
        type: str
        choices: [replication, rewind]
        required: true
  await_login:
    description: On a standby, the login by which it must stream; empty to wait for nothing.
    type: str
    default: ""
  timeout:
    description: Seconds to wait for that.
    type: int
    default: 60
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Says what it would do, waits for nothing, and does nothing.
    support: full
  diff_mode:
    description: Shows the statements in plain words.
    support: full
"""

EXAMPLES = r"""
- name: Let the standbys in by their second login, beside the first
  nectar.backend.cluster_logins:
    logins:
      - role: replicator
        purpose: replication
        login: replicator-2
        password: "{{ new }}"
        former_password: "{{ old }}"
"""

RETURN = r"""
statements:
  description: What was done, or would be, in plain words.
  type: list
  elements: str
  returned: success
  sample: ["create the role replicator-2: login, replication, a password"]
turned:
  description: Whether this member is a standby that streams by the login whose turn it is.
  type: bool
  returned: success
  sample: true
standbys:
  description: On the primary, by which login each standby streams.
  type: dict
  returned: success
  sample: {db2: replicator-2, db3: replicator-2}
"""

import json
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import cluster_logins
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql

ARGUMENT_SPEC: dict[str, Any] = {
    "logins": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "role": {"type": "str", "required": True},
            "login": {"type": "str"},
            "password": {"type": "str", "required": True, "no_log": True},
            "former_password": {"type": "str", "no_log": True},
            "purpose": {
                "type": "str",
                "choices": [cluster_logins.REPLICATION, cluster_logins.REWIND],
                "required": True,
            },
        },
    },
    "await_login": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 60},
    **PSQL_ARGUMENTS,
}
SOCKET = ".s.PGSQL.5432"
PAUSE = 0.5


def main() -> None:
    """Read what there is, run what is missing, and wait."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if not os.path.exists(os.path.join(module.params["socket_directory"], SOCKET)):
        module.exit_json(changed=False, statements=[], standbys={}, turned=False)
    try:
        wanted = cluster_logins.read_wanted(module.params["logins"])
        state = look(module)
        plan = cluster_logins.plan_logins(wanted, state, os.urandom(16))
        if not module.check_mode:
            if plan:
                run_psql(module, "".join(f"{statement.sql};\n" for statement in plan))
            state = wait(module, state)
    except (DatabasesError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot see to the cluster's own logins: {error}")
    says = [statement.says for statement in plan]
    module.exit_json(
        changed=bool(plan),
        statements=says,
        standbys=dict(state.standbys),
        turned=state.streams_as in {entry.login for entry in wanted},
        diff={"before": "", "after": "".join(f"{line}\n" for line in says)},
    )


def look(module: AnsibleModule) -> cluster_logins.State:
    """Ask this member."""
    return cluster_logins.read_state(json.loads(run_psql(module, f"{cluster_logins.STATE_QUERY};")))


def wait(module: AnsibleModule, state: cluster_logins.State) -> cluster_logins.State:
    """Wait until a standby streams as it should: the next one is touched only then, so that commits find one that streams."""
    login, deadline = module.params["await_login"], time.monotonic() + module.params["timeout"]
    while login and state.in_recovery and state.streams_as != login:
        if time.monotonic() > deadline:
            found = f"by {state.streams_as}" if state.streams_as else "not at all"
            raise DatabasesError(
                f"after {module.params['timeout']} s this standby streams {found}, expected by {login}; "
                "`journalctl --unit patroni` says why. All logins are still valid: once that is mended, run this again"
            )
        time.sleep(PAUSE)
        state = look(module)
    return state


if __name__ == "__main__":
    main()
