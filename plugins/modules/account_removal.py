#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remove a retired member's account and keys."""

from __future__ import annotations

DOCUMENTATION = r"""
module: account_removal
short_description: Remove a retired member's account and keys
version_added: "0.1.0"
description:
  - Removes the keys first, so that nobody comes in, ends the processes, and removes the account with its home and its groups, which takes sudo along.
  - Refuses an account that isn't the member's, by its uid and O(member_group), and the one that this run is connected as.
author:
  - Nectar Backend maintainers (@nectar)
options:
  name:
    description: The account.
    type: str
    required: true
  uid:
    description: Its id, which was the member's for life.
    type: int
    required: true
  member_group:
    description: The group that marks an account as a member's.
    type: str
    default: nectar-members
  keys_directory:
    description: Where the files of keys lie.
    type: path
    default: /etc/ssh/authorized_keys.d
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
  diff_mode:
    description: Shows what goes.
    support: full
"""

EXAMPLES = r"""
- name: Remove the account
  nectar.backend.account_removal:
    name: grace
    uid: 41007
"""

RETURN = r"""
removed:
  description: What was removed, or would be, in plain words.
  type: list
  elements: str
  returned: success
  sample: ["keys /etc/ssh/authorized_keys.d/grace", "account grace with its home"]
"""

import grp
import os
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.account_removal import has_account
from ansible_collections.nectar.backend.plugins.module_utils.accounts import Account, AccountsError

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "uid": {"type": "int", "required": True},
    "member_group": {"type": "str", "default": "nectar-members"},
    "keys_directory": {"type": "path", "default": "/etc/ssh/authorized_keys.d", "no_log": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    name, uid = module.params["name"], module.params["uid"]
    keys = os.path.join(module.params["keys_directory"], name)
    try:
        is_there = has_account(
            name, uid, read_account(name), module.params["member_group"], os.environ.get("SUDO_USER")
        )
        removed = [f"keys {keys}"] if os.path.lexists(keys) else []
        if removed and not module.check_mode:
            os.unlink(keys)
        if is_there:
            removed.append(f"account {name} with its home")
        if is_there and not module.check_mode:
            remove_account(module, name, uid)
    except (AccountsError, OSError) as error:
        module.fail_json(msg=f"Cannot remove the account: {error}")
    module.exit_json(
        changed=bool(removed), removed=removed, diff={"before": "".join(f"{line}\n" for line in removed), "after": ""}
    )


def read_account(name: str) -> dict[str, Account]:
    """Return the account of this name, if there is one."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return {}
    groups = frozenset(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return {name: Account(name, entry.pw_uid, entry.pw_gecos, groups)}


def remove_account(module: AnsibleModule, name: str, uid: int) -> None:
    """End what the person runs, and remove the account; nothing running is no failure."""
    module.run_command(["loginctl", "terminate-user", name])
    module.run_command(["pkill", "--signal", "KILL", "--uid", str(uid)])
    userdel = str(module.get_bin_path("userdel", required=True, opt_dirs=["/usr/sbin"]))
    # Processes that were just killed may still be listed; without force that alone would refuse it.
    module.run_command([userdel, "--force", "--remove", name], check_rc=True)


if __name__ == "__main__":
    main()
