#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run deployments' migrations on this server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slot_migrate
short_description: Run deployments' migrations on this server
version_added: "0.1.0"
description:
  - Runs each deployment's migration commands, as M(nectar.backend.slot_prepare) wrote them into a unit, as the deployment's user.
  - Several deployments migrate side by side. What a failed one wrote last is part of its error.
  - Before and after a failure it looks at the database's catalogue, with C(psql) as the deployment's own role, and says what the migration
    left, each with the statement that takes it back or finishes it, and who held locks for long. Rows are not compared.
  - A deployment without migrations is left alone.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host.deployments
options:
  direct:
    description: The way to the database for migrations, as C(host), C(port) and C(query).
    type: dict
    default: {}
  parallel:
    description: How many deployments migrate at a time.
    type: int
    default: 2
  secrets:
    description: The secrets of each deployment, which are blanked in what is shown of a log.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says which would be run.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Migrate the databases
  nectar.backend.slot_migrate:
    deployments: "{{ plan.steps | selectattr('migrate_host', 'eq', inventory_hostname) }}"
    direct: {host: primary.example.net, port: 5433, query: "?sslmode=verify-full"}
    secrets: "{{ deployment_secrets }}"
"""

RETURN = r"""
results:
  description: By deployment, the seconds it took, and C(error) with the log's tail and what is left in the database where it failed.
  type: dict
  returned: success
  sample: {production: {seconds: 1.5}}
"""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.databases import login_of
from ansible_collections.nectar.backend.plugins.module_utils.schema_changes import (
    Look,
    SchemaError,
    find_holders,
    find_left,
    look_query,
    read_look,
)
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    DEPLOYMENTS_ARGUMENT,
    journal_tail,
    systemctl,
)
from ansible_collections.nectar.backend.plugins.module_utils.units import migrate_unit, migration_name

ARGUMENT_SPEC: dict[str, Any] = {
    "deployments": DEPLOYMENTS_ARGUMENT,
    "direct": {"type": "dict", "default": {}},
    "parallel": {"type": "int", "default": 2},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
}
# A look changes nothing, and doesn't wait; every name is told with its schema. Sessions are looked at by whoever logged in to both.
LOOKING = "-c role=none -c default_transaction_read_only=on -c statement_timeout=10s -c search_path=pg_catalog"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    migrating = {entry["name"]: entry for entry in module.params["deployments"] if entry["migrate"]}
    if module.check_mode:
        module.exit_json(changed=bool(migrating), results={name: {"seconds": 0.0} for name in migrating})
    with ThreadPoolExecutor(max(module.params["parallel"], 1)) as pool:
        found = pool.map(lambda entry: migrate(module, entry), migrating.values())
        results = dict(zip(migrating, found, strict=True))
    module.exit_json(changed=bool(migrating), results=results)


def migrate(module: AnsibleModule, deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Run one deployment's migrations to their end."""
    before = look(module, deployment)
    unit, began = migrate_unit(deployment["name"]), time.time()
    code, error = systemctl(module, "start", [unit])
    seconds = round(time.time() - began, 1)
    if code == 0:
        return {"seconds": seconds}
    told = [
        f"the migration failed ({error.splitlines()[0]}); it wrote last:\n{journal_tail(module, unit, began)}",
        *tell_left(before, look(module, deployment)),
    ]
    return {"seconds": seconds, "error": "\n".join(told)}


def tell_left(before: Look | str, after: Look | str) -> list[str]:
    """Say what a failed migration left; a look that failed says why instead."""
    if isinstance(before, str) or isinstance(after, str):
        why = before if isinstance(before, str) else after
        return [f"what it left in the database can't be told: {why}"] if why else []
    left, holders = find_left(before, after), find_holders(after)
    if left:
        told = ["it left this in the database; take it back or finish it before the next deploy:"]
    else:
        told = ["it left the schema as it was before"]
    told += [f"- {line}" for line in left]
    return told + [f"in its way may have been {line}" for line in holders]


def look(module: AnsibleModule, deployment: Mapping[str, Any]) -> Look | str:
    """Look at the deployment's database as its own role; return why it can't be, or nothing where there is none."""
    direct, secrets = module.params["direct"], module.params["secrets"].get(deployment["name"], {})
    password = secrets.get("database_password")
    if not (direct and deployment.get("database") and password):
        return ""
    address = f"{direct['host']}:{direct['port']}/{deployment['database']}{direct.get('query', '')}"
    command = [
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        # Not by standard input: psql ends without reading it where no server answers, and what it says of that is wanted.
        "--command",
        f"{look_query(migration_name(deployment['name']))};",
    ]
    # The password goes by the environment, which only the superuser can read.
    environment = {"PGPASSWORD": password, "PGOPTIONS": LOOKING, "PGCONNECT_TIMEOUT": "5", "PGAPPNAME": "nectar"}
    code, out, errors = module.run_command(
        [*command, "--dbname", f"postgresql://{login_of(deployment['database_role'], secrets)}@{address}"],
        environ_update=environment,
    )
    if code:
        return f"psql ended with {code}: {' '.join(errors.split()) or 'no message'}"
    try:
        return read_look(json.loads(out))
    except (SchemaError, ValueError) as error:
        return str(error)


if __name__ == "__main__":
    main()
