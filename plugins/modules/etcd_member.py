#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring an empty member of etcd into its cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Bring an empty member of etcd into its cluster
version_added: "0.1.0"
description:
  - Looks whether this server's member of etcd holds data. A member that does is left alone.
  - For one that doesn't, for instance on a replaced server, the other members are asked. Where a cluster lives,
    the entry of the lost member is removed from it, the new one is added, and the variables for its first start
    are written to O(environment_file).
  - Where no cluster answers, nothing is changed and RV(state=new) tells that the member must be among those that found one.
  - Run it before etcd starts.
options:
  name:
    description: Name of this server's member, a key of O(members).
    type: str
    required: true
  members:
    description: All members that the cluster is to have, each name with the address that it advertises.
    type: dict
    required: true
  data_directory:
    description: Path of this member's data.
    type: path
    required: true
  environment_file:
    description: Path of the file that etcd's unit reads after its own settings.
    type: path
    required: true
  ca_file:
    description: Path of the CA certificate that the members' certificates are checked with.
    type: path
    required: true
  cert_file:
    description: Path of the certificate to show to the members.
    type: path
    required: true
  key_file:
    description: Path of the key that belongs to O(cert_file).
    type: path
    required: true
  client_port:
    description: Port that the members serve clients on.
    type: int
    default: 2379
  peer_port:
    description: Port that the members serve each other on.
    type: int
    default: 2380
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
- name: Bring an empty member back into the cluster
  nectar.backend.etcd_member:
    name: db3
    members: {db1: 10.0.0.1, db2: 10.0.0.2, db3: 10.0.0.3}
    data_directory: /var/lib/etcd/data
    environment_file: /var/lib/etcd/join.env
    ca_file: /etc/nectar/tls/ca.crt
    cert_file: /etc/nectar/tls/etcd.crt
    key_file: /etc/nectar/tls/etcd.key
"""

RETURN = r"""
state:
  description:
    - V(present) when the member holds data, V(joining) when a living cluster awaits it,
      V(new) when no cluster answered.
  type: str
  returned: success
  sample: present
removed:
  description: Identifiers of the lost members that were taken out of the cluster.
  type: list
  elements: str
  returned: success
  sample: []
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import etcd
from ansible_collections.nectar.backend.plugins.module_utils.json_https import (
    Caller,
    HttpsError,
    endpoint,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "members": {"type": "dict", "required": True},
    "data_directory": {"type": "path", "required": True},
    "environment_file": {"type": "path", "required": True},
    "ca_file": {"type": "path", "required": True},
    "cert_file": {"type": "path", "required": True},
    "key_file": {"type": "path", "required": True, "no_log": False},
    "client_port": {"type": "int", "default": 2379},
    "peer_port": {"type": "int", "default": 2380},
}


def main() -> None:
    """Look for data, ask the cluster, and join it if there is one."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        etcd.check_membership(params["name"], params["members"])
        result = {"changed": False, "state": "present", "removed": []}
        if not holds_data(params["data_directory"]):
            caller = Caller(params["ca_file"], params["cert_file"], params["key_file"])
            refuse_running(caller, params)
            listed = find_cluster(caller, params)
            result |= join(module, caller, listed) if listed else {"state": "new"}
        module.exit_json(**result)
    except (etcd.EtcdError, HttpsError, OSError) as error:
        module.fail_json(msg=f"Cannot bring {params['name']} into its cluster: {error}")


def holds_data(directory: str) -> bool:
    """Say whether etcd ever started in this directory."""
    return os.path.isdir(os.path.join(directory, "member"))


def name_urls(params: dict[str, Any], verb: str) -> list[str]:
    """Name where the other members take a request about the membership."""
    others = [address for name, address in sorted(params["members"].items()) if name != params["name"]]
    return [f"{endpoint(address, params['client_port'])}/v3/cluster/member/{verb}" for address in others]


def refuse_running(caller: Caller, params: dict[str, Any]) -> None:
    """Refuse to replace a member that lives: it holds its data elsewhere than it was said to."""
    own = endpoint(params["members"][params["name"]], params["client_port"])
    try:
        caller.ask("POST", f"{own}/v3/cluster/member/list", {})
    except HttpsError:
        return
    raise etcd.EtcdError(
        f"data_directory: {params['data_directory']} is empty, yet etcd answers at {own}; "
        "name the directory that it runs with, or stop it"
    )


def find_cluster(caller: Caller, params: dict[str, Any]) -> tuple[etcd.Member, ...]:
    """Ask the other members which members the cluster has; none when none of them answers."""
    try:
        return etcd.read_members(caller.ask_any("POST", name_urls(params, "list"), {}))
    except HttpsError:
        return ()


def join(module: AnsibleModule, caller: Caller, listed: tuple[etcd.Member, ...]) -> dict[str, Any]:
    """Replace the lost member in the cluster, and write what the new one starts with."""
    params = module.params
    peer_url = endpoint(params["members"][params["name"]], params["peer_port"])
    plan = etcd.plan_join(params["name"], peer_url, listed)
    kept = tuple(member for member in listed if member.id not in plan.remove)
    text = (
        "ETCD_INITIAL_CLUSTER_STATE=existing\n"
        f"ETCD_INITIAL_CLUSTER={etcd.initial_cluster(params['name'], peer_url, kept)}\n"
    )
    if not module.check_mode:
        for member_id in plan.remove:
            caller.ask_any("POST", name_urls(params, "remove"), {"ID": member_id})
        if plan.add:
            caller.ask_any("POST", name_urls(params, "add"), {"peerURLs": [peer_url]})
    wrote = write_file(module, params["environment_file"], text)
    return {
        "changed": bool(plan.remove) or plan.add or wrote,
        "state": "joining",
        "removed": list(plan.remove),
        "diff": {
            "before": "".join(f"member {member_id}\n" for member_id in plan.remove),
            "after": f"member {params['name']} at {peer_url}\n",
        },
    }


def write_file(module: AnsibleModule, path: str, text: str) -> bool:
    """Write a small file whole or not at all; say whether it differed."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return False
    if not module.check_mode:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        module.atomic_move(f"{path}.new", path)
    return True


if __name__ == "__main__":
    main()
