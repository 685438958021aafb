#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Apply a change of PostgreSQL's parameters through Patroni, watch it, and take it back where it does harm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_rollout
short_description: Apply a change of PostgreSQL's parameters through Patroni, watch it, and take it back where it does harm
version_added: "0.1.0"
description:
  - Runs on the server that leads. Patches Patroni's configuration, waits until PostgreSQL has the values, restarts what needs it one member at a time,
    the standbys first, and compares counters of O(bake) seconds before with as many after.
  - What Patroni had before is put back when a member doesn't serve, when PostgreSQL doesn't take the values, and when the counters show harm.
  - Each tuning's record with its evidence stays in O(state_directory). One that was interrupted is taken back by the next call.
  - A parameter of which standbys need as much as the primary has goes to the standbys first when it is raised, and to the primary first when it is
    lowered; both at once are refused. Patroni keeps a standby on the primary's value as long as it must.
extends_documentation_fragment:
  - nectar.backend.local_postgresql
  - nectar.backend.patroni_members
  - nectar.backend.patroni_api
options:
  change:
    description: The parameters and their values; with none, the evidence is kept and an interrupted tuning is taken back, and that is all.
    type: dict
    default: {}
  trials:
    description: What M(nectar.backend.tuning_trial) returned as C(verdicts), kept with the record.
    type: list
    elements: dict
    default: []
  kind:
    description: Kind of the workload, for the record.
    type: str
    default: ""
  bake:
    description: Seconds to watch before, and after.
    type: int
    default: 30
  settle:
    description: Seconds within which PostgreSQL has to take values over that need no restart, and members have to serve after one that does.
    type: int
    default: 90
  state_directory:
    description: Folder in whose C(tuning) the records are kept.
    type: path
    default: /var/lib/nectar
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Says what would be applied or taken back.
    support: full
  diff_mode:
    description: Shows the parameters in Patroni's configuration.
    support: full
"""

EXAMPLES = r"""
- name: Apply what was measured
  nectar.backend.tuning_rollout:
    change: "{{ trial.keep }}"
    trials: "{{ trial.verdicts }}"
    kind: oltp
    servers: [127.0.0.1, 10.0.0.2, 10.0.0.3]
    ca_file: /etc/nectar/tls/ca.crt
    cert_file: /etc/nectar/tls/postgresql.crt
    key_file: /etc/nectar/tls/postgresql.key
    username: patroni
    password: "{{ postgresql_api_password }}"
"""

RETURN = r"""
state:
  description: C(kept), C(measured) where nothing was to be applied; a change that is taken back fails the module.
  type: str
  returned: always
  sample: kept
record:
  description: Path of the record with its evidence.
  type: str
  returned: when one is written
  sample: /var/lib/nectar/tuning/20261129T220501Z.json
lines:
  description: What came of it, for a person.
  type: list
  elements: str
  returned: always
  sample: ["kept: checkpoint_timeout=15min"]
"""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import patroni, tuning_record, tuning_watch
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.json_https import Caller, HttpsError, endpoint
from ansible_collections.nectar.backend.plugins.module_utils.psql import PSQL_ARGUMENTS, run_psql
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user
from ansible_collections.nectar.backend.plugins.module_utils.text_files import replace_text
from ansible_collections.nectar.backend.plugins.module_utils.tuning import SHARED, restart_order
from ansible_collections.nectar.backend.plugins.module_utils.tuning_facts import (
    SETTINGS_QUERY,
    STATEMENTS_QUERY,
    WATCH_QUERY,
    per_statement,
)
from ansible_collections.nectar.backend.plugins.module_utils.tuning_record import (
    APPLYING,
    KEPT,
    MEASURED,
    REVERTED,
    Record,
)
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import (
    Parameter,
    TuningError,
    read_parameters,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "change": {"type": "dict", "default": {}},
    "trials": {"type": "list", "elements": "dict", "default": []},
    "kind": {"type": "str", "default": ""},
    "bake": {"type": "int", "default": 30},
    "settle": {"type": "int", "default": 90},
    "state_directory": {"type": "path", "default": "/var/lib/nectar"},
    **patroni.API_ARGUMENTS,
    **PSQL_ARGUMENTS,
}
ERRORS = (TuningError, DatabasesError, HttpsError, patroni.PatroniError)
# The tuning that is in the making.
OPEN = "open.json"


def main() -> None:
    """Take back what was interrupted, apply, watch, and judge."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_together=patroni.API_TOGETHER
    )
    desk = Desk(module)
    try:
        left = desk.left_open()
        if module.check_mode:
            lines = [f"would be taken back: {tuning_record.says(left)}"] if left else []
            module.exit_json(changed=bool(left or module.params["change"]), state="", lines=lines)
        if left:
            desk.take_back(left, "the run that applied it was interrupted")
        record = desk.begin()
    except (*ERRORS, OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"Cannot tune PostgreSQL: {error}", state="", lines=desk.lines)
    if record.change:
        desk.work(record)
    elif record.trials:
        desk.close(record, MEASURED, ())
    result = {"changed": desk.has_changed, "state": desk.state, "record": desk.path, "lines": desk.lines}
    if desk.state == REVERTED and record.change:
        module.fail_json(msg=f"Taken back: {desk.lines[-1]}. The evidence is in {desk.path}", **result)
    after = {name: value for name, value in record.change.items() if desk.state == KEPT}
    module.exit_json(diff={"before": show(record.before), "after": show(after)}, **result)


