#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restore a backup into a scratch place, and serve it there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_restore
short_description: Restore a backup into a scratch place, and serve it there
version_added: "0.1.0"
description:
  - Restores a whole cluster, or some of its databases, as it is now or as it was at a moment, beside the living one.
  - The restored cluster is small, listens on a socket in its own folder alone, archives nothing, and lets nobody but the superuser in.
    It serves until O(state=absent), or with O(stopped) is stopped once its tables have been read.
  - Every page and B-tree is looked at with C(pg_amcheck), and every table is read.
  - A moment outside of the backups, a damaged backup and a place without room are refused before anything is written.
    A restore that fails leaves nothing behind.
extends_documentation_fragment:
  - nectar.backend.pgbackrest
options:
  state:
    description: Whether the restored cluster is there.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Names the restored cluster; a letter, then letters, digits, C(-) and C(_).
    type: str
    default: restore
  directory:
    description: The scratch place, in which the restored cluster gets a folder of its name.
    type: path
    default: /var/lib/postgresql/scratch
  programs:
    description: Folder of PostgreSQL's programs, as V(/usr/lib/postgresql/17/bin).
    type: path
    required: true
  target:
    description: The moment, with its offset from UTC; the newest there is if empty.
    type: str
    default: ""
  backup:
    description: Label of the backup; the newest before the moment if empty.
    type: str
    default: ""
  databases:
    description: The databases to restore; all of them if empty.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that copying may take, and recovering again.
    type: int
    default: 21600
  stopped:
    description: Stop the restored cluster cleanly once it was read, and keep its files.
    type: bool
    default: false
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Refuses what can't be, says which backup would be restored, and restores nothing.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Restore the cluster as it was at noon
  nectar.backend.backup_restore:
    stanza: lab
    programs: /usr/lib/postgresql/17/bin
    target: 2026-11-25T12:00:00+01:00

- name: Remove it again
  nectar.backend.backup_restore:
    stanza: lab
    programs: /usr/lib/postgresql/17/bin
    state: absent
"""

RETURN = r"""
backup:
  description: Label of the backup.
  type: str
  returned: when O(state=present)
  sample: 20261129-010000F
folder:
  description: Folder of the restored cluster; its socket is there, and its data is in C(data).
  type: str
  returned: success
  sample: /var/lib/postgresql/scratch/restore
seconds:
  description: Seconds until the restored cluster served.
  type: float
  returned: when it was restored
  sample: 7.2
counts:
  description: Rows by database and table.
  type: dict
  returned: when it was restored
  sample: {alice: {public.orders: 2000}}
lines:
  description: What was done and how to look at it, for a person.
  type: list
  elements: str
  returned: success
  sample: ["20261129-010000F was restored in 7 s"]
"""

import os
import pwd
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import backups
from ansible_collections.nectar.backend.plugins.module_utils.backups import Backup, BackupsError, Holdings
from ansible_collections.nectar.backend.plugins.module_utils.pgbackrest import (
    as_superuser,
    free_bytes,
    read_repository,
)
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS
from ansible_collections.nectar.backend.plugins.module_utils.scratch_cluster import Scratch, summary

ARGUMENT_SPEC: dict[str, Any] = {
    "stanza": {"type": "str", "required": True},
    **PSQL_ARGUMENTS,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "restore"},
    "directory": {"type": "path", "default": "/var/lib/postgresql/scratch"},
    "programs": {"type": "path", "required": True},
    "target": {"type": "str", "default": ""},
    "backup": {"type": "str", "default": ""},
    "databases": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 21600},
    "stopped": {"type": "bool", "default": False},
}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# A socket's path may have 107 characters, and its own name takes 17 of them.
LONGEST = 90


def main() -> None:
    """Refuse what can't be, then restore, start, look and read."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    scratch = Scratch(
        as_superuser(module), os.path.join(params["directory"], params["name"]), params["programs"], params["stanza"]
    )
    try:
        refuse_place(params, scratch)
        if params["state"] == "absent":
            there = os.path.lexists(scratch.folder)
            if there and not module.check_mode:
                scratch.remove()
            module.exit_json(changed=there, folder=scratch.folder, lines=[])
        target = backups.read_target(params["target"])
        holdings, backup = plan(scratch, params, target)
        if module.check_mode:
            lines = [f"{backup.label}, of {backups.says(backup.ended)}, would be restored to {scratch.folder}"]
            module.exit_json(changed=True, backup=backup.label, folder=scratch.folder, lines=lines)
        result = restore(scratch, params, backup, target, holdings.newest_wal)
    except (BackupsError, OSError, KeyError) as error:
        module.fail_json(msg=f"Cannot restore {params['stanza']}: {error}")
    module.exit_json(changed=True, backup=backup.label, folder=scratch.folder, **result)


