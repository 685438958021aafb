#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask all gates before a step of a rollout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_gate
short_description: Ask all gates before a step of a rollout
version_added: "0.1.0"
description:
  - Asks, for several deployments in one call, every gate of their policies that can be asked before a step, and waits while
    one holds, up to its deadline. A gate that then still holds has failed, and so has one that knows that it will hold for longer.
  - Runs on the database server that leads, where etcd, PostgreSQL and the network of the environment are at hand. It changes nothing.
  - In check mode, or with O(measure=false), it looks once and doesn't wait.
  - The gates C(http) and C(compare) need the new release under traffic, and are measured by the load balancers during the step.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
  - nectar.backend.etcd_access
options:
  deployments:
    description: The deployments before a step.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the deployment.
        type: str
        required: true
      policy:
        description: The rollout's policy with all its defaults; C(steps), C(gates) and C(shadow).
        type: dict
        required: true
      step:
        description: The step on its hosts; C(index), C(hosts), C(share) and C(bake).
        type: dict
        required: true
      release:
        description: The release that is rolled out.
        type: str
        default: ""
      revision:
        description: The revision that is rolled out.
        type: str
        default: ""
      person:
        description: The login of who rolls it out, who can't approve it.
        type: str
        default: ""
      token:
        description: The token of the lease that the rollout holds; without one it is asked whether the lease is free.
        type: int
      began:
        description: When the rollout began, as seconds since 1970 or ISO 8601 with an offset.
        type: raw
      hosts:
        description: The application servers of the deployment; those of the step unless given.
        type: list
        elements: str
        default: []
      capacity:
        description:
          - What is known of each host; C(serving), whether its former slot answers, C(free), its free memory in MiB, and C(takes),
            the memory in MiB that the step will take there.
        type: dict
        default: {}
      override:
        description: Who goes on though the window is shut, and why; it is told in the verdict.
        type: dict
        suboptions:
          person:
            description: The login.
            type: str
            required: true
          why:
            description: The reason.
            type: str
            required: true
  declared:
    description: What the environment has beside what every environment has. A part whose source isn't declared is left out.
    type: dict
    default: {}
    suboptions:
      prometheus:
        description: Address of the environment's Prometheus; its certificate is checked with O(etcd_ca_file).
        type: str
        default: ""
      backups:
        description: Whether the environment has backups.
        type: bool
        default: false
      backup:
        description:
          - When the last proven backup was made, as seconds since 1970 or ISO 8601 with an offset.
          - Unless given, the proof of the last restore drill on this server tells it.
        type: raw
      backup_file:
        description: Where the restore drill leaves its proof.
        type: path
        default: /var/lib/nectar/backups/proof.json
      replicas:
        description: How many standbys the primary must have.
        type: int
        default: 0
  deadline:
    description: Seconds to wait for a gate that holds, unless it has a deadline of its own.
    type: int
    default: 300
  poll:
    description: Seconds between two looks.
    type: float
    default: 2
  measure:
    description: Whether to wait for gates that hold.
    type: bool
    default: true
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Whether it predicts without changing anything.
    support: full
  diff_mode:
    description: Whether it shows what changes.
    support: none
"""

EXAMPLES = r"""
- name: Ask the gates before the first step
  nectar.backend.rollout_gate:
    environment: lab
    deployments:
      - name: alice
        policy:
          steps: [{hosts: "100%", share: 100, bake: 30}]
          gates: {lease: {}, freeze: {}, window: {allow: [{cron: "0 2 * * *", duration: 2h}], zone: Europe/Berlin}, compare: {}}
          shadow: []
        step: {index: 0, hosts: [app1, app2], share: 100, bake: 30}
        token: 4711
        person: alice
  register: gates
"""

RETURN = r"""
results:
  description: By deployment what its gates say.
  type: dict
  returned: success
  sample:
    alice:
      verdict: hold
      verdicts:
        - gate: freeze
          verdict: hold
          reason: "bob froze the environment at 2026-11-25 16:00 UTC: the shop is on television"
          evidence: {person: bob}
          shadow: false
      later: ["compare: not yet measurable, for it needs the new release"]
      left_out: []
      blames_release: false
      seconds: 0.1
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import (
    etcd_store,
    gate_command,
    gate_database,
    gate_prometheus,
    rollout_record,
)
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.gate_round import (
    Declared,
    Rollout,
    Sorted,
    Store,
    World,
    judge_gates,
    prometheus_url,
    read_rollout,
    settle_gates,
    sort_gates,
)
from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    DEADLINE,
    FAIL,
    HOLD,
    GateError,
    Verdict,
    blames_release,
    instant,
    worst,
)
from ansible_collections.nectar.backend.plugins.module_utils.json_https import Caller, HttpsError
from ansible_collections.nectar.backend.plugins.module_utils.pgbackrest import PROOF_FILE, read_proof_file
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql

