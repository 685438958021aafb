#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take, give back or break deployments' leases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_lease
short_description: Take, give back or break deployments' leases
version_added: "0.1.0"
description:
  - Who holds a deployment's lease may change it, and nobody else. It lies in etcd and ends when nobody renews it.
  - Runs on a database server. The person is read there, from the login whose session it is, and not from a variable.
  - Its action part starts the keeper on the controller, which renews the leases, shows the load balancers that the run lives, and ends
    with the controller's process. See docs/leases.md.
  - What fails for one deployment leaves the others alone and stands in its RV(results).
author: Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.etcd_access
options:
  deployments:
    description:
      - The deployments, each with C(name), of which the release, C(release), is written into the lease. Other keys are not read, so that a plan's
        steps can be given.
      - C(floor) is the highest token that hosts know of the deployment; the new one is above it.
    type: list
    elements: dict
    required: true
  state:
    description:
      - V(present) takes what nobody holds. V(absent) gives back what this controller's process holds. V(broken) takes it from whoever
        holds it, and writes that down in the deployment's history.
    type: str
    choices: [present, absent, broken]
    default: present
  why:
    description: Why, for those who find the lease held or broken. V(broken) needs it.
    type: str
    default: ""
  override:
    description:
      - Go on where etcd doesn't answer, for the way back. The result says so, with who and why, and the server's journal too.
      - A lease that somebody holds is refused all the same.
    type: bool
    default: false
  ttl:
    description: Seconds after which a lease ends that nobody renews; etcd takes up to two more.
    type: int
    default: 27
  controller:
    description: What to call the controller's process. Omit it, and its host and number are taken.
    type: str
    default: ""
  rollout:
    description: What tells this rollout from others. Omit it, and the controller's process is the rollout.
    type: str
    default: ""
  keeper:
    description: Whether to start the keeper.
    type: bool
    default: true
  load_balancers:
    description:
      - Inventory names of the load balancers that are shown signs of life for each deployment, but for those with C(beat) false, or
        with C(steps) of which none is C(watched).
      - Each deployment is a process on each load balancer. Where many are held and few change at a time, take the leases without this, and
        call again with this for those that change next.
    type: list
    elements: str
    default: []
  database_servers:
    description: Inventory names of the servers over which leases are renewed, in this order; the server that answered is the first anyway.
    type: list
    elements: str
    default: []
  keeper_directory:
    description: Folder on the controller for the keeper's log. Omit it for C(nectar/leases) in the user's state folder.
    type: path
    default: ""
attributes:
  check_mode:
    description: Says who holds what, takes nothing, and starts no keeper.
    support: full
  diff_mode:
    description: Shows holders before and after.
    support: full
"""

EXAMPLES = r"""
- name: Take the leases
  nectar.backend.rollout_lease:
    environment: lab
    deployments: "{{ plan.steps.values() }}"
    why: deploy
    load_balancers: "{{ groups['loadbalancers'] }}"
    database_servers: "{{ groups['database_servers'] }}"
  delegate_to: db1
  run_once: true
  register: leases

- name: Give them back
  nectar.backend.rollout_lease:
    environment: lab
    deployments: [{name: alice}]
    state: absent

- name: Break one
  nectar.backend.rollout_lease:
    environment: lab
    deployments: [{name: alice}]
    state: broken
    why: bob's laptop is under water
"""

RETURN = r"""
results:
  description:
    - By deployment, its C(state), which is V(held), V(free), V(refused), V(broken), V(overridden) or V(unknown).
    - With V(held), also C(token), C(lease), C(person), C(controller), C(since), C(why), C(release) and C(rollout).
    - C(error) stands where it was refused or etcd did not answer, and C(holder) where somebody else holds it.
    - C(lines) says of each load balancer what is wrong with the signs of life, an empty text when nothing is.
  type: dict
  returned: success
  sample:
    alice: {state: held, token: 4711, lease: "3289479323", person: bob, why: deploy, since: "2026-11-25T17:30:00Z", lines: {lb1: ""}}
    staging: {state: refused, error: "staging is held by carol (from desk:812) since 2026-11-25 17:28:11 UTC, for 2 min: deploy."}
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
keepers:
  description: The process number and the log of each keeper that was started.
  type: list
  elements: dict
  returned: when one was started
  sample: [{pid: 4242, log: /home/bob/.local/state/nectar/leases/lab-4711.log}]
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import (
    ARGUMENTS,
    Store,
    StoreError,
    Transaction,
    UnansweredError,
    read,
)
from ansible_collections.nectar.backend.plugins.module_utils.rollout_record import (
    Claim,
    Keys,
    Lease,
    RecordError,
    break_lease,
    check_reason,
    give_back,
    judge_taking,
    lease_of,
    take_lease,
)
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user

ARGUMENT_SPEC: dict[str, Any] = {
    **ARGUMENTS,
    "environment": {"type": "str", "required": True},
    "deployments": {"type": "list", "elements": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "broken"], "default": "present"},
    "why": {"type": "str", "default": ""},
    "override": {"type": "bool", "default": False},
    "ttl": {"type": "int", "default": 27},
    "controller": {"type": "str", "default": ""},
    "rollout": {"type": "str", "default": ""},
    "keeper": {"type": "bool", "default": True},
    "load_balancers": {"type": "list", "elements": "str", "default": []},
    "database_servers": {"type": "list", "elements": "str", "default": []},
    "keeper_directory": {"type": "path", "default": ""},
}
BREAK = "break it on the record: ansible-playbook playbooks/lease.yml -e break={name} -e \"why='…'\""
Result = dict[str, Any]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        desk = Desk.open(module)
        deal = {"present": desk.take, "absent": desk.give, "broken": desk.seize}[module.params["state"]]
        results = {entry["name"]: desk.serve(deal, entry) for entry in module.params["deployments"]}
    except (RecordError, KeyError) as error:
        module.fail_json(msg=f"Cannot deal with leases: {error}")
    for name, result in results.items():
        if result["state"] == "overridden":
            module.log(f"{desk.person} goes on without the lease of {name}, for etcd does not answer: {desk.why}")
    module.exit_json(
        changed=any(result["changed"] for result in results.values()),
        results=results,
        person=desk.person,
        reachable=not any(result["state"] in ("unknown", "overridden") for result in results.values()),
        diff={side: "".join(desk.lines[side]) for side in ("before", "after")},
    )


