#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forget former secrets where no slot uses them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slot_secrets
short_description: Forget former secrets where no slot uses them
version_added: "0.1.0"
description:
  - Looks on an application server for slots whose environment holds former secrets of their deployment.
  - As long as such a slot serves or runs, it is named, and nothing of that deployment is changed.
  - Otherwise the idle slot's environment goes, and so do the revisions that are kept with former secrets. With these secrets they could
    not run any more, so they are nothing to return to.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
options:
  former:
    description: The former secrets by deployment, each by its name.
    type: dict
    required: true
attributes:
  check_mode:
    description: Says what would be forgotten, and forgets nothing.
    support: full
  diff_mode:
    description: Would show secrets, so it shows none.
    support: none
"""

EXAMPLES = r"""
- name: Forget what nothing uses any more
  nectar.backend.slot_secrets:
    former: "{{ {'alice': environment_secrets.deployments.alice.previous} }}"
"""

RETURN = r"""
results:
  description: By deployment that has a record here or not, C(used), the slots that still need former secrets, and C(forgotten), the files that went.
  type: dict
  returned: success
  sample: {alice: {used: [], forgotten: [/var/lib/nectar/deployments/alice/revisions/ba9876543210.json]}}
"""

import os
from collections.abc import Collection, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.rotation_plan import holds, plan_forgetting
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    HOST_ARGUMENTS,
    RUNNING,
    Layout,
    all_units,
    layout_from,
    read_record,
    read_slot_units,
    show_units,
    write_record,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SLOTS, SlotError
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text

ARGUMENT_SPEC: dict[str, Any] = {**HOST_ARGUMENTS, "former": {"type": "dict", "required": True, "no_log": True}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    layout = layout_from(module.params)
    former = {name: values_of(known) for name, known in module.params["former"].items()}
    try:
        running = running_slots(module, layout, former)
        results = {name: forget(module, layout, name, values, running[name]) for name, values in former.items()}
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot look for former secrets: {error}")
    module.exit_json(changed=any(result["forgotten"] for result in results.values()), results=results)


def values_of(known: Mapping[str, Any]) -> list[str]:
    """Return the secrets among what was kept of a deployment's."""
    return [value for value in known.values() if isinstance(value, str) and value]


def running_slots(module: AnsibleModule, layout: Layout, names: Collection[str]) -> dict[str, set[str]]:
    """Return the slots of which anything runs, by deployment."""
    units = {(name, slot): all_units(read_slot_units(layout, name, slot)) for name in names for slot in SLOTS}
    states = show_units(module, [unit for entry in units.values() for unit in entry], "ActiveState")
    active = {unit for unit, state in states.items() if state.get("ActiveState") in (*RUNNING, "deactivating")}
    return {name: {slot for slot in SLOTS if active & {*units[name, slot]}} for name in names}


def forget(
    module: AnsibleModule, layout: Layout, name: str, former: Collection[str], running: Collection[str]
) -> dict[str, list[str]]:
    """Forget one deployment's former secrets, or say which slots use them."""
    environments = {stem: layout.environment(name, stem) for stem in (*SLOTS, "migrate")}
    holding = {stem: path for stem, path in environments.items() if holds(read_text(path) or "", former)}
    kept = kept_with(layout, name, former)
    record = read_record(layout, name)
    used, updated = plan_forgetting(record, [slot for slot in SLOTS if slot in holding], running, kept)
    forgotten = [] if used else [*holding.values(), *kept.values()]
    if forgotten and not module.check_mode:
        # What can be returned to goes first: nobody is led to a slot that has lost its environment.
        if updated != record:
            write_record(layout, updated)
        for path in forgotten:
            os.unlink(path)
    return {"used": used, "forgotten": forgotten}


def kept_with(layout: Layout, name: str, former: Collection[str]) -> dict[str, str]:
    """Return the kept revisions that have former secrets, with their files."""
    folder = layout.revisions(name)
    try:
        files = sorted(entry for entry in os.listdir(folder) if entry.endswith(".json"))
    except FileNotFoundError:
        return {}
    paths = {entry.removesuffix(".json"): os.path.join(folder, entry) for entry in files}
    return {revision: path for revision, path in paths.items() if holds(read_text(path) or "", former)}


if __name__ == "__main__":
    main()
