#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find what no entry of the registry owns on a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: leftovers
short_description: Find what no entry of the registry owns on a server
version_added: "0.1.0"
description:
  - Looks, in one call, for what deployments and members leave behind, users, groups, folders, settings, units, releases, load balancers' fragments
    and routes, accounts, keys, databases and roles, and returns what belongs to nobody who is named.
  - Only reads. What doesn't carry the project's marks, such as other users or databases of a superuser, is never named.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
options:
  deployments:
    description: Names of all deployments of the environment.
    type: list
    elements: str
    required: true
  logins:
    description: Accounts of all members.
    type: list
    elements: str
    required: true
  databases:
    description: Databases of all deployments, whose roles bear the same names.
    type: list
    elements: str
    required: true
  applications:
    description: Names of all applications; their releases are not leftovers.
    type: list
    elements: str
    required: true
  maintenance_roles:
    description: The cluster's own roles that hold no power.
    type: list
    elements: str
    default: [rewind]
  member_group:
    description: The group that marks an account as a member's.
    type: str
    default: nectar-members
  keys_directory:
    description: Where members' SSH keys lie.
    type: path
    default: /etc/ssh/authorized_keys.d
  haproxy_directory:
    description: HAProxy's configuration.
    type: path
    default: /etc/haproxy
  login_user:
    description: User of the operating system who is PostgreSQL's superuser by peer authentication.
    type: str
    default: postgres
  socket_directory:
    description: Folder of PostgreSQL's socket; without one there, no database is looked for.
    type: path
    default: /var/run/postgresql
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Look for what no entry owns
  nectar.backend.leftovers:
    deployments: "{{ deployments.keys() | list }}"
    logins: "{{ members.values() | map(attribute='user') | list }}"
    databases: "{{ deployments.values() | map(attribute='database') | list }}"
    applications: "{{ applications.keys() | list }}"
  register: look
"""

RETURN = r"""
leftovers:
  description: What was found; C(number) is told by a user id, and null elsewhere.
  type: list
  elements: dict
  returned: success
  sample: [{kind: user, name: grace, number: 7}, {kind: folder, name: grace, number: null}]
"""

import grp
import json
import os
import pwd
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.databases import (
    STATE_QUERY,
    DatabasesError,
    State,
    read_state,
)
from ansible_collections.nectar.backend.plugins.module_utils.leftovers import Found, Owned, find_leftovers
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    HOST_ARGUMENTS,
    Layout,
    installed_releases,
    layout_from,
    read_record,
    recorded_deployments,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text
from ansible_collections.nectar.backend.plugins.module_utils.traffic import FRAGMENT_ORDER, parse_map
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import Balancer

NAMES: dict[str, Any] = {"type": "list", "elements": "str", "required": True}
ARGUMENT_SPEC: dict[str, Any] = {
    **HOST_ARGUMENTS,
    **PSQL_ARGUMENTS,
    "deployments": NAMES,
    "logins": NAMES,
    "databases": NAMES,
    "applications": NAMES,
    "maintenance_roles": {"type": "list", "elements": "str", "default": ["rewind"]},
    "member_group": {"type": "str", "default": "nectar-members"},
    "keys_directory": {"type": "path", "default": "/etc/ssh/authorized_keys.d", "no_log": False},
    "haproxy_directory": {"type": "path", "default": "/etc/haproxy"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    names = ("deployments", "logins", "databases", "applications", "maintenance_roles")
    owned = Owned(**{name: frozenset(module.params[name]) for name in names})
    try:
        left = find_leftovers(look(module, layout_from(module.params)), owned)
    except (DatabasesError, SlotError, OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot look for what nobody owns: {error}")
    module.exit_json(changed=False, leftovers=[asdict(leftover) for leftover in left])


def look(module: AnsibleModule, layout: Layout) -> Found:
    """Read everything that may carry the project's marks."""
    params = module.params
    balancer = Balancer(params["haproxy_directory"], params["state_directory"])
    folders = recorded_deployments(layout)
    held = {content.release for name in folders for content in read_record(layout, name).slots.values()}
    return Found(
        users={entry.pw_name: entry.pw_uid for entry in pwd.getpwall()},
        groups={entry.gr_name: entry.gr_gid for entry in grp.getgrall()},
        accounts=read_accounts(params["member_group"]),
        key_files=names_in(params["keys_directory"]),
        folders=folders,
        settings=names_in(layout.configuration),
        units=names_in(layout.units, "nectar-"),
        releases={release: release in held for release in installed_releases(layout)},
        fragments={
            *names_in(os.path.join(balancer.directory, "conf.d"), f"{FRAGMENT_ORDER}-", ".cfg", strip=True),
            *names_in(os.path.join(layout.state, "traffic"), "", ".json", strip=True),
        },
        routes=set(parse_map(read_text(balancer.map) or "").values()),
        cluster=read_cluster(module),
    )


def read_accounts(group: str) -> dict[str, int]:
    """Return the accounts in the group, with their ids."""
    try:
        members = grp.getgrnam(group).gr_mem
    except KeyError:
        return {}
    return {entry.pw_name: entry.pw_uid for entry in pwd.getpwall() if entry.pw_name in members}


def names_in(directory: str, prefix: str = "", suffix: str = "", strip: bool = False) -> list[str]:
    """Return the names in a folder that begin and end so; drafts and hidden files aren't meant."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    found = [name for name in names if name.startswith(prefix) and name.endswith(suffix) and name[0] != "."]
    return [name.removeprefix(prefix).removesuffix(suffix) for name in found] if strip else found


def read_cluster(module: AnsibleModule) -> State | None:
    """Return what the cluster holds, where PostgreSQL runs."""
    if not is_listening(module.params["socket_directory"]):
        return None
    return read_state(json.loads(run_psql(module, f"{STATE_QUERY};")))


def is_listening(directory: str) -> bool:
    """Say whether a PostgreSQL listens here; PgBouncer's socket has another number."""
    return os.path.exists(os.path.join(directory, ".s.PGSQL.5432"))


if __name__ == "__main__":
    main()
