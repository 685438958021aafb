#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand a Patroni cluster's lead to another member, on purpose."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_switchover
short_description: Hand a Patroni cluster's lead to another member, on purpose
version_added: "0.1.0"
description:
  - Runs on the server that leads. Writes a checkpoint, waits for the moment O(at), sees that no client's transaction is open, and asks Patroni for the
    switchover, to O(candidate) or to whichever standby takes the lead first.
  - The latter is mostly sooner over for those who write. A standby that contends for the lead in vain follows the one that got it at once; where one is
    named, the others sleep for 2 seconds first, and commits wait for them.
  - Refuses where fewer than O(standbys) stream, where one is too far behind, or where a transaction is open for too long; O(force=true) goes on all the same.
  - Where transactions don't end within O(quiet) seconds after O(at), nothing has happened, and the module says so. With poolers that hold
    their clients from O(at) on, as M(nectar.backend.pooler_hold) makes them, that means that one of them didn't.
  - In check mode it says who would take over, and when it could begin.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
  - nectar.backend.patroni_members
  - nectar.backend.patroni_api
options:
  candidate:
    description: Name of the member that is to lead; empty for any that holds every acknowledged commit.
    type: str
    default: ""
  at:
    description: When to begin, as seconds since 1970 by this server's clock; V(0) for at once.
    type: float
    default: 0
  notice:
    description: Seconds from now at which RV(begin) lies.
    type: float
    default: 8
  quiet:
    description: Seconds that clients' transactions may take to end once it begins.
    type: float
    default: 1
  standbys:
    description: How many standbys must stream.
    type: int
    default: 2
  lag:
    description: How far behind a standby may be.
    type: str
    default: 16M
  transaction:
    description: Seconds for which the oldest transaction may have been open.
    type: int
    default: 10
  force:
    description: Whether to go on in spite of doubts.
    type: bool
    default: false
  timeout:
    description: Seconds that Patroni may take.
    type: int
    default: 60
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
- name: Hand the lead over
  nectar.backend.patroni_switchover:
    servers: [10.0.0.1, 10.0.0.2, 10.0.0.3]
    ca_file: /etc/nectar/tls/ca.crt
    cert_file: /etc/nectar/tls/postgresql.crt
    key_file: /etc/nectar/tls/postgresql.key
    username: patroni
    password: "{{ postgresql_api_password }}"
"""

RETURN = r"""
leader:
  description: Name of the member that led before.
  type: str
  returned: success
  sample: db1
candidate:
  description: Name of the member that leads now; in check mode of the one that was named, or that is least behind.
  type: str
  returned: success
  sample: db2
candidates:
  description: Names of the members that may take the lead.
  type: list
  elements: str
  returned: success
  sample: [db2, db3]
evidence:
  description: What was seen of the standbys and the transactions.
  type: str
  returned: success
  sample: 2 replicas are at most 0 MiB behind; no transaction is open
doubts:
  description: What spoke against it, and was overridden.
  type: list
  elements: str
  returned: success
  sample: []
begin:
  description: O(notice) seconds from now, by this server's clock.
  type: float
  returned: success
  sample: 1795946400.25
seconds:
  description: How long Patroni took, from the order to its answer.
  type: float
  returned: when it was done
  sample: 2.1
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import gate_database, patroni, switchover
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.gates import GateError, Verdict
from ansible_collections.nectar.backend.plugins.module_utils.json_https import Caller, HttpsError, endpoint
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql

ARGUMENT_SPEC: dict[str, Any] = {
    "candidate": {"type": "str", "default": ""},
    "at": {"type": "float", "default": 0},
    "notice": {"type": "float", "default": 8},
    "quiet": {"type": "float", "default": 1},
    "standbys": {"type": "int", "default": 2},
    "lag": {"type": "str", "default": "16M"},
    "transaction": {"type": "int", "default": 10},
    "force": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
    **patroni.API_ARGUMENTS,
    **PSQL_ARGUMENTS,
}
# Looks in a row, 20 ms apart, at which no client's transaction may be open; the first of them comes when poolers have had time to hold.
CALM_LOOKS = 4
HOLD_SECONDS = 0.1
# An order that comes later than this after the quiet may find poolers that have let go; better none then.
LATEST = 0.75
# The checkpoint that stopping writes is short when one has just been written; all this is one session, begun before the moment.
PREPARE = """
CHECKPOINT;
SELECT pg_sleep_until(to_timestamp({at:.3f}));
DO $$
DECLARE
  calm int := 0;
  latest timestamptz := clock_timestamp() + make_interval(secs => {quiet:.3f});
BEGIN
  LOOP
    PERFORM pg_stat_clear_snapshot();
    calm := CASE WHEN EXISTS (
        SELECT FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND client_addr IS NOT NULL AND state IS DISTINCT FROM 'idle')
      THEN 0 ELSE calm + 1 END;
    EXIT WHEN calm >= {looks};
    IF clock_timestamp() > latest THEN
      RAISE 'clients still have transactions open, so not all poolers hold them back';
    END IF;
    PERFORM pg_sleep(0.02);
  END LOOP;
END $$;
"""


def main() -> None:
    """Look, plan, and hand over."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_together=patroni.API_TOGETHER
    )
    params = module.params
    caller = Caller(**{name: params[name] for name in patroni.CALLER}, timeout=params["timeout"])
    try:
        plan, verdict = look(module, caller)
        if plan.doubts and not params["force"]:
            module.fail_json(
                msg=f"The lead stays with {plan.leader}: {'; '.join(plan.doubts)}. Put that right and try again, or go on all the same with force.",
                doubts=plan.doubts,
            )
        taken = {} if module.check_mode else hand_over(module, caller, plan)
    except (
        switchover.SwitchoverError,
        patroni.PatroniError,
        GateError,
        DatabasesError,
        HttpsError,
        ValueError,
    ) as error:
        module.fail_json(msg=f"The lead was not handed over: {error}")
    result = {
        "leader": plan.leader,
        "candidate": plan.candidates[0],
        "candidates": plan.candidates,
        "evidence": verdict.reason,
        "doubts": plan.doubts,
        "begin": time.time() + params["notice"],
    }
    module.exit_json(changed=True, **{**result, **taken})


def look(module: AnsibleModule, caller: Caller) -> tuple[switchover.Switchover, Verdict]:
    """Ask Patroni and PostgreSQL, and plan."""
    params = module.params
    bases = [endpoint(server, params["port"]) for server in params["servers"]]
    cluster = patroni.read_cluster(caller.ask_any("GET", [f"{base}/cluster" for base in bases]))
    settings = caller.ask_any("GET", [f"{base}/config" for base in bases])
    reply = json.loads(run_psql(module, f"SET statement_timeout = '5s';\n{gate_database.QUERY};"))
    standby, replicas, transaction = gate_database.read_answer(reply)
    facts = gate_database.DatabaseFacts(standby, replicas, params["standbys"], transaction)
    spec = {"lag": params["lag"], "transaction": params["transaction"], "disk": False}
    verdict = gate_database.judge(spec, facts)
    return switchover.plan_switchover(cluster, settings, replicas, verdict, params["candidate"]), verdict


def hand_over(module: AnsibleModule, caller: Caller, plan: switchover.Switchover) -> dict[str, Any]:
    """Wait for the moment and for calm, and give the order; return who leads then, and what it took."""
    params = module.params
    now = time.time()
    at = params["at"] or now
    if at < now:
        raise switchover.SwitchoverError(f"at: {at:.1f} was {now - at:.1f} s ago; give it more notice")
    run_psql(module, PREPARE.format(at=at + HOLD_SECONDS, quiet=params["quiet"], looks=CALM_LOOKS))
    if (late := time.time() - at) > params["quiet"] + LATEST:
        raise switchover.SwitchoverError(
            f"it was calm only {late:.1f} s after the beginning, when poolers are about to let go; try again on a quieter server"
        )
    began = time.monotonic()
    # Patroni's members know each other's state; whichever is asked passes the order on. Asked once: it may be carried out and its answer lost.
    answer = caller.tell("POST", f"{endpoint(params['servers'][0], params['port'])}/switchover", plan.order)
    return {"candidate": switchover.read_answer(answer), "seconds": round(time.monotonic() - began, 2)}


if __name__ == "__main__":
    main()