ARGUMENT_SPEC: dict[str, Any] = {
    "environment": {"type": "str", "required": True},
    "deployments": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "policy": {"type": "dict", "required": True},
            "step": {"type": "dict", "required": True},
            "release": {"type": "str", "default": ""},
            "revision": {"type": "str", "default": ""},
            "person": {"type": "str", "default": ""},
            "token": {"type": "int", "no_log": False},
            "began": {"type": "raw"},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "capacity": {"type": "dict", "default": {}},
            "override": {
                "type": "dict",
                "options": {"person": {"type": "str", "required": True}, "why": {"type": "str", "required": True}},
            },
        },
    },
    "declared": {
        "type": "dict",
        "default": {},
        "options": {
            "prometheus": {"type": "str", "default": ""},
            "backups": {"type": "bool", "default": False},
            "backup": {"type": "raw"},
            "backup_file": {"type": "path", "default": PROOF_FILE},
            "replicas": {"type": "int", "default": 0},
        },
    },
    "deadline": {"type": "int", "default": DEADLINE},
    "poll": {"type": "float", "default": 2},
    "measure": {"type": "bool", "default": True},
    **etcd_store.ARGUMENTS,
    **PSQL_ARGUMENTS,
}
AT_ONCE = 100
TIMED_OUT = 124


def main() -> None:
    """Look until nothing holds any more."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    given = params["declared"]
    declared = Declared(given["prometheus"], given["backups"], instant(given["backup"]), given["replicas"])
    results: dict[str, Any] = {}
    waiting: dict[str, tuple[Rollout, Sorted]] = {}
    for data in params["deployments"]:
        try:
            rollout = read_rollout(data)
            waiting[rollout.name] = (rollout, sort_gates(rollout.policy, declared))
        except (GateError, TypeError, ValueError) as error:
            results[data["name"]] = {"verdict": FAIL, "verdicts": [], "error": f"Can't ask the gates: {error}"}
    began, waits = time.monotonic(), params["measure"] and not module.check_mode
    while waiting:
        world = look(module, declared, [*waiting.values()])
        waited = time.monotonic() - began
        for name, (rollout, kinds) in [*waiting.items()]:
            verdicts = judge_gates(rollout, kinds.asked, world)
            if waits:
                verdicts = settle_gates(rollout, verdicts, waited, params["deadline"])
            if not waits or worst(verdicts) != HOLD:
                results[name] = describe(verdicts, kinds, waited)
                del waiting[name]
        if waiting:
            time.sleep(params["poll"])
    module.exit_json(changed=False, results=results)


def describe(verdicts: Sequence[Verdict], kinds: Sorted, waited: float) -> dict[str, Any]:
    return {
        "verdict": worst(verdicts),
        "verdicts": [verdict.data() for verdict in verdicts],
        "later": list(kinds.later),
        "left_out": list(kinds.left_out),
        "blames_release": blames_release(verdicts),
        "seconds": round(waited, 1),
    }


def look(module: AnsibleModule, declared: Declared, asked: Sequence[tuple[Rollout, Sorted]]) -> World:
    """Read what the gates need, each source once for all."""

    def having(gate: str) -> list[Rollout]:
        return [rollout for rollout, kinds in asked if gate in kinds.asked]

    return World(
        now=time.time(),
        store=read_store(module, [rollout for rollout, _kinds in asked]),
        database=read_database(module, declared) if having(gate_database.GATE) else "nobody asked it",
        prometheus={
            rollout.name: read_prometheus(module, rollout, declared) for rollout in having(gate_prometheus.GATE)
        },
        commands={rollout.name: run_command(module, rollout) for rollout in having(gate_command.GATE)},
    )


def read_store(module: AnsibleModule, rollouts: Sequence[Rollout]) -> Store | str:
    """Read the freeze, and the lease and approval of each deployment."""
    params = module.params
    try:
        keys = rollout_record.Keys(params["environment"])
        store = etcd_store.Store.from_arguments(params)
        wanted = [keys.freeze]
        for rollout in rollouts:
            wanted += [keys.of("lease", rollout.name), keys.of("approval", rollout.name)]
        found = read_entries(store, wanted)
    except (etcd_store.StoreError, rollout_record.RecordError) as error:
        return str(error)
    leases, approvals = {}, {}
    for rollout in rollouts:
        if entry := found.get(keys.of("lease", rollout.name)):
            leases[rollout.name] = (entry.value, rollout_record.lease_of(entry).token)
        if entry := found.get(keys.of("approval", rollout.name)):
            approvals[rollout.name] = entry.value
    freeze = found.get(keys.freeze)
    return Store(freeze.value if freeze else None, leases, approvals)


def read_entries(store: etcd_store.Store, keys: Sequence[str]) -> dict[str, etcd_store.Entry]:
    """Read keys, as many at once as etcd takes; what isn't there is left out."""
    found: dict[str, etcd_store.Entry] = {}
    for first in range(0, len(keys), AT_ONCE):
        outcome = store.read(*(etcd_store.read(key) for key in keys[first : first + AT_ONCE]))
        found.update((entry.key, entry) for entries in outcome.found for entry in entries)
    return found


