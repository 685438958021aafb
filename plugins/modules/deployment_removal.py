#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stop a retired deployment on a server, and remove what it has there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_removal
short_description: Stop a retired deployment on a server, and remove what it has there
version_added: "0.1.0"
description:
  - Stops and disables the units of both slots, or also removes them with the folders, the environment files, the user, and those releases that no other
    deployment on this server holds.
  - What a run that was cut off left behind is found by the next one. The record goes last.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
options:
  name:
    description: The deployment.
    type: str
    required: true
  user:
    description: Its user and group.
    type: str
    required: true
  uid:
    description: The id of both; a user of another id is somebody else's and is refused.
    type: int
    required: true
  state:
    description: Whether it only stands still, or is gone with all its files.
    type: str
    choices: [stopped, absent]
    required: true
attributes:
  check_mode:
    description: Says what would be stopped or removed.
    support: full
  diff_mode:
    description: Shows what goes.
    support: full
"""

EXAMPLES = r"""
- name: Stop the slots
  nectar.backend.deployment_removal:
    name: grace
    user: nb-grace
    uid: 30007
    state: stopped
"""

RETURN = r"""
removed:
  description: What was stopped or removed, or would be, in plain words.
  type: list
  elements: str
  returned: success
  sample: ["unit nectar-grace-blue.target", "folder /var/lib/nectar/deployments/grace", "user nb-grace"]
"""

import grp
import os
import pwd
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.deployment_removal import (
    Present,
    Removal,
    RemovalError,
    plan_removal,
)
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    HOST_ARGUMENTS,
    RUNNING,
    Layout,
    installed_releases,
    layout_from,
    read_record,
    recorded_deployments,
    reload_units,
    show_units,
    systemctl,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError

ARGUMENT_SPEC: dict[str, Any] = {
    **HOST_ARGUMENTS,
    "name": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "uid": {"type": "int", "required": True},
    "state": {"type": "str", "choices": ["stopped", "absent"], "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params, layout = module.params, layout_from(module.params)
    try:
        plan = plan_removal(params["name"], params["user"], params["uid"], read_present(layout))
        awake = find_awake(module, plan)
        if params["state"] == "absent":
            removed = describe(params["user"], plan, find_folders(layout, params["name"]), layout)
        else:
            removed = [f"unit {unit} stopped" for unit in awake]
        if not module.check_mode:
            stop(module, plan, awake)
            if params["state"] == "absent":
                remove(module, layout, plan)
    except (RemovalError, SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot remove {params['name']}: {error}")
    text = "".join(f"{line}\n" for line in removed)
    module.exit_json(changed=bool(removed), removed=removed, diff={"before": text, "after": ""})


def read_present(layout: Layout) -> Present:
    """Return what the server has."""
    try:
        units = [name for name in os.listdir(layout.units) if name.startswith("nectar-")]
    except FileNotFoundError:
        units = []
    return Present(
        units=units,
        records={name: read_record(layout, name) for name in recorded_deployments(layout)},
        releases=installed_releases(layout),
        users={entry.pw_name: entry.pw_uid for entry in pwd.getpwall()},
        groups={entry.gr_name: entry.gr_gid for entry in grp.getgrall()},
    )


def find_awake(module: AnsibleModule, plan: Removal) -> list[str]:
    """Return the units that run, or would after a reboot."""
    states = show_units(module, plan.units, "ActiveState", "UnitFileState")
    return [
        unit
        for unit, state in states.items()
        if state["ActiveState"] in RUNNING or state.get("UnitFileState") == "enabled"
    ]


def find_folders(layout: Layout, name: str) -> list[str]:
    """Return the deployment's folders that are there, the one with the record last."""
    folders = (os.path.join(layout.configuration, name), layout.deployment(name))
    return [folder for folder in folders if os.path.lexists(folder)]


def describe(user: str, plan: Removal, folders: list[str], layout: Layout) -> list[str]:
    """Say in words what goes."""
    return [
        *(f"unit {unit}" for unit in plan.units),
        *(f"release {os.path.join(layout.releases, release)}" for release in plan.releases),
        *([f"user {user}"] if plan.user else []),
        *([f"group {user}"] if plan.group else []),
        *(f"folder {folder}" for folder in folders),
    ]


def stop(module: AnsibleModule, plan: Removal, awake: list[str]) -> None:
    """Let nothing run, and nothing start."""
    if not awake:
        return
    for verb in ("disable", "stop"):
        code, error = systemctl(module, verb, plan.units)
        if code:
            raise RemovalError(f"systemctl {verb} failed: {error}")


def remove(module: AnsibleModule, layout: Layout, plan: Removal) -> None:
    """Remove everything, the record last: it says which releases were this deployment's."""
    params = module.params
    for unit in plan.units:
        os.unlink(os.path.join(layout.units, unit))
    if plan.units:
        reload_units(module)
        systemctl(module, "reset-failed", plan.units)
    for release in plan.releases:
        shutil.rmtree(os.path.join(layout.releases, release))
    if plan.user:
        run(module, "userdel", params["user"])
    # userdel takes a group of the same name along where login.defs says so.
    if params["user"] in {entry.gr_name for entry in grp.getgrall()}:
        run(module, "groupdel", params["user"])
    for folder in find_folders(layout, params["name"]):
        shutil.rmtree(folder)


def run(module: AnsibleModule, *command: str) -> None:
    """Run a command of the system's administration."""
    program = str(module.get_bin_path(command[0], required=True, opt_dirs=["/usr/sbin"]))
    module.run_command([program, *command[1:]], check_rc=True)


if __name__ == "__main__":
    main()
