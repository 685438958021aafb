#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a backup now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_run
short_description: Make a backup now
version_added: "0.1.0"
description:
  - Makes a full, a differential or an incremental backup with pgBackRest, where the repository is. Afterwards pgBackRest removes what retention
    no longer keeps.
  - A repository that has no room for it is refused before anything is copied.
  - With O(state=ready), has the repository know the cluster, sees one segment of the log arrive there, and makes a full backup where there is none.
extends_documentation_fragment:
  - nectar.backend.pgbackrest
options:
  state:
    description: Whether a new backup is wanted (V(present)), or only that there is one (V(ready)).
    type: str
    choices: [present, ready]
    default: present
  type:
    description: What to copy. The whole (V(full)), what changed since the last full backup (V(diff)), or since the last of any kind (V(incr)).
    type: str
    choices: [full, diff, incr]
    default: incr
  repository:
    description: Folder of the repository on this server.
    type: path
    default: /var/lib/pgbackrest
  timeout:
    description: Seconds that it may take.
    type: int
    default: 21600
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Says whether there is room, and makes nothing.
    support: full
  diff_mode:
    description: Shows the label of the new backup.
    support: full
"""

EXAMPLES = r"""
- name: Make a full backup
  nectar.backend.backup_run:
    stanza: lab
    type: full
"""

RETURN = r"""
made:
  description: Label of the new backup; empty where none was wanted.
  type: str
  returned: success
  sample: 20261129-010000F
lines:
  description: What there is now, as a table for a person.
  type: list
  elements: str
  returned: success
  sample: ["20261129-010000F  full  2026-11-29T01:00:10+00:00"]
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import backups
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError, Holdings
from ansible_collections.nectar.backend.plugins.module_utils.pgbackrest import (
    as_superuser,
    free_bytes,
    pgbackrest,
    read_repository,
)
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS

ARGUMENT_SPEC: dict[str, Any] = {
    "stanza": {"type": "str", "required": True},
    **PSQL_ARGUMENTS,
    "state": {"type": "str", "choices": ["present", "ready"], "default": "present"},
    "type": {"type": "str", "choices": list(backups.TYPES), "default": "incr"},
    "repository": {"type": "path", "default": "/var/lib/pgbackrest"},
    "timeout": {"type": "int", "default": 21600},
}


def main() -> None:
    """Look, refuse or copy, and look again."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    run = as_superuser(module)
    kind = params["type"] if params["state"] == "present" else "full"
    try:
        before = read_repository(run, params["stanza"])
        wanted = params["state"] == "present" or not before.backups
        if wanted and before.exists:
            path = params["repository"]
            backups.refuse_full_repository(before, kind, free_bytes(path), path)
        if wanted and not module.check_mode:
            copy(run, params, before, kind)
        after = read_repository(run, params["stanza"]) if wanted else before
    except (BackupsError, OSError) as error:
        module.fail_json(msg=f"Cannot make a {kind} backup of {params['stanza']}: {error}")
    made = after.backups[-1].label if wanted and after.backups and not module.check_mode else ""
    lines = backups.table(after, None, time.time())
    module.exit_json(
        changed=wanted, made=made, lines=lines, diff={"before": "", "after": f"{made or kind}\n" if wanted else ""}
    )


def copy(run: Any, params: dict[str, Any], before: Holdings, kind: str) -> None:
    """Make the backup; where the repository doesn't know the cluster yet, it is told first."""
    if not before.exists:
        pgbackrest(run, params["stanza"], "stanza-create")
    if params["state"] == "ready":
        pgbackrest(run, params["stanza"], "check")
    pgbackrest(run, params["stanza"], f"--type={kind}", "backup", seconds=params["timeout"])


if __name__ == "__main__":
    main()
