#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give people accounts of their own on a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accounts
short_description: Give people accounts of their own on a server
version_added: "0.1.0"
description:
  - Makes all members' accounts, groups and files of SSH keys in one call.
  - The keys lie in a directory of root's, one file a member, and hold what is listed and nothing else.
  - A member whose C(uid) an account of O(member_group) has under another name is renamed; the account keeps its files and its home.
  - Accounts of people who aren't listed any more are returned, and stay.
author:
  - Nectar Backend maintainers (@nectar)
options:
  members:
    description:
      - The people. Each entry has a C(name), which is the account's, and C(keys), a list of public SSH keys.
        It may have C(admin) (whether the person is in O(admin_group); true by default), C(uid) and C(comment).
    type: list
    elements: dict
    required: true
  member_group:
    description: The group of all members.
    type: str
    required: true
  admin_group:
    description: The group of those members who may become root.
    type: str
    required: true
  keys_directory:
    description: Where the files of keys lie, for C(AuthorizedKeysFile).
    type: path
    default: /etc/ssh/authorized_keys.d
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows commands and keys.
    support: full
"""

EXAMPLES = r"""
- name: Make the members' accounts
  nectar.backend.accounts:
    member_group: nectar-members
    admin_group: nectar-admins
    members:
      - name: alice
        keys: ["{{ lookup('ansible.builtin.file', '~/.ssh/alice.pub') }}"]
      - name: bob
        admin: false
        keys: ["{{ lookup('ansible.builtin.file', '~/.ssh/bob.pub') }}"]
"""

RETURN = r"""
commands:
  description: The commands that were run, or would be.
  type: list
  elements: list
  returned: success
  sample: [[usermod, --append, --groups, nectar-admins, alice]]
unlisted:
  description: Accounts in O(member_group) that belong to no listed member.
  type: list
  elements: str
  returned: success
  sample: [frank]
"""

import grp
import os
import pwd
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.accounts import (
    Account,
    AccountsError,
    AccountsPlan,
    parse_members,
    plan_accounts,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text

ARGUMENT_SPEC: dict[str, Any] = {
    "members": {"type": "list", "elements": "dict", "required": True},
    "member_group": {"type": "str", "required": True},
    "admin_group": {"type": "str", "required": True},
    "keys_directory": {"type": "path", "default": "/etc/ssh/authorized_keys.d", "no_log": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        members = parse_members(params["members"])
        groups = [group.gr_name for group in grp.getgrall()]
        plan = plan_accounts(members, read_accounts(), groups, params["member_group"], params["admin_group"])
        files = read_changed_keys(params["keys_directory"], plan)
        if not module.check_mode:
            apply_plan(module, plan, params["keys_directory"], files)
    except (AccountsError, OSError) as error:
        module.fail_json(msg=f"Cannot make the members' accounts: {error}")
    module.exit_json(
        changed=bool(plan.commands or files), commands=plan.commands, unlisted=plan.unlisted, diff=show(plan, files)
    )


def read_accounts() -> dict[str, Account]:
    """Read all accounts with the groups they were added to."""
    groups: dict[str, set[str]] = {}
    for group in grp.getgrall():
        for name in group.gr_mem:
            groups.setdefault(name, set()).add(group.gr_name)
    return {
        entry.pw_name: Account(entry.pw_name, entry.pw_uid, entry.pw_gecos, frozenset(groups.get(entry.pw_name, ())))
        for entry in pwd.getpwall()
    }


def read_changed_keys(directory: str, plan: AccountsPlan) -> dict[str, str]:
    """Return the present text of those files of keys that must change."""
    present = {name: read_text(os.path.join(directory, name)) for name in plan.key_files}
    return {name: text or "" for name, text in present.items() if text != plan.key_files[name]}


def apply_plan(module: AnsibleModule, plan: AccountsPlan, directory: str, files: dict[str, str]) -> None:
    """Run the commands and write the keys; an account comes before its keys, so that nobody else can take the name.

    sshd reads the keys as the person who logs in, so everyone may.
    """
    for command in plan.commands:
        module.run_command([str(module.get_bin_path(command[0], required=True)), *command[1:]], check_rc=True)
    if files:
        os.makedirs(directory, 0o755, exist_ok=True)
    for name in files:
        replace_text(os.path.join(directory, name), plan.key_files[name])
    for name in plan.former:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


def show(plan: AccountsPlan, files: dict[str, str]) -> list[dict[str, str]]:
    """Show what is done, in the form of a diff."""
    commands = "".join(f"{' '.join(command)}\n" for command in plan.commands)
    keys = [
        {
            "before_header": f"keys of {name}",
            "after_header": f"keys of {name}",
            "before": text,
            "after": plan.key_files[name],
        }
        for name, text in files.items()
    ]
    return [{"prepared": commands}, *keys] if commands else keys


if __name__ == "__main__":
    main()
