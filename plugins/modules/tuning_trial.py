#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measure a change of PostgreSQL's parameters on a scratch clone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_trial
short_description: Measure a change of PostgreSQL's parameters on a scratch clone
version_added: "0.1.0"
description:
  - Runs on a database server, on a standby where there is one. Copies its data with C(pg_basebackup) into O(directory), starts the copy on a Unix socket
    alone, as a service that ends by itself after O(timeout) seconds, and lets C(pgbench) run a workload with the old and the new parameters in turns.
  - Compares transactions for each CPU second of the clone's processes, and bytes of the write-ahead log for each transaction, pair by pair. The interval
    of the median ratio holds the true one with 95 %, however the noise is distributed.
  - A change that is shown to lose isn't kept. One that isn't shown either way is kept where the median doesn't lose and no restart is needed. Where a
    change of several parameters isn't kept, each is measured alone.
  - The copy is removed in any case. What an earlier run left, is removed first.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  change:
    description: The parameters and their new values, as M(nectar.backend.tuning_plan) returns them.
    type: dict
    required: true
  restarting:
    description: Names of those that need a restart.
    type: list
    elements: str
    default: []
  kind:
    description: Kind of the workload. V(application) takes a O(script) and a O(database).
    type: str
    choices: [select, oltp, mixed, analytic, application]
    default: mixed
  script:
    description: A script for C(pgbench), instead of the kind's own.
    type: str
    default: ""
  database:
    description: Database in whose copy the script runs; empty for one with C(pgbench)'s own tables.
    type: str
    default: ""
  directory:
    description: Folder for the copy; it must be empty or new.
    type: path
    default: /var/lib/postgresql/nectar-tuning
  pairs:
    description: Pairs of an old and a new run; with fewer than six there is no interval.
    type: int
    default: 10
  seconds:
    description: Seconds that a run takes with the old parameters; all runs then make as many transactions.
    type: int
    default: 6
  clients:
    description: Clients of the workload at a time.
    type: int
    default: 4
  scale:
    description: Size of C(pgbench)'s tables, in steps of 17 MB.
    type: int
    default: 10
  limit:
    description: Ratio of transactions for each CPU second, new to old, from which on a change doesn't lose.
    type: float
    default: 0.98
  wal_limit:
    description: Ratio of the log of a transaction, new to old, up to which a change doesn't lose.
    type: float
    default: 1.05
  timeout:
    description: Seconds after which no further run begins.
    type: int
    default: 1200
  rate:
    description: Most that the copy reads in a second, as C(pg_basebackup) writes it.
    type: str
    default: 64M
  replication_user:
    description: Role that may copy.
    type: str
    default: replicator
  replication_password:
    description: Its password.
    type: str
    required: true
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Says whether there is room for the clone, and makes none.
    support: full
  diff_mode:
    description: Nothing stays that could be shown.
    support: none
"""

EXAMPLES = r"""
- name: See whether uncompressed images of pages would do
  nectar.backend.tuning_trial:
    change: {wal_compression: "off"}
    kind: oltp
    replication_password: "{{ postgresql_replication_password }}"
"""

RETURN = r"""
keep:
  description: The parameters that may be kept, with their values.
  type: dict
  returned: success
  sample: {checkpoint_timeout: 15min}
verdicts:
  description: What was measured, the whole change first; each with its C(change), C(verdict), C(keep), C(reasons), ratios and pairs.
  type: list
  elements: dict
  returned: success
lines:
  description: The same for a person, one line each.
  type: list
  elements: str
  returned: success
  sample: ["wal_compression=off: lost: the log of a transaction is 3.912 (3.807 to 4.011) of the former, above 1.05"]
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import tuning_trial
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql
from ansible_collections.nectar.backend.plugins.module_utils.tuning_clone import Clone, LossError, Workload
from ansible_collections.nectar.backend.plugins.module_utils.tuning_facts import SETTINGS_QUERY, own_settings
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import TuningError, read_parameters

ARGUMENT_SPEC: dict[str, Any] = {
    "change": {"type": "dict", "required": True},
    "restarting": {"type": "list", "elements": "str", "default": []},
    "kind": {"type": "str", "default": "mixed", "choices": ["select", "oltp", "mixed", "analytic", "application"]},
    "script": {"type": "str", "default": ""},
    "database": {"type": "str", "default": ""},
    "directory": {"type": "path", "default": "/var/lib/postgresql/nectar-tuning"},
    "pairs": {"type": "int", "default": 10},
    "seconds": {"type": "int", "default": 6},
    "clients": {"type": "int", "default": 4},
    "scale": {"type": "int", "default": 10},
    "limit": {"type": "float", "default": 0.98},
    "wal_limit": {"type": "float", "default": 1.05},
    "timeout": {"type": "int", "default": 1200},
    "rate": {"type": "str", "default": "64M"},
    "replication_user": {"type": "str", "default": "replicator"},
    "replication_password": {"type": "str", "required": True, "no_log": True},
    **PSQL_ARGUMENTS,
}