def show(parameters: Mapping[str, Any]) -> str:
    """Parameters for a diff."""
    return "".join(f"{name}: {value}\n" for name, value in sorted(parameters.items()))


class Desk:
    """The cluster as this server sees it, and the records that it keeps."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        params = module.params
        self.caller = Caller(**{name: params[name] for name in patroni.CALLER})
        self.bases = [endpoint(server, params["port"]) for server in params["servers"]]
        self.folder = Path(params["state_directory"]) / "tuning"
        self.lines: list[str] = []
        self.path = ""
        self.state = ""
        self.has_changed = False

    # Records

    def left_open(self) -> Record | None:
        """The tuning that an earlier run began and didn't end."""
        path = self.folder / OPEN
        if not path.exists():
            return None
        return tuning_record.read_record(json.loads(path.read_text(encoding="utf-8")), str(path))

    def begin(self) -> Record:
        """The record of this tuning; where something is to be applied, it also says how to take it back."""
        change = {name: str(value) for name, value in self.params["change"].items()}
        now = datetime.now(tz=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        record = Record(now, session_user(), self.params["kind"], APPLYING, change, trials=self.params["trials"])
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not change:
            return record
        config = self.caller.ask_any("GET", [f"{base}/config" for base in self.bases])
        known = self.parameters()
        return replace(
            record,
            restarting=sorted(name for name in change if known[name].context == "postmaster"),
            before=tuning_record.parameters_before(config, change),
            settings={name: known[name].setting for name in change},
        )

    def close(self, record: Record, state: str, reasons: tuple[str, ...]) -> None:
        """Keep what came of it."""
        ended = replace(record, state=state, reasons=reasons)
        path = self.folder / record.name
        replace_text(str(path), json.dumps(ended.to_data(), indent=2) + "\n")
        (self.folder / OPEN).unlink(missing_ok=True)
        self.path, self.state = str(path), state
        self.lines.append(tuning_record.says(ended))

    # The change

    def work(self, record: Record) -> None:
        """Apply, watch and judge; whatever goes wrong, take it back."""
        try:
            before = self.watch()
            replace_text(str(self.folder / OPEN), json.dumps(record.to_data(), indent=2) + "\n")
            self.has_changed = True
            known = self.parameters()
            wanted = {name: known[name].canonical(value) for name, value in record.change.items()}
            self.bring(record.change, wanted, record.restarting, record.settings)
            after = self.watch()
            record = replace(
                record, watched={"before": tuning_watch.summary(before), "after": tuning_watch.summary(after)}
            )
            reasons = tuning_watch.harms(before, after)
        except (*ERRORS, ValueError, KeyError) as error:
            reasons = (str(error),)
        if not reasons:
            self.close(record, KEPT, ())
            return
        try:
            self.take_back(record, "; ".join(reasons))
        except ERRORS as error:
            self.module.fail_json(
                msg=f"{'; '.join(reasons)}; and it could not be taken back: {error}. {self.folder / OPEN} says what was before; the next run tries again",
                state=APPLYING,
                lines=self.lines,
            )

    def take_back(self, record: Record, reason: str) -> None:
        """Bring back what was before."""
        self.has_changed = True
        now = {name: self.parameters()[name].canonical(value) for name, value in record.change.items()}
        self.bring(record.before, record.settings, record.restarting, now)
        self.close(record, REVERTED, (reason,))

    def bring(
        self, patch: Mapping[str, Any], wanted: Mapping[str, str], restarting: Any, former: Mapping[str, str]
    ) -> None:
        """Have all members run with some values."""
        self.caller.ask_any("PATCH", [f"{base}/config" for base in self.bases], tuning_record.patch(patch))
        self.wait(lambda: self.untaken(wanted, restarting), "PostgreSQL did not take over")
        if any(self.parameters()[name].setting != wanted[name] for name in restarting):
            # A member that has not looked yet would not restart.
            self.wait(self.unaware, "Patroni does not see that a restart is needed on")
            self.restart(former, wanted)
        self.wait(lambda: self.untaken(wanted, ()), "PostgreSQL does not run with")
        self.wait(self.lacks, "the cluster does not serve")

    def restart(self, former: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        """Restart one member after the other, each once all others serve."""
        reply = self.caller.ask_any("GET", [f"{base}/cluster" for base in self.bases])
        cluster = patroni.read_cluster(reply)
        hosts = {entry["name"]: entry["host"] for entry in reply["members"]}
        leader = cluster.leader or ""
        shared = [{name: int(side[name]) for name in SHARED if name in side} for side in (former, wanted)]
        standbys = [member.name for member in cluster.members if member.name != leader]
        patient = replace(self.caller, timeout=float(self.params["settle"]))
        for name in restart_order(leader, standbys, *shared):
            url = f"{endpoint(hosts[name], self.params['port'])}/restart"
            patient.tell("POST", url, {"restart_pending": True})
            self.wait(self.lacks, f"after the restart of {name} the cluster does not serve")

    # What is there

    def parameters(self) -> dict[str, Parameter]:
        """What PostgreSQL has now."""
        return read_parameters(json.loads(run_psql(self.module, f"{SETTINGS_QUERY};"))["settings"])

    def untaken(self, wanted: Mapping[str, str], later: Any) -> list[str]:
        """The parameters that PostgreSQL has not taken over; those that wait for a restart may wait."""
        facts = json.loads(run_psql(self.module, f"{SETTINGS_QUERY};"))
        known, pending = read_parameters(facts["settings"]), set(facts["pending"] or ())
        return [
            f"{name} of {known[name].show(value)}"
            for name, value in wanted.items()
            if known[name].setting != value and not (name in later and name in pending)
        ]

    def unaware(self) -> list[str]:
        """The members that don't know yet that they must restart."""
        cluster = patroni.read_cluster(self.caller.ask_any("GET", [f"{base}/cluster" for base in self.bases]))
        return [member.name for member in cluster.members if not member.pending_restart]

    def lacks(self) -> list[str]:
        """What keeps the cluster from serving."""
        cluster = patroni.read_cluster(self.caller.ask_any("GET", [f"{base}/cluster" for base in self.bases]))
        config = self.caller.ask_any("GET", [f"{base}/config" for base in self.bases])
        return list(patroni.find_lacks(cluster, [member.name for member in cluster.members], config))

    def wait(self, lacking: Any, failure: str) -> None:
        """Wait until nothing is lacking any more."""
        deadline = time.monotonic() + self.params["settle"]
        while True:
            try:
                left = lacking()
            except ERRORS as error:
                # In the middle of a restart nobody answers.
                left = [str(error)]
            if not left:
                return
            if time.monotonic() > deadline:
                raise TuningError(f"{failure} {', '.join(left)} within {self.params['settle']} s")
            time.sleep(1)

    def watch(self) -> tuning_watch.Watched:
        """Count for a while."""
        first = self.sample()
        time.sleep(self.params["bake"])
        return tuning_watch.between(first, self.sample())

    def sample(self) -> tuning_watch.Sample:
        """Read the counters."""
        counters = json.loads(run_psql(self.module, f"{WATCH_QUERY};"))
        if not counters["primary"]:
            raise TuningError("this server leads no more; run the playbook again")
        statements = json.loads(run_psql(self.module, f"{STATEMENTS_QUERY};"))
        numbers = {name: float(value or 0) for name, value in counters.items() if name not in ("at", "primary")}
        return tuning_watch.Sample(float(counters["at"]), numbers, per_statement(statements))


if __name__ == "__main__":
    main()
