#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell which backups there are, and how far the archive is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: Tell which backups there are, and how far the archive is
version_added: "0.1.0"
description:
  - Reads pgBackRest's repository, the proof of the last restore drill, and the log that waits for the archive.
  - With O(flush), closes the segment of the log that is being written, and waits until it is archived, so that every moment up to now can be
    restored. That needs the primary.
extends_documentation_fragment:
  - nectar.backend.pgbackrest
options:
  proof_file:
    description: Where the restore drill leaves its proof.
    type: path
    default: /var/lib/nectar/backups/proof.json
  flush:
    description: Have the archive reach up to now.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the archive.
    type: int
    default: 60
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Reads all the same, and doesn't close the segment.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: See which backups there are
  nectar.backend.backup_info:
    stanza: lab
  register: backups
"""

RETURN = r"""
exists:
  description: Whether the repository knows the cluster.
  type: bool
  returned: success
  sample: true
backups:
  description: The backups, oldest first.
  type: list
  elements: dict
  returned: success
  sample: [{label: 20261129-010000F, kind: full, ended: 1795921210.0, size: 38050568, added: 4734096, damaged: false}]
newest_wal:
  description: The last segment of the log in the archive.
  type: str
  returned: success
  sample: "000000010000000000000007"
proof:
  description: What the last drill proved.
  type: dict
  returned: where a drill has proven a backup
  sample: {label: 20261129-010000F, proven: 1795924810.0, restore_seconds: 7.2, rows: 2000}
lines:
  description: All of it as a table, for a person.
  type: list
  elements: str
  returned: success
  sample: ["20261129-010000F  full  2026-11-29T01:00:10+00:00"]
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import backups
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.pgbackrest import (
    PROOF_FILE,
    as_superuser,
    read_proof_file,
    read_repository,
)
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql

ARGUMENT_SPEC: dict[str, Any] = {
    "stanza": {"type": "str", "required": True},
    **PSQL_ARGUMENTS,
    "proof_file": {"type": "path", "default": PROOF_FILE},
    "flush": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
}
PAUSE = 0.2
# A commit of this moment must be in the log, for a recovery to a moment ends at the first commit after it.
CLOSE = "SELECT pg_current_xact_id();\nSELECT pg_walfile_name(pg_switch_wal());"
ARCHIVED = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver;"


def main() -> None:
    """Close the segment if asked to, and read."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        if params["flush"] and not module.check_mode:
            flush(module)
        holdings = read_repository(as_superuser(module), params["stanza"])
        proof = read_proof_file(params["proof_file"])
    except (BackupsError, DatabasesError) as error:
        module.fail_json(msg=f"Cannot see the backups of {params['stanza']}: {error}")
    result = {} if proof is None else {"proof": backups.write_proof(proof)}
    module.exit_json(
        changed=False,
        exists=holdings.exists,
        backups=[asdict(backup) for backup in holdings.backups],
        newest_wal=holdings.newest_wal,
        lines=backups.table(holdings, proof, time.time()),
        **result,
    )


def flush(module: AnsibleModule) -> None:
    """Close the segment that is being written, and wait until it is in the archive."""
    deadline = time.monotonic() + module.params["timeout"]
    segment = run_psql(module, CLOSE).split()[-1]
    while (archived := run_psql(module, ARCHIVED).strip()[:24]) < segment:
        if time.monotonic() >= deadline:
            raise BackupsError(
                f"the archive is at {archived or 'nothing'} and does not reach {segment} within {module.params['timeout']} s; "
                "the server's log and `pgbackrest check` say why"
            )
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
