#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give all deployments their users and folders on a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_accounts
short_description: Give all deployments their users and folders on a server
version_added: "0.1.0"
description:
  - Makes the user, the group, the folder of environment files and the shared folders of every deployment in one call.
  - What belongs to deployments that aren't named is reported, and stays.
author:
  - Nectar Backend maintainers (@nectar)
options:
  deployments:
    description: The deployments, each with C(name), C(user), C(uid) and C(application).
    type: list
    elements: dict
    required: true
  applications:
    description: The applications by name, of which C(shared_paths) matter here.
    type: dict
    default: {}
  state_directory:
    description: Where records and shared folders lie.
    type: path
    default: /var/lib/nectar
  configuration_directory:
    description: Where environment files lie.
    type: path
    default: /etc/nectar/deployments
attributes:
  check_mode:
    description: Says what would be made.
    support: full
  diff_mode:
    description: Shows commands and folders.
    support: full
"""

EXAMPLES = r"""
- name: Make the deployments' users and folders
  nectar.backend.deployment_accounts:
    deployments:
      - {name: production, user: nb-production, uid: 30001, application: orders}
    applications:
      orders: {shared_paths: [uploads]}
"""

RETURN = r"""
commands:
  description: The commands that were run, or would be.
  type: list
  elements: list
  returned: success
  sample: [[groupadd, --gid, "30001", nb-production]]
folders:
  description: The folders that were made or corrected.
  type: list
  elements: str
  returned: success
  sample: [/var/lib/nectar/deployments/production/shared]
departed:
  description: Deployments that left something here and aren't named.
  type: list
  elements: str
  returned: success
  sample: [frank]
"""

import grp
import os
import pwd
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.deployment_accounts import (
    DeploymentAccountsError,
    Folder,
    departed,
    plan_folders,
    plan_users,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "deployments": {"type": "list", "elements": "dict", "required": True},
    "applications": {"type": "dict", "default": {}},
    "state_directory": {"type": "path", "default": "/var/lib/nectar"},
    "configuration_directory": {"type": "path", "default": "/etc/nectar/deployments"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deployments, state = module.params["deployments"], module.params["state_directory"]
    shared = {entry["name"]: os.path.join(state, "deployments", entry["name"], "shared") for entry in deployments}
    try:
        users = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
        groups = {entry.gr_name: entry.gr_gid for entry in grp.getgrall()}
        commands = plan_users(deployments, users, groups, shared)
        folders = plan_folders(
            deployments, module.params["applications"], state, module.params["configuration_directory"], shared
        )
        if not module.check_mode:
            for command in commands:
                module.run_command(
                    [str(module.get_bin_path(command[0], required=True, opt_dirs=["/usr/sbin"])), *command[1:]],
                    check_rc=True,
                )
        wrong = [folder for folder in folders if not is_right(folder)]
        for folder in wrong if not module.check_mode else ():
            put(folder)
        gone = departed(present_deployments(state), deployments)
    except (DeploymentAccountsError, OSError) as error:
        module.fail_json(msg=f"Cannot make the deployments' users and folders: {error}")
    if gone:
        module.warn(f"These deployments are not meant to be here any more; what they left stays: {', '.join(gone)}")
    text = "".join(f"{' '.join(command)}\n" for command in commands) + "".join(f"{folder.path}\n" for folder in wrong)
    module.exit_json(
        changed=bool(commands or wrong),
        commands=commands,
        folders=[folder.path for folder in wrong],
        departed=gone,
        diff=[{"prepared": text}] if text else [],
    )


def is_right(folder: Folder) -> bool:
    """Say whether a folder is there, as it should be."""
    try:
        found = os.lstat(folder.path)
        owner, group = pwd.getpwnam(folder.owner).pw_uid, grp.getgrnam(folder.group).gr_gid
    except (FileNotFoundError, KeyError):
        return False
    return stat.S_ISDIR(found.st_mode) and (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (
        folder.mode,
        owner,
        group,
    )


def put(folder: Folder) -> None:
    """Make a folder, or correct it; a link in its place is refused, for it could lead anywhere."""
    if os.path.islink(folder.path):
        raise DeploymentAccountsError(f"{folder.path} is a link; put a folder in its place")
    os.makedirs(folder.path, exist_ok=True)
    os.chown(folder.path, pwd.getpwnam(folder.owner).pw_uid, grp.getgrnam(folder.group).gr_gid)
    os.chmod(folder.path, folder.mode)


def present_deployments(state: str) -> list[str]:
    """Return the deployments that have a folder here."""
    try:
        return os.listdir(os.path.join(state, "deployments"))
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    main()
