#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Dump a database for the last time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: final_archive
short_description: Dump a database for the last time
version_added: "0.1.0"
description:
  - Dumps a database with C(pg_dump) in its custom format as the superuser, then reads the whole archive once with C(pg_restore).
  - The archive is the folder's owner's alone; one that can't be read is never left in the folder.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  database:
    description: The database.
    type: str
    required: true
  path:
    description: The archive. Its folder must be there; the superuser's draft lies beside the folder meanwhile.
    type: path
    required: true
attributes:
  check_mode:
    description: Says that it would dump.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Dump the database for the last time
  nectar.backend.final_archive:
    database: grace
    path: /var/tmp/handover/grace.dump
"""

RETURN = r"""
sha256:
  description: The archive's checksum.
  type: str
  returned: when it was written
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
size:
  description: The archive's bytes.
  type: int
  returned: when it was written
  sample: 20480
tables:
  description: The tables that it holds.
  type: list
  elements: str
  returned: when it was written
  sample: [public.orders]
"""

import os
import pwd
import shutil
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.dumps import tables_in
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS
from ansible_collections.nectar.backend.plugins.module_utils.release_files import file_sha256

ARGUMENT_SPEC: dict[str, Any] = {
    **PSQL_ARGUMENTS,
    "database": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    path = module.params["path"]
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        tables = dump(module, path)
        module.exit_json(changed=True, sha256=file_sha256(path), size=os.path.getsize(path), tables=tables)
    except (DatabasesError, OSError, KeyError) as error:
        module.fail_json(msg=f"Cannot dump the database {module.params['database']} to {path}: {error}")


def dump(module: AnsibleModule, path: str) -> list[str]:
    """Write and read a draft where the superuser may, then hand it over; return its tables."""
    folder = os.path.dirname(path)
    drafts = tempfile.mkdtemp(prefix=".archive-", dir=os.path.dirname(folder))
    try:
        superuser = pwd.getpwnam(module.params["login_user"])
        os.chown(drafts, superuser.pw_uid, superuser.pw_gid)
        draft = os.path.join(drafts, "dump")
        options = ["--host", module.params["socket_directory"], "--dbname", module.params["database"]]
        run(module, "pg_dump", "--format=custom", *options, "--file", draft)
        listing = run(module, "pg_restore", "--list", draft)
        # Reads all data back, which the list alone doesn't.
        run(module, "pg_restore", "--file", "/dev/null", draft)
        owner = os.stat(folder)
        os.chown(draft, owner.st_uid, owner.st_gid)
        os.chmod(draft, 0o600)
        os.replace(draft, path)
    finally:
        shutil.rmtree(drafts)
    return tables_in(listing)


def run(module: AnsibleModule, *command: str) -> str:
    """Run one of PostgreSQL's programs as the superuser."""
    code, out, error = module.run_command(
        ["runuser", "--user", module.params["login_user"], "--", *command],
        cwd="/",
        environ_update={"LC_ALL": "C.UTF-8"},
    )
    if code:
        raise DatabasesError(f"{command[0]} ended with {code}: {' '.join(error.split()) or 'no message'}")
    return str(out)


if __name__ == "__main__":
    main()
