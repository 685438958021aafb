#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring one database back from a scratch cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_return
short_description: Bring one database back from a scratch cluster
version_added: "0.1.0"
description:
  - Loads a database of a restored cluster beside the living one of the same name, as C(<name>_restored), owned as before and closed to all others.
  - The rows of every table are counted on both sides and must be the same; else what was loaded is dropped again.
  - With O(state=live), the two change places; the former one stays as C(<name>_replaced), which nobody can enter, until a person drops it.
  - Runs on the server that leads, and needs the scratch cluster on the same server.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  database:
    description: Name of the database.
    type: str
    required: true
  source:
    description: Folder of the scratch cluster's socket.
    type: path
    required: true
  programs:
    description: Folder of PostgreSQL's programs.
    type: path
    required: true
  state:
    description: Whether it stays beside the living one (V(beside)) or takes its place (V(live)).
    type: str
    choices: [beside, live]
    default: beside
  timeout:
    description: Seconds that loading may take.
    type: int
    default: 21600
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Refuses what can't be, and loads nothing.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Bring alice's database back beside the living one
  nectar.backend.database_return:
    database: alice
    source: /var/lib/postgresql/scratch/restore
    programs: /usr/lib/postgresql/17/bin
"""

RETURN = r"""
name:
  description: The database's name now.
  type: str
  returned: success
  sample: alice_restored
counts:
  description: Rows by table.
  type: dict
  returned: when it was loaded
  sample: {public.orders: 2000}
lines:
  description: What was done, for a person.
  type: list
  elements: str
  returned: success
  sample: ["alice_restored has 2000 rows of 1 tables, as the backup"]
"""

import json
import os
import shlex
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import backups, takeover
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError, quote
from ansible_collections.nectar.backend.plugins.module_utils.pgbackrest import as_superuser, free_bytes
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql
from ansible_collections.nectar.backend.plugins.module_utils.scratch_cluster import COUNTS, Scratch

ARGUMENT_SPEC: dict[str, Any] = {
    "database": {"type": "str", "required": True},
    "source": {"type": "path", "required": True},
    "programs": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["beside", "live"], "default": "beside"},
    "timeout": {"type": "int", "default": 21600},
    **PSQL_ARGUMENTS,
}
NAMES = "SELECT json_agg(datname) FROM pg_catalog.pg_database;"
OWNER = "SELECT json_build_array(pg_get_userbyid(datdba), pg_database_size(oid)) FROM pg_database WHERE datname = "


def main() -> None:
    """Refuse what can't be, load, compare, and change places if asked to."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    database, live = params["database"], params["state"] == "live"
    scratch = Scratch(as_superuser(module), params["source"], params["programs"], "")
    try:
        present = json.loads(run_psql(module, NAMES))
        takeover.refuse_names(database, present, live)
        owner = plan(module, scratch, database)
        if module.check_mode:
            module.exit_json(changed=True, name=takeover.beside(database, takeover.RESTORED), lines=[])
        counts = load(module, scratch, database, owner)
        if live:
            swap(module, database, database in present)
    except (BackupsError, DatabasesError, OSError, ValueError) as error:
        module.fail_json(msg=f"Cannot bring the database {database} back: {error}")
    name = database if live else takeover.beside(database, takeover.RESTORED)
    lines = [f"{name} has {sum(counts.values())} rows of {len(counts)} tables, as the backup"]
    if live and database in present:
        lines.append(
            f"what it replaced is {takeover.beside(database, takeover.REPLACED)}; once nobody needs it, drop it there"
        )
    module.exit_json(changed=True, name=name, counts=counts, lines=lines)


def plan(module: AnsibleModule, scratch: Scratch, database: str) -> str:
    """The owner of the restored database; refuse one that the living server has no room for."""
    answer = scratch.psql(f"{OWNER}{takeover.literal(database)};")
    if not answer:
        raise BackupsError(f"the restored cluster in {scratch.folder} has no database {database}")
    owner, size = json.loads(answer)
    directory = run_psql(module, "SHOW data_directory;").strip()
    free = free_bytes(directory)
    if free < size + backups.SCRATCH_MARGIN:
        raise BackupsError(
            f"{directory}: {backups.mebibytes(free)} are free, and {database} takes {backups.mebibytes(size + backups.SCRATCH_MARGIN)}"
        )
    return str(owner)


def load(module: AnsibleModule, scratch: Scratch, database: str, owner: str) -> dict[str, int]:
    """Load it beside, and compare the rows; what fails leaves nothing."""
    name = takeover.beside(database, takeover.RESTORED)
    for statement in takeover.create_sql(database, owner).splitlines():
        run_psql(module, statement)
    try:
        programs, target = module.params["programs"], module.params["socket_directory"]
        dump = [os.path.join(programs, "pg_dump"), "--format=custom", "--compress=0", f"--host={scratch.folder}"]
        restore = [os.path.join(programs, "pg_restore"), "--single-transaction", "--exit-on-error", f"--host={target}"]
        pipe = f"{shlex.join([*dump, f'--dbname={database}'])} | {shlex.join([*restore, f'--dbname={name}'])}"
        code, _out, errors = scratch.run(["bash", "-o", "pipefail", "-c", pipe], module.params["timeout"])
        if code:
            raise BackupsError(f"loading it ended with {code}: {' '.join(errors.split())[:600]}")
        found = {side: json.loads(text) for side, text in counted(module, scratch, database, name).items()}
        if found["backup"] != found["living"]:
            differing = sorted({*found["backup"].items()} ^ {*found["living"].items()})
            raise BackupsError(f"what was loaded differs from the backup: {differing[:10]}")
    except (BackupsError, DatabasesError, OSError, ValueError):
        run_psql(module, f"DROP DATABASE {quote(name)} WITH (FORCE);")
        raise
    return dict(found["backup"])


def counted(module: AnsibleModule, scratch: Scratch, database: str, name: str) -> dict[str, str]:
    seconds = module.params["timeout"]
    return {
        "backup": scratch.psql(COUNTS, database, seconds),
        "living": run_psql(module, f"{COUNTS};", name, seconds),
    }


def swap(module: AnsibleModule, database: str, exists: bool) -> None:
    """Let the two change places; if that fails, what lives goes on living."""
    try:
        run_psql(module, takeover.swap_sql(database, exists))
    except DatabasesError:
        if exists:
            run_psql(module, f"ALTER DATABASE {quote(database)} WITH ALLOW_CONNECTIONS true;")
        raise


if __name__ == "__main__":
    main()
