#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Send deployments' requests to the slots that shall serve them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_traffic
short_description: Send deployments' requests to the slots that shall serve them
version_added: "0.1.0"
description:
  - Writes each deployment's fragment of HAProxy's configuration and its lines in the maps of server names, under a lock of this load balancer, then
    tells every living worker of HAProxy by its runtime API and reads it back. It reloads, once for all, only where servers or names changed.
  - What takes a reload is checked whole beforehand; where HAProxy refuses it, nothing is touched.
  - A deployment of which a step is open keeps its weights, unless its own rollout says otherwise (by C(token)); a run with a lower token is refused.
  - With O(verify), it then asks each deployment over HTTPS which revision answers, and takes those back that don't get there in time.
  - Something older never replaces something newer.
  - With O(state=absent) the deployments are taken off the load balancer altogether, by their names alone.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host.deployments
  - nectar.backend.balancer
options:
  identity_port:
    description: The port on the application servers that tells which revision a slot runs.
    type: int
    default: 8010
  max_connections:
    description: Requests that one server is given at a time; more wait in the queue.
    type: int
    default: 64
  verify:
    description: Ask each changed deployment which revision answers, and take back what doesn't answer as it should.
    type: bool
    default: false
  verify_address:
    description: The address and port on which this load balancer serves HTTPS.
    type: str
    default: 127.0.0.1:443
  verify_deadline:
    description: Seconds within which the new revision must answer.
    type: int
    default: 15
  ca_file:
    description: The certificates that vouch for this load balancer.
    type: path
    default: /etc/nectar/tls/ca.crt
  revert:
    description: Take back the steps and switches of these deployments that have their generation.
    type: bool
    default: false
  state:
    description: Whether the deployments are served here; V(absent) is for those that are retired.
    type: str
    choices: [present, absent]
    default: present
  reload_patience:
    description: Seconds that a reload waits for open steps of other deployments to end. It keeps their weights, so then it goes ahead.
    type: int
    default: 30
attributes:
  check_mode:
    description: Says what would be switched.
    support: full
  diff_mode:
    description: Shows the fragments and the maps.
    support: full
"""

EXAMPLES = r"""
- name: Switch to the new slots
  nectar.backend.deployment_traffic:
    deployments: "{{ plan.steps }}"
    verify: true
"""

RETURN = r"""
results:
  description:
    - By deployment, whether it changed, C(error) where it was refused, or failed and was taken back, and C(held) where an open step keeps its weights.
  type: dict
  returned: success
  sample: {production: {changed: true}}
reloaded:
  description: Whether HAProxy was, or would be, reloaded.
  type: bool
  returned: success
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import DEPLOYMENTS_ARGUMENT
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text
from ansible_collections.nectar.backend.plugins.module_utils.traffic import (
    Files,
    Switch,
    fragment_name,
    has_web,
    plan_removal,
    plan_revert,
    plan_switches,
)
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import (
    BALANCER_ARGUMENTS,
    SETTLE_SECONDS,
    Balancer,
    Steered,
    balancer_from,
    open_rollouts,
    read_files,
    read_workers,
    steer,
    switch_weights,
)
from ansible_collections.nectar.backend.plugins.module_utils.traffic_identity import ask_revision