def refuse_place(params: dict[str, Any], scratch: Scratch) -> None:
    """Refuse a name or a folder that no socket fits in."""
    if not NAME.fullmatch(params["name"]):
        raise BackupsError(f"name: {params['name']!r} must be a letter, then letters, digits, - and _")
    if len(scratch.folder) > LONGEST:
        raise BackupsError(f"directory: {scratch.folder} has over {LONGEST} characters, too many for a socket")


def plan(scratch: Scratch, params: dict[str, Any], target: float | None) -> tuple[Holdings, Backup]:
    """What there is, and the backup to restore, once it is sure that it can be."""
    if os.path.lexists(scratch.folder):
        raise BackupsError(
            f"{scratch.folder} is there already, from a former restore; remove it first with -e state=absent"
        )
    holdings = read_repository(scratch.run, params["stanza"])
    backup = backups.choose_backup(holdings, target, time.time(), params["backup"])
    backups.refuse_without_room(backup, free_bytes(scratch.folder), params["directory"])
    return holdings, backup


def restore(
    scratch: Scratch, params: dict[str, Any], backup: Backup, target: float | None, newest_wal: str
) -> dict[str, Any]:
    """Restore, start, look and read; what fails leaves nothing behind."""
    began = time.monotonic()
    try:
        make_folders(scratch, params)
        scratch.restore(backups.recovery_arguments(backup, target, params["databases"]), params["timeout"])
        scratch.start(params["timeout"])
        seconds = round(time.monotonic() - began, 1)
        gap = "" if target is not None else backups.archive_gap(scratch.reached(), newest_wal)
        if gap and params["stopped"]:
            raise BackupsError(
                f"{gap}; what is whole can be looked at in the scratch place, or restored as of a moment before"
            )
        names = params["databases"] or scratch.databases()
        scratch.check(names, params["timeout"])
        counts = scratch.count(names, params["timeout"])
        if params["stopped"]:
            scratch.stop()
    except (BackupsError, OSError, KeyError, ValueError):
        scratch.remove()
        raise
    found = summary(counts)
    lines = [
        f"{backup.label} was restored in {seconds:.0f} s{f' as of {backups.says(target)}' if target is not None else ''}: "
        f"{found['rows']} rows of {found['tables']} tables in {found['databases']} databases, each page looked at"
    ]
    if gap:
        lines.append(f"not all that was committed: {gap}")
    if not params["stopped"]:
        lines.append(f"to look at it: sudo -u {params['login_user']} psql --host {scratch.folder} --dbname {names[0]}")
    return {"seconds": seconds, "counts": counts, "lines": lines}


def make_folders(scratch: Scratch, params: dict[str, Any]) -> None:
    """Make the folders, the superuser's alone."""
    owner = pwd.getpwnam(params["login_user"])
    for path in (params["directory"], scratch.folder, scratch.data):
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
            os.chown(path, owner.pw_uid, owner.pw_gid)


if __name__ == "__main__":
    main()