def main() -> None:
    """Make the clone, measure, and remove it."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("kind", "application", ("script", "database"))],
    )
    try:
        desk = Desk(module)
        verdicts = [] if module.check_mode else desk.measure()
    except (TuningError, DatabasesError, OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot measure {', '.join(sorted(module.params['change']))}: {error}")
    change = module.params["change"]
    kept = {name for entry in verdicts for name in entry["keep"]}
    module.exit_json(
        changed=False,
        keep={name: change[name] for name in sorted(kept)},
        verdicts=verdicts,
        lines=[entry.pop("line") for entry in verdicts],
    )


class Desk:
    """What is measured on this server."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.change = {name: str(value) for name, value in self.params["change"].items()}
        facts = json.loads(run_psql(module, f"{SETTINGS_QUERY};"))
        parameters = read_parameters(facts["settings"])
        if facts["tablespaces"]:
            raise TuningError(
                f"the server has {facts['tablespaces']} tablespaces of its own, which a copy on the same server would overwrite"
            )
        names = ("script", "database", "clients", "seconds", "scale")
        workload = Workload(self.params["kind"], **{name: self.params[name] for name in names})
        if workload.database and workload.database not in facts["databases"]:
            raise TuningError(
                f"database: there is no {workload.database}; expected one of {', '.join(facts['databases'])}"
            )
        self.clone = Clone(module, facts["version"], own_settings(parameters, facts["sources"]), workload)
        self.clone.refuse()
        buffers = parameters["shared_buffers"]
        asked = self.change.get("shared_buffers", buffers.setting)
        room = tuning_trial.Room(
            free=free_below(self.clone.directory),
            memory=available_memory(),
            data=facts["bytes"],
            log=int(
                float(
                    parameters["max_wal_size"].canonical(
                        self.change.get("max_wal_size", parameters["max_wal_size"].setting)
                    )
                )
            )
            * parameters["max_wal_size"].bytes,
            buffers=int(float(buffers.canonical(asked))) * buffers.bytes,
        )
        scale = 0 if workload.database else workload.scale
        tuning_trial.refuse_without_room(room, scale, str(self.clone.directory))

    def measure(self) -> list[dict[str, Any]]:
        """Measure the whole change, then each part where the whole isn't kept."""
        until = time.monotonic() + self.params["timeout"]
        try:
            self.clone.make()
            self.clone.start({})
            self.clone.fill()
            self.clone.stop()
            self.clone.calibrate()
            verdicts = [self.compare(self.change, until)]
            if not verdicts[0]["keep"] and len(self.change) > 1:
                verdicts += [self.compare({name: value}, until) for name, value in self.change.items()]
            return verdicts
        finally:
            self.clone.remove()

    def compare(self, change: Mapping[str, str], until: float) -> dict[str, Any]:
        """Give the old and the new parameters their turns, and judge."""
        runs: dict[int, dict[bool, tuning_trial.Run]] = {}
        is_new = False
        try:
            for pair, is_new in tuning_trial.turns(self.params["pairs"]):
                if time.monotonic() > until:
                    break
                runs.setdefault(pair, {})[is_new] = self.clone.turn(change if is_new else {}, pair)
            pairs = [(both[False], both[True]) for both in runs.values() if len(both) == 2]
            limits = tuning_trial.Limits(self.params["limit"], self.params["wal_limit"])
            verdict = tuning_trial.judge(pairs, change, self.params["restarting"], limits)
        except LossError as error:
            if not is_new:
                raise
            verdict = tuning_trial.Verdict(tuning_trial.LOST, (), (str(error),))
        return {"change": dict(change), **verdict.evidence(), "line": tuning_trial.says(verdict, change)}


def free_below(directory: Path) -> int:
    """Bytes that are free where the folder is or will be, with what an earlier run left there."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    left = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if directory.exists() else 0
    return shutil.disk_usage(there).free + left


def available_memory() -> int:
    """Bytes that a new process may take, by the kernel's count."""
    with open("/proc/meminfo", encoding="ascii") as file:
        facts = dict(line.split(":", 1) for line in file)
    return int(facts["MemAvailable"].split()[0]) * 1024


if __name__ == "__main__":
    main()
