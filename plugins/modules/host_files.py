#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Have folders and files on a host, many in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Have folders and files on a host, many in one call
version_added: "0.1.0"
description:
  - Makes folders and writes files in the order given, folders first, and returns the paths that changed.
  - Does in one call what M(ansible.builtin.file) and M(ansible.builtin.template) do in one or two calls for each path, with the template
    rendered by P(ansible.builtin.template#lookup).
  - A file that is written appears whole, after its command has judged a draft of it beside it. What is refused leaves the former file, and ends the call.
author:
  - Nectar Backend maintainers (@nectar)
options:
  folders:
    description: The folders. Folders above them that are missing are made with mode C(0755).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      mode:
        description: Permissions in octal digits.
        type: str
        default: "0755"
      owner:
        description: Name of the owner; if not given, the owner stays as it is.
        type: str
      group:
        description: Name of the group; if not given, the group stays as it is.
        type: str
  files:
    description: The files. Their folders must exist, or be among O(folders).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      mode:
        description: Permissions in octal digits.
        type: str
        default: "0644"
      owner:
        description: Name of the owner; if not given, the owner stays as it is.
        type: str
      group:
        description: Name of the group; if not given, the group stays as it is.
        type: str
      content:
        description: All of the file's text. Set C(no_log) on a task that writes secrets.
        type: str
        required: true
      validate:
        description: Command that judges a draft before it takes the file's place, with C(%s) for the draft's path. It isn't run in check mode.
        type: str
      begin:
        description: Write the file only where there is none; the content of one that is there stays.
        type: bool
        default: false
attributes:
  check_mode:
    description: Says what would change, also where an owner or a group is still to be made.
    support: full
  diff_mode:
    description: Shows the content of files, else mode, owner and group.
    support: full
"""

EXAMPLES = r"""
- name: Write the settings
  nectar.backend.host_files:
    folders:
      - {path: /etc/orders}
      - {path: /var/lib/orders, mode: "0700", owner: orders, group: orders}
    files:
      - path: /etc/orders/orders.ini
        content: "{{ lookup('ansible.builtin.template', 'orders.ini.j2') }}"
        validate: /usr/bin/orders-check %s
  register: orders_files
  notify: Reload orders
"""

RETURN = r"""
changed_paths:
  description: The folders and files that changed, or would.
  type: list
  elements: str
  returned: success
  sample: [/etc/orders/orders.ini]
made_paths:
  description: Those of RV(changed_paths) that were not there before.
  type: list
  elements: str
  returned: success
  sample: []
"""

import grp
import os
import pwd
import shlex
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.host_files import (
    Entry,
    Found,
    HostFilesError,
    find_differences,
    read_entries,
    show_difference,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import UNCHANGED, replace_text

ATTRIBUTES: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}
CONTENT: dict[str, Any] = {
    "mode": {"type": "str", "default": "0644"},
    "content": {"type": "str", "required": True},
    "validate": {"type": "str"},
    "begin": {"type": "bool", "default": False},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "folders": {"type": "list", "elements": "dict", "default": [], "options": ATTRIBUTES},
    "files": {"type": "list", "elements": "dict", "default": [], "options": {**ATTRIBUTES, **CONTENT}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    changed: list[str] = []
    made: list[str] = []
    diffs: list[dict[str, str]] = []
    try:
        for wanted in read_entries(module.params["folders"], module.params["files"]):
            found = read(wanted)
            differences = find_differences(wanted, found)
            if not differences:
                continue
            if not module.check_mode:
                bring_about(module, wanted, differences)
            changed.append(wanted.path)
            made += [] if found else [wanted.path]
            diffs.append(show_difference(wanted, found, differences))
    except (HostFilesError, OSError) as error:
        before = f" Changed before: {', '.join(changed)}." if changed else ""
        module.fail_json(msg=f"{error}.{before}", changed=bool(changed), changed_paths=changed)
    module.exit_json(changed=bool(changed), changed_paths=changed, made_paths=made, diff=diffs)


def read(wanted: Entry) -> Found | None:
    """Read what is at the path; refuse a file where a folder is to be, and the other way round."""
    try:
        status = os.stat(wanted.path)
    except FileNotFoundError:
        return None
    is_expected = stat.S_ISDIR if wanted.content is None else stat.S_ISREG
    if not is_expected(status.st_mode):
        kind = "folder" if wanted.content is None else "file"
        raise HostFilesError(f"{wanted.path}: expected a {kind}, and found something else; move it away")
    content = None
    if wanted.content is not None:
        with open(wanted.path, encoding="utf-8", errors="replace", newline="") as stream:
            content = stream.read()
    return Found(stat.S_IMODE(status.st_mode), user_name(status.st_uid), group_name(status.st_gid), content)


def user_name(number: int) -> str:
    """Return the user's name, or its number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """Return the group's name, or its number where it has none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def bring_about(module: AnsibleModule, wanted: Entry, differences: list[str]) -> None:
    """Make the folder or write the file, with the mode, owner and group that it is to have."""
    owner, group = owner_of(wanted)
    if wanted.content is not None and {"missing", "content"} & set(differences):
        if "missing" not in differences:
            status = os.stat(wanted.path)
            owner, group = (
                status.st_uid if owner == UNCHANGED else owner,
                status.st_gid if group == UNCHANGED else group,
            )
        check = None if wanted.validate is None else lambda draft: judge(module, wanted, draft)
        replace_text(wanted.path, wanted.content, wanted.mode, (owner, group), check)
        return
    if wanted.content is None:
        os.makedirs(wanted.path, 0o755, exist_ok=True)
    os.chown(wanted.path, owner, group)
    os.chmod(wanted.path, wanted.mode)


def owner_of(wanted: Entry) -> tuple[int, int]:
    """Return the numbers of the wanted owner and group."""
    try:
        owner = UNCHANGED if wanted.owner is None else pwd.getpwnam(wanted.owner).pw_uid
        group = UNCHANGED if wanted.group is None else grp.getgrnam(wanted.group).gr_gid
    except KeyError as error:
        raise HostFilesError(f"{wanted.path}: owner or group: {error.args[0]}; make it first") from error
    return owner, group


def judge(module: AnsibleModule, wanted: Entry, draft: str) -> None:
    """Have the draft judged by its command, which must end with 0."""
    command = [part.replace("%s", draft) for part in shlex.split(wanted.validate or "")]
    code, output, error = module.run_command(command)
    if code != 0:
        said = (error or output).strip().replace(draft, wanted.path)
        raise HostFilesError(f"{wanted.path}: refused by {command[0]}, and left as it was: {said}")


if __name__ == "__main__":
    main()