ARGUMENT_SPEC: dict[str, Any] = {
    **BALANCER_ARGUMENTS,
    "deployments": DEPLOYMENTS_ARGUMENT,
    "identity_port": {"type": "int", "default": 8010},
    "max_connections": {"type": "int", "default": 64},
    "verify": {"type": "bool", "default": False},
    "verify_address": {"type": "str", "default": "127.0.0.1:443"},
    "verify_deadline": {"type": "int", "default": 15},
    "ca_file": {"type": "path", "default": "/etc/nectar/tls/ca.crt"},
    "revert": {"type": "bool", "default": False},
    "reload_patience": {"type": "int", "default": 30},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
POLL_SECONDS = 0.2
Plan = Callable[[Files], Switch]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params, balancer = module.params, balancer_from(module.params)
    is_removal = params["state"] == "absent"
    deployments = [entry for entry in params["deployments"] if is_removal or has_web(entry)]
    names = [entry["name"] for entry in deployments]
    plan = choose_plan(module, deployments)
    try:
        draft = plan(read_files(balancer, names))
        refusal = check_draft(module, balancer, draft)
        if refusal:
            draft = Switch(draft.before, draft.before, refused=dict.fromkeys(names, refusal))
        if refusal or module.check_mode:
            switch, steered, failed = draft, look(balancer, names, draft), {}
        else:
            switch, steered = carry_out(module, balancer, names, plan)
            failed = verify(module, [entry for entry in deployments if entry["name"] in switch.changed])
            if failed:
                back = [entry for entry in deployments if entry["name"] in failed]
                carry_out(module, balancer, list(failed), lambda files: plan_revert(back, files))
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot switch the traffic: {error}")
    results = {name: describe(name, switch, steered, failed) for name in names}
    changed = any(result["changed"] for result in results.values())
    module.exit_json(changed=changed, results=results, reloaded=bool(steered.lacking), diff=switch.diff)


def choose_plan(module: AnsibleModule, deployments: Sequence[dict[str, Any]]) -> Plan:
    """Return what is to be made of the files."""
    params = module.params
    if params["state"] == "absent":
        return lambda files: plan_removal([entry["name"] for entry in deployments], files)
    if params["revert"]:
        return lambda files: plan_revert(deployments, files)
    return lambda files: plan_switches(deployments, files, params["identity_port"], params["max_connections"])


def describe(name: str, switch: Switch, steered: Steered, failed: dict[str, str]) -> dict[str, Any]:
    """Say what came of a deployment."""
    strayed = any(f" be_{name}/" in command for command in steered.commands)
    result: dict[str, Any] = {"changed": name in switch.changed or strayed}
    if error := {**switch.refused, **failed}.get(name):
        result["error"] = error
    if name in switch.held:
        result["held"] = switch.held[name]
    return result


def look(balancer: Balancer, names: Sequence[str], draft: Switch) -> Steered:
    """Say what the workers would be told of what is there, and whether they would be reloaded."""
    steered = steer(balancer, read_files(balancer, names), only_look=True)
    return Steered(steered.commands, ("a changed structure",) if draft.structural else steered.lacking)


def check_draft(module: AnsibleModule, balancer: Balancer, draft: Switch) -> str:
    """Return what HAProxy has against the whole configuration as it would be, or nothing."""
    if not draft.structural or module.check_mode:
        return ""
    main_file = os.path.join(balancer.directory, "haproxy.cfg")
    main_text = read_text(main_file)
    if main_text is None:
        return f"{main_file} is missing; run site.yml for this load balancer first"
    if f"{balancer.slots}" not in main_text and any(draft.after.fragments.values()):
        return f"{main_file} doesn't know {balancer.slots} yet; run site.yml for this load balancer first"
    with tempfile.TemporaryDirectory() as drafts:
        fragments = {name: read_text(os.path.join(balancer.fragments, name)) for name in cfg_names(balancer.fragments)}
        fragments |= {fragment_name(name): text for name, text in draft.after.fragments.items()}
        for name, text in fragments.items():
            if text is not None:
                replace_text(os.path.join(drafts, name), text)
        code, out, error = module.run_command(["haproxy", "-c", "-q", "-f", main_file, "-f", drafts])
    said = (error or out).strip().replace(drafts, balancer.fragments)
    return f"HAProxy refuses the configuration, so nothing was changed: {said}" if code else ""


def cfg_names(directory: str) -> list[str]:
    """Return the files that HAProxy would load from a folder."""
    return [name for name in os.listdir(directory) if name.endswith(".cfg") and name[0] != "."]


def carry_out(module: AnsibleModule, balancer: Balancer, names: Sequence[str], plan: Plan) -> tuple[Switch, Steered]:
    """Bring the switch about in files and workers, by a reload where nothing less does it."""
    draft = plan(read_files(balancer, names))
    if draft.structural:
        await_others(module, balancer, names)
        os.makedirs(balancer.run, 0o755, exist_ok=True)
        replace_text(balancer.reload_due, "")
    switch, steered = switch_weights(balancer, names, plan)
    if switch.structural or steered.lacking or os.path.exists(balancer.reload_due):
        reload_haproxy(module, balancer)
        after = steer(balancer, read_files(balancer, names))
        if after.lacking:
            raise SlotError(f"HAProxy was reloaded, but doesn't know {', '.join(after.lacking)}")
        steered = Steered((*steered.commands, *after.commands), ("a changed structure",))
    return switch, steered


def await_others(module: AnsibleModule, balancer: Balancer, names: Iterable[str]) -> None:
    """Let open steps of other deployments end, for a while: a reload leaves them an old worker and new counters."""
    deadline = time.monotonic() + module.params["reload_patience"]
    while set(open_rollouts(balancer)) - set(names) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def reload_haproxy(module: AnsibleModule, balancer: Balancer) -> None:
    """Load the configuration without closing a connection, and wait for the worker that has it."""
    before = {worker.pid for worker in read_workers(balancer) or []}
    code, _out, error = module.run_command(["systemctl", "reload-or-restart", "haproxy.service"])
    if code:
        raise SlotError(f"HAProxy did not reload: {error.strip()}")
    deadline = time.monotonic() + SETTLE_SECONDS
    while not any(worker.current and worker.pid not in before for worker in read_workers(balancer) or []):
        if time.monotonic() > deadline:
            raise SlotError("HAProxy has no new worker after its reload; journalctl -u haproxy says why")
        time.sleep(POLL_SECONDS / 4)
    if os.path.exists(balancer.reload_due):
        os.unlink(balancer.reload_due)


def verify(module: AnsibleModule, deployments: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Ask until every deployment answers with its new revision; return what was wrong with the others at the deadline."""
    if not module.params["verify"] or module.params["state"] == "absent":
        return {}
    deadline = time.monotonic() + module.params["verify_deadline"]
    waiting = list(deployments)
    while True:
        answers = {
            entry["name"]: ask_revision(module.params["verify_address"], module.params["ca_file"], entry)
            for entry in waiting
        }
        waiting = [entry for entry in waiting if answers[entry["name"]]]
        if not waiting or time.monotonic() > deadline:
            return {entry["name"]: answers[entry["name"]] for entry in waiting}
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