@dataclass
class Desk:
    """Where leases are dealt with: for whom, why, and what changed."""

    store: Store
    keys: Keys
    params: dict[str, Any]
    check_mode: bool
    person: str
    why: str
    lines: dict[str, list[str]]
    number: int = 0
    silent: str = ""

    @classmethod
    def open(cls, module: AnsibleModule) -> Desk:
        """Look at the arguments before anything is asked."""
        params = module.params
        keys = Keys(params["environment"])
        for entry in params["deployments"]:
            keys.of("lease", entry.get("name", ""))
        why = check_reason(params["why"]) if params["state"] == "broken" else params["why"] or "no reason was given"
        return cls(
            Store.from_arguments(params),
            keys,
            params,
            module.check_mode,
            session_user(),
            why,
            {"before": [], "after": []},
        )

    def serve(self, deal: Callable[[str, Result], Result], entry: Result) -> Result:
        """Deal with one deployment; once etcd was silent, the others needn't wait for it too."""
        name = str(entry["name"])
        try:
            if self.silent:
                raise UnansweredError(self.silent)
            return {"changed": False, **deal(name, entry)}
        except UnansweredError as error:
            self.silent = str(error)
            return {"changed": False, **self.go_without(name, entry)}
        except StoreError as error:
            return {"changed": False, "state": "unknown", "error": f"{name}: {error}"}

    def go_without(self, name: str, entry: Result) -> Result:
        """Without etcd nothing starts; the way back does, on the record."""
        if self.params["override"] and self.params["state"] == "present":
            override = {"person": self.person, "why": self.why, "at": f"{now():%Y-%m-%dT%H:%M:%SZ}"}
            return {"state": "overridden", "token": int(entry.get("floor") or 0) + 1, "override": override}
        return {
            "state": "unknown",
            "error": (
                f"{name}: nothing was started, for etcd keeps the leases and does not answer: {self.silent}. "
                "Look at it with `etcdctl endpoint health` on a database server (docs/leases.md); "
                f"the way back works without it: ansible-playbook playbooks/rollback.yml -e deployment={name}"
            ),
        }

    def take(self, name: str, entry: Result) -> Result:
        """Take what nobody holds."""
        claim = Claim(
            self.person,
            self.params["controller"] or "an unnamed controller",
            self.why,
            str(entry.get("release") or ""),
            self.params["rollout"] or secrets.token_hex(8),
            int(entry.get("floor") or 0),
        )
        if self.check_mode:
            found = self.holder(name)
            if found is not None and found.rollout != claim.rollout:
                return refusal(found)
            self.note(name, found.value["person"] if found else "nobody", self.person)
            return {"state": "held", **found.data()} if found else {"state": "free", "changed": True}
        if not self.number:
            number = secrets.randbelow(2**62) + 1
            self.store.grant(number, self.params["ttl"])
            self.number = number
        outcome = self.store.commit(take_lease(self.keys, name, claim, self.number, now()))
        lease = judge_taking(outcome, claim)
        if lease is None:
            return refusal(lease_of(outcome.first)) if outcome.first else self.take(name, entry)
        self.note(name, "nobody" if outcome.succeeded else self.person, self.person)
        return {"state": "held", **lease.data(), "changed": outcome.succeeded}

    def give(self, name: str, entry: Result) -> Result:
        """Give back what is this controller's; what it doesn't hold any more is no matter."""
        lease = self.holder(name)
        ours = lease is not None and (lease.rollout == self.params["rollout"] or lease.token == entry.get("token"))
        if lease is None or not ours:
            return {"state": "free"} if lease is None else {"state": "refused", "holder": lease.data()}
        return self.end(name, lease, give_back(self.keys, lease), {"state": "free"})

    def seize(self, name: str, _entry: Result) -> Result:
        """Take a lease from whoever holds it."""
        lease = self.holder(name)
        if lease is None:
            return {"state": "free"}
        order = break_lease(self.keys, lease, self.person, self.why, now())
        return self.end(name, lease, order, {"state": "broken", "holder": lease.data()})

    def end(self, name: str, lease: Lease, order: Transaction, result: Result) -> Result:
        if not self.check_mode:
            outcome = self.store.commit(order)
            if not outcome.succeeded and outcome.first is not None:
                return refusal(lease_of(outcome.first))
        self.note(name, lease.value["person"], "nobody")
        return {**result, "changed": True}

    def holder(self, name: str) -> Lease | None:
        """Return the lease that somebody holds."""
        found = self.store.read(read(self.keys.of("lease", name))).first
        return lease_of(found) if found else None

    def note(self, name: str, before: str, after: str) -> None:
        """Remember the holders before and after, for the diff."""
        self.lines["before"].append(f"{name}: {before}\n")
        self.lines["after"].append(f"{name}: {after}\n")


def refusal(lease: Lease) -> Result:
    """Say who was first."""
    error = f"{lease.line(now())}. Wait until it ends, or {BREAK.format(name=lease.deployment)}"
    return {"state": "refused", "error": error, "holder": lease.data()}


def now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
