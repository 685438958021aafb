#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read and write what an environment remembers of its rollouts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_state
short_description: Read and write what an environment remembers of its rollouts
version_added: "0.1.0"
description:
  - Leases, the freeze, records of rollouts, last good and bad revisions, approvals and the history lie in etcd. This reads all of them at one
    moment, and writes by compare-and-swap.
  - Runs on a database server. The person is read there, from the login whose session it is, and not from a variable.
  - What fails for one deployment leaves the others alone and stands in its RV(results).
  - Where etcd doesn't answer, reading says so in RV(reachable) and does not fail.
author: Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.etcd_access
options:
  names:
    description: The deployments to tell about; none means all that are known.
    type: list
    elements: str
    default: []
  deployments:
    description:
      - What to write, each deployment in one move. Other keys are not read, so that a plan's steps can be given.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The deployment.
        type: str
        required: true
      token:
        description: What M(nectar.backend.rollout_lease) answered; who doesn't hold the lease any more writes nothing. An approval needs none.
        type: int
      expected:
        description: The C(record_revision) that was read; somebody else's writing since is refused. 0 where there was no record.
        type: int
      record:
        description: The rollout's record, in place of the one that is there.
        type: dict
      good:
        description: The C(release) and C(revision) that serve well now; the ones before are kept beside them, and a bad mark goes.
        type: dict
      bad:
        description: The C(release) and C(revision) to mark as bad, and the C(reason).
        type: dict
      finished:
        description: What to add to the record, which then goes to the history; the last 20 are kept.
        type: dict
      approval:
        description: An approval with C(why), C(release), empty for any, and C(hours); V(false) takes it back.
        type: raw
  history:
    description: Whether to read the history too.
    type: bool
    default: false
  frozen:
    description: Whether the environment's rollouts are frozen; omit it to leave that as it is.
    type: bool
  why:
    description: Why it is frozen.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the entries before and after.
    support: full
"""

EXAMPLES = r"""
- name: Read all
  nectar.backend.rollout_state:
    environment: lab
  register: state

- name: Remember how it went
  nectar.backend.rollout_state:
    environment: lab
    deployments:
      - name: alice
        token: "{{ leases.results.alice.token }}"
        good: {release: orders-0123456789ab, revision: ba9876543210}
        finished: {result: promoted, seconds: 41}

- name: Mark a revision as bad
  nectar.backend.rollout_state:
    environment: lab
    deployments:
      - name: alice
        token: "{{ leases.results.alice.token }}"
        bad: {release: orders-0123456789ab, revision: ba9876543210, reason: 5 % errors against 0 %}

- name: Freeze the environment
  nectar.backend.rollout_state:
    environment: lab
    frozen: true
    why: the sale begins
"""

RETURN = r"""
results:
  description:
    - By deployment, its C(lease), C(record) with C(record_revision), C(good), C(bad) by revision, C(approval) and C(history); what there is none of is
      null or empty. As it is after writing.
    - C(error) stands where it was not written, or not read.
  type: dict
  returned: success
  sample:
    alice:
      lease: {person: bob, token: 4711, since: "2026-11-25T17:30:00Z", why: deploy}
      record: {phase: step, step: 1, token: 4711}
      record_revision: 4720
      good: {release: orders-0123456789ab, revision: ba9876543210, since: "2026-11-24T08:00:00Z", former: null}
      bad: {}
      approval: null
      history: []
freeze:
  description: Who froze the environment, since when and why; null when nobody did.
  type: dict
  returned: when etcd answered
  sample: {person: erin, since: "2026-11-25T17:00:00Z", why: the sale begins}
bad:
  description: Why revisions are marked as bad, by deployment and revision.
  type: dict
  returned: when etcd answered
  sample: {alice: {ba9876543210: 5 % errors against 0 %}}
table:
  description: Who holds what since when and why, as lines for people.
  type: list
  elements: str
  returned: when etcd answered
person:
  description: Whose session it is.
  type: str
  returned: success
  sample: bob
reachable:
  description: Whether etcd answered.
  type: bool
  returned: success
  sample: true
error:
  description: Why etcd did not answer.
  type: str
  returned: when it did not
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import (
    ARGUMENTS,
    Store,
    StoreError,
    Transaction,
    UnansweredError,
    effects,
    read_all,
)
from ansible_collections.nectar.backend.plugins.module_utils.rollout_record import (
    Change,
    Keys,
    Known,
    RecordError,
    freeze_change,
    judge_writing,
    lease_table,
    parse_change,
    parse_environment,
    raw_values,
    read_environment,
    write_change,
)
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user

