#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask Patroni who leads, and wait until the cluster serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_cluster
short_description: Ask Patroni who leads, and wait until the cluster serves
version_added: "0.1.0"
description:
  - Waits until a member leads, every member of O(expect) works and, where the cluster's settings demand a synchronous
    standby, one is there; then tells who leads.
  - In check mode it asks once and doesn't wait, so that bare servers can be predicted too.
extends_documentation_fragment:
  - nectar.backend.patroni_members
options:
  expect:
    description: Names of the members that must work.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait.
    type: int
    default: 180
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Whether it predicts without changing anything.
    support: full
  diff_mode:
    description: Whether it shows what changes.
    support: none
"""

EXAMPLES = r"""
- name: Wait until the cluster serves
  nectar.backend.patroni_cluster:
    servers: [10.0.0.1, 10.0.0.2, 10.0.0.3]
    ca_file: /etc/nectar/tls/ca.crt
    expect: [db1, db2, db3]
  register: cluster
"""

RETURN = r"""
leader:
  description: Name of the member that takes writes; empty in check mode when there is none.
  type: str
  returned: success
  sample: db2
members:
  description: The members with their roles and states.
  type: list
  elements: dict
  returned: success
  sample: [{name: db2, role: leader, state: running, pending_restart: false}]
pending_restart:
  description: Names of the members whose settings wait for a restart; a warning names them too.
  type: list
  elements: str
  returned: success
  sample: []
lacks:
  description: What is still missing, one sentence each; only check mode returns with any.
  type: list
  elements: str
  returned: success
  sample: []
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import patroni
from ansible_collections.nectar.backend.plugins.module_utils.json_https import (
    Caller,
    HttpsError,
    endpoint,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **patroni.MEMBER_ARGUMENTS,
    "expect": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 180},
}
PAUSE = 0.5


def main() -> None:
    """Ask until nothing is lacking or time is up."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    bases = [endpoint(server, params["port"]) for server in params["servers"]]
    caller = Caller(params["ca_file"])
    deadline = time.monotonic() + (0 if module.check_mode else params["timeout"])
    while True:
        cluster, lacks = look(caller, bases, params["expect"])
        if not lacks or time.monotonic() >= deadline:
            break
        time.sleep(PAUSE)
    if lacks and not module.check_mode:
        module.fail_json(
            msg=f"The cluster does not serve after {params['timeout']} s: {'; '.join(lacks)}. On the servers, "
            "`journalctl --unit patroni` says why; a standby whose data can't be used is rebuilt with `patronictl reinit`."
        )
    if cluster.pending_restart:
        module.warn(
            f"Settings wait for a restart of {', '.join(cluster.pending_restart)}: "
            "run `patronictl restart --pending`, one member at a time."
        )
    members = [asdict(member) for member in cluster.members]
    module.exit_json(
        changed=False,
        leader=cluster.leader or "",
        members=members,
        pending_restart=cluster.pending_restart,
        lacks=lacks,
    )


def look(caller: Caller, bases: list[str], expect: list[str]) -> tuple[patroni.Cluster, list[str]]:
    """Read the cluster's state and what it lacks."""
    try:
        cluster = patroni.read_cluster(caller.ask_any("GET", [f"{base}/cluster" for base in bases]))
        settings = caller.ask_any("GET", [f"{base}/config" for base in bases])
    except (HttpsError, patroni.PatroniError) as error:
        return patroni.Cluster(()), [f"Patroni does not answer: {error}"]
    return cluster, list(patroni.find_lacks(cluster, expect, settings))


if __name__ == "__main__":
    main()