def read_database(module: AnsibleModule, declared: Declared) -> gate_database.DatabaseFacts | str:
    """Ask PostgreSQL on this server, and look at its disk."""
    try:
        reply = json.loads(run_psql(module, f"SET statement_timeout = '5s';\n{gate_database.QUERY};"))
        standby, replicas, transaction = gate_database.read_answer(reply)
        free = dict(read_free([reply["directory"], os.path.join(reply["directory"], "pg_wal")]))
    except (DatabasesError, GateError, ValueError, OSError) as error:
        return str(error)
    age, unread = backup_age(module, declared)
    return gate_database.DatabaseFacts(
        standby, replicas, declared.replicas, transaction, free, declared.backups, age, unread
    )


def backup_age(module: AnsibleModule, declared: Declared) -> tuple[float | None, str]:
    """Seconds since the last proven backup was made, read anew at each look; without any, why that can't be known."""
    ended = declared.backup
    if declared.backups and ended is None:
        try:
            proof = read_proof_file(module.params["declared"]["backup_file"])
        except BackupsError as error:
            return None, str(error)
        ended = None if proof is None else proof.backup_ended
    return (None if ended is None else time.time() - ended), ""


def read_free(paths: Iterable[str]) -> Iterable[tuple[str, float]]:
    """The percentage of each filesystem that is free; one that holds several paths is told once."""
    seen = set()
    for path in paths:
        device = os.stat(path).st_dev
        if device not in seen:
            seen.add(device)
            facts = os.statvfs(path)
            yield path, 100 * facts.f_bavail / facts.f_blocks


def read_prometheus(module: AnsibleModule, rollout: Rollout, declared: Declared) -> gate_prometheus.PrometheusFacts:
    """Ask Prometheus each query."""
    spec = rollout.policy["gates"][gate_prometheus.GATE]
    base, caller = prometheus_url(spec, declared), Caller(module.params["etcd_ca_file"])
    answers: list[tuple[float, ...] | str] = []
    for path in gate_prometheus.query_paths(spec, rollout.names):
        try:
            answers.append(gate_prometheus.read_answer(caller.ask("GET", base + path)))
        except (HttpsError, GateError) as error:
            answers.append(str(error))
    return gate_prometheus.PrometheusFacts(answers)


def run_command(module: AnsibleModule, rollout: Rollout) -> gate_command.CommandFacts:
    """Run the team's own check, as its user and for its time."""
    spec = rollout.policy["gates"][gate_command.GATE]
    timeout = spec.get("timeout", gate_command.TIMEOUT)
    command = ["timeout", "--kill-after", "1", str(timeout)]
    if os.geteuid() == 0:
        command += ["runuser", "--user", spec.get("user", gate_command.USER), "--"]
    environment = {f"NECTAR_{name.upper()}": value for name, value in rollout.names.items()}
    environment |= {"NECTAR_STEP": str(rollout.step["index"]), "NECTAR_PERSON": rollout.person}
    code, out, errors = module.run_command([*command, *spec["argv"]], environ_update=environment, cwd="/")
    if code == TIMED_OUT:
        return gate_command.CommandFacts(None, out, f"did not end within {timeout} s")
    return gate_command.CommandFacts(code, out or errors)


if __name__ == "__main__":
    main()