ARGUMENT_SPEC: dict[str, Any] = {
    **ARGUMENTS,
    "environment": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str", "default": []},
    "deployments": {"type": "list", "elements": "dict", "default": []},
    "history": {"type": "bool", "default": False},
    "frozen": {"type": "bool"},
    "why": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        keys = Keys(params["environment"])
        changes = [parse_change(entry) for entry in params["deployments"]]
        desk = Desk(Store.from_arguments(params), keys, module.check_mode, session_user())
        desk.read(params["history"])
        if params["frozen"] is not None:
            desk.freeze(params["frozen"], params["why"])
        errors = {change.name: error for change in changes if (error := desk.write(change))}
        if desk.changed and not module.check_mode:
            desk.read(params["history"])
    except UnansweredError as error:
        if params["frozen"] is not None:
            module.fail_json(msg=f"Nothing was written, for etcd does not answer: {error}. See docs/leases.md")
        module.exit_json(**silence(str(error), [*params["names"], *(change.name for change in changes)]))
    except (RecordError, StoreError) as error:
        module.fail_json(msg=f"Cannot use the environment's state: {error}")
    module.exit_json(**desk.told([*params["names"], *(change.name for change in changes)], errors))


def silence(reason: str, names: list[str]) -> dict[str, Any]:
    """Say that etcd doesn't answer, to everybody who asked."""
    error = f"etcd does not answer: {reason}"
    results = {name: {"error": f"{name}: {error}"} for name in names}
    return {"changed": False, "reachable": False, "person": session_user(), "error": error, "results": results}


@dataclass
class Desk:
    """Where the state is read and written: for whom, and what changed."""

    store: Store
    keys: Keys
    check_mode: bool
    person: str
    frozen: Mapping[str, Any] | None = None
    known: dict[str, Known] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def read(self, history: bool) -> None:
        """Read everything at one moment."""
        outcome = self.store.read(*read_environment(self.keys, history))
        self.frozen, self.known = parse_environment(self.keys, outcome)
        self.values = raw_values(outcome)

    def freeze(self, frozen: bool, why: str) -> None:
        """Freeze the environment, or let it go on; whoever froze it first stays named."""
        order = freeze_change(self.keys, frozen, self.person, why, now())
        if frozen and self.frozen and self.frozen["why"] == effects([order])[self.keys.freeze]["why"]:
            return
        if self.note(Transaction(success=[order])) and not self.check_mode:
            self.store.commit(Transaction(success=[order]))

    def write(self, change: Change) -> str:
        """Write one deployment's; return why it was not."""
        known = self.known.get(change.name, Known())
        try:
            transaction = write_change(self.keys, change, known, self.person, now(), self.past(change))
            differs = self.note(transaction)
            if differs and not self.check_mode:
                judge_writing(self.store.commit(transaction), change)
        except (RecordError, UnansweredError) as error:
            return str(error)
        return ""

    def past(self, change: Change) -> list[str]:
        """Return the keys of a deployment's history, the oldest first, where one is added."""
        if change.finished is None:
            return []
        prefix = self.keys.all_of("history", change.name)
        return [entry.key for entry in self.store.read(read_all(prefix, keys_only=True)).found[0]]

    def note(self, transaction: Transaction) -> bool:
        """Remember for the diff what differs from what is there."""
        wanted = effects(transaction.success)
        differing = {key: value for key, value in wanted.items() if value != self.values.get(key)}
        self.after |= {key: value for key, value in differing.items() if value is not None}
        self.before |= {key: self.values[key] for key in differing if key in self.values}
        return bool(differing)

    def told(self, names: list[str], errors: Mapping[str, str]) -> dict[str, Any]:
        """Return all that is known, and what went wrong."""
        chosen = names or sorted(self.known)
        results = {name: self.known.get(name, Known()).data() for name in chosen}
        for name, error in errors.items():
            results[name]["error"] = error
        return {
            "changed": self.changed,
            "reachable": True,
            "person": self.person,
            "results": results,
            "freeze": self.frozen,
            "bad": {
                name: {revision: mark["reason"] for revision, mark in known.bad.items()}
                for name, known in self.known.items()
                if known.bad
            },
            "table": lease_table(self.known, self.frozen, now()),
            "diff": {side: as_text(values) for side, values in (("before", self.before), ("after", self.after))},
        }


def as_text(values: Mapping[str, Any]) -> str:
    return "".join(f"{key}: {json.dumps(values[key], sort_keys=True)}\n" for key in sorted(values))


def now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
