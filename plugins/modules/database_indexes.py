#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the indexes that a deployment declares, and keep those that serve."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_indexes
short_description: Build the indexes that a deployment declares, and keep those that serve
version_added: "0.1.0"
description:
  - Builds what is declared and lacking with C(CREATE INDEX CONCURRENTLY), one at a time, on the primary's own socket. An index that is
    there already counts, whatever its name.
  - A build that fails, or waits longer than O(lock_timeout) for a lock, leaves an invalid index; it is dropped, and built again up to
    O(attempts) times.
  - Afterwards the generic plans are explained again, and the means of C(pg_stat_statements) are read after O(bake) seconds. An index that no
    plan uses, or that made a statement slower, is dropped again.
  - Indexes that aren't declared are left alone.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
options:
  database:
    description: Name of the database.
    type: str
    required: true
  indexes:
    description: The declared indexes.
    type: list
    elements: dict
    required: true
    suboptions:
      table:
        description: The table, with its schema where that isn't C(public).
        type: str
        required: true
      columns:
        description: The keys, as V(customer_id), V(created_at DESC) or V(lower(email\)).
        type: list
        elements: str
        required: true
      include:
        description: Columns that are carried along.
        type: list
        elements: str
        default: []
      where:
        description: Which rows it holds, as V(paid_at IS NULL).
        type: str
        default: ""
      unique:
        description: Whether it keeps its columns unique.
        type: bool
        default: false
  lock_timeout:
    description: Seconds to wait for a lock, that is, for the transactions that hold the table.
    type: int
    default: 10
  attempts:
    description: How often to try an index that can't be built.
    type: int
    default: 3
  build_timeout:
    description: Seconds that one index may take.
    type: int
    default: 7200
  bake:
    description: Seconds after the last build until means are read.
    type: int
    default: 60
  keep:
    description: Keep what was built, whatever the means and plans say; they are reported all the same.
    type: bool
    default: false
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Says what would be built. Whether it would stay can't be foreseen.
    support: full
  diff_mode:
    description: Shows the indexes that are built.
    support: full
"""

EXAMPLES = r"""
- name: Build a deployment's indexes
  nectar.backend.database_indexes:
    database: alice
    indexes:
      - {table: orders, columns: [customer_id, created_at DESC], include: [total]}
      - {table: orders, columns: [created_at], where: paid_at IS NULL}
"""

RETURN = r"""
built:
  description: What was built and stays, or would be built.
  type: list
  elements: str
  returned: success
  sample: ["orders (customer_id, created_at DESC) include (total)"]
removed:
  description: What was built and dropped again; it should leave the declaration.
  type: list
  elements: str
  returned: success
  sample: []
unbuilt:
  description: What could not be built, and why.
  type: list
  elements: str
  returned: success
  sample: []
lines:
  description: What was found of each, for a person.
  type: list
  elements: str
  returned: success
  sample: ["orders (customer_id): stays: 4711 scans in 60 s"]
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import index_building, query_facts
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import (
    Index,
    IndexesError,
    check_list,
    read_index,
)
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql
from ansible_collections.nectar.backend.plugins.module_utils.query_choice import explained
from ansible_collections.nectar.backend.plugins.module_utils.query_plans import Plan
from ansible_collections.nectar.backend.plugins.module_utils.query_rounds import Search

ARGUMENT_SPEC: dict[str, Any] = {
    "database": {"type": "str", "required": True},
    "indexes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "table": {"type": "str", "required": True},
            "columns": {"type": "list", "elements": "str", "required": True},
            "include": {"type": "list", "elements": "str", "default": []},
            "where": {"type": "str", "default": ""},
            "unique": {"type": "bool", "default": False},
        },
    },
    "lock_timeout": {"type": "int", "default": 10},
    "attempts": {"type": "int", "default": 3},
    "build_timeout": {"type": "int", "default": 7200},
    "bake": {"type": "int", "default": 60},
    "keep": {"type": "bool", "default": False},
    **PSQL_ARGUMENTS,
}
# Seconds for which dropping waits for the transactions that are open.
PATIENCE = 600
# Statements that are explained before and after; those that took most time.
MOST = 200


def main() -> None:
    """Build what lacks, and look what came of it."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    database = module.params["database"]
    entries = [{name: value for name, value in entry.items() if value} for entry in module.params["indexes"]]
    if problems := check_list(entries):
        module.fail_json(msg="\n".join(problems))
    try:
        desk = Desk(module)
        plan = index_building.plan_building([read_index(entry) for entry in entries], desk.facts())
        if module.check_mode:
            says = [index.says() for index in plan.lacking]
            module.exit_json(
                changed=bool(says), built=says, removed=[], unbuilt=[], lines=[f"{line}: would be built" for line in says],
                diff={"before": "", "after": "".join(f"{line}\n" for line in says)},
            )  # fmt: skip
        desk.work(plan)
    except (DatabasesError, IndexesError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot build the indexes of the database {database}: {error}")
    result: dict[str, Any] = {
        "built": desk.built,
        "removed": desk.removed,
        "unbuilt": desk.unbuilt,
        "lines": desk.lines,
    }
    result["changed"] = bool(desk.built or desk.removed or desk.unbuilt or plan.leftovers)
    result["diff"] = {"before": "", "after": "".join(f"{line}\n" for line in desk.built)}
    if desk.unbuilt:
        module.fail_json(msg=f"Not built in {database}: {'; '.join(desk.unbuilt)}", **result)
    module.exit_json(**result)


class Desk:
    """What is asked and done on the server, and what came of it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.database = module.params["database"]
        reply = json.loads(run_psql(module, f"{query_facts.server_query(self.database)};"))
        # Building takes no HypoPG.
        self.owner = query_facts.read_owner({**reply, "hypopg": True}, self.database)
        self.built: list[str] = []
        self.removed: list[str] = []
        self.unbuilt: list[str] = []
        self.lines: list[str] = []

    def facts(self) -> query_facts.Facts:
        return query_facts.read_facts(json.loads(self.psql(f"{query_facts.FACTS_QUERY};")))

    def psql(self, sql: str, seconds: int = 300) -> str:
        return run_psql(self.module, sql, self.database, seconds)

    def counters(self) -> tuple[query_facts.Statement, ...]:
        reply = json.loads(run_psql(self.module, f"{query_facts.statements_query(self.database)};"))
        return query_facts.read_statements(reply)[0]

    def plans(self, statements: Sequence[query_facts.Statement]) -> Mapping[str, Plan]:
        search = Search(self.ask, self.facts())
        search.explain(statements)
        return search.plans

    def ask(self, tasks: Sequence[query_facts.Task]) -> Sequence[query_facts.Outcome]:
        out = self.psql(query_facts.session(self.owner, "", tasks))
        return [query_facts.read_outcome(json.loads(line)) for line in out.splitlines() if line]

    def work(self, plan: index_building.Building) -> None:
        """Build, wait, and judge."""
        for leftover in plan.leftovers:
            self.drop(leftover.index.schema, leftover.name)
        if not plan.lacking:
            return
        statements = explained(self.counters())[:MOST]
        before = self.plans(statements)
        fresh = [index for index in plan.lacking if self.build(index)]
        at_build = {statement.id: statement for statement in self.counters()}
        after = self.plans(statements)
        began = time.monotonic()
        time.sleep(self.params["bake"] if fresh else 0)
        baked = {statement.id: statement for statement in self.counters()}
        scans = {found.name: found.scans for found in self.facts().indexes}
        for index in fresh:
            changes = index_building.changes_of(index, statements, before, after, at_build, baked)
            self.settle(index, index_building.judge(index, changes, scans.get(index.name, 0), time.monotonic() - began))

    def build(self, index: Index) -> bool:
        """Build one; whether it is there and whole."""
        reason = ""
        for _attempt in range(self.params["attempts"]):
            try:
                facts = self.facts()
                index_building.refuse_without_room(index, index_building.expected_size(index, facts), self.free())
                self.psql(index_building.build_sql(index, self.params["lock_timeout"]), self.params["build_timeout"])
                return True
            except IndexesError as error:
                reason = str(error)
                break
            except DatabasesError as error:
                reason = str(error)
                try:
                    self.drop(index.schema, index.name)
                except DatabasesError as later:
                    reason += f"; what it left, {index.name}, could not be dropped, and the next run does it: {later}"
                    break
        self.unbuilt.append(f"{index.says()}: {reason}")
        return False

    def free(self) -> int:
        """Bytes that are free where the data is."""
        facts = os.statvfs(self.psql("SHOW data_directory;").strip())
        return facts.f_bavail * facts.f_frsize

    def settle(self, index: Index, verdict: index_building.Verdict) -> None:
        stays = verdict.stays or self.params["keep"]
        self.lines.append(f"{index.says()}: {'stays' if stays else 'removed'}: {'; '.join(verdict.reasons)}")
        if not stays:
            self.drop(index.schema, index.name)
        (self.built if stays else self.removed).append(index.says())

    def drop(self, schema: str, name: str) -> None:
        self.psql(index_building.drop_sql(schema, name, PATIENCE), PATIENCE + 30)


if __name__ == "__main__":
    main()
