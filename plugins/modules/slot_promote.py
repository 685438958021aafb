#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make slots the ones that serve, and retire those that did."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slot_promote
short_description: Make slots the ones that serve, and retire those that did
version_added: "0.1.0"
description:
  - Writes the record of each deployment, so that the slot is the one that starts after a reboot; moves its timers there.
  - Notes what served as the first to be returned to, unless the deployment C(returns) itself.
  - Then waits until the former slots have no connections left, stops them, and removes revisions and releases that nobody needs any more.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
  - nectar.backend.deployment_host.deployments
options:
  drain_deadline:
    description: Seconds a former slot may keep connections before it is told to stop anyway.
    type: int
    default: 30
  keep_releases:
    description:
      - How many revisions of each deployment can be returned to, and how many releases of each application stay installed, beside what a slot
        holds. The last good revision always stays, with its release.
    type: int
    default: 3
attributes:
  check_mode:
    description: Says what would be promoted.
    support: full
  diff_mode:
    description: Shows the records.
    support: full
"""

EXAMPLES = r"""
- name: Promote the slots
  nectar.backend.slot_promote:
    deployments: "{{ plan.steps }}"
"""

RETURN = r"""
results:
  description: By deployment, the slot that serves.
  type: dict
  returned: success
  sample: {production: {slot: green}}
pruned:
  description: The releases that were removed.
  type: list
  elements: str
  returned: success
  sample: [orders-0123456789ab]
forgotten:
  description: The revisions that are not kept any more, as files.
  type: list
  elements: str
  returned: success
  sample: [/var/lib/nectar/deployments/production/revisions/ba9876543210.json]
"""

import os
import shutil
import time
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.outcome_copies import bad_revisions
from ansible_collections.nectar.backend.plugins.module_utils.readiness import established_ports
from ansible_collections.nectar.backend.plugins.module_utils.releases import releases_to_prune
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    DEPLOYMENTS_ARGUMENT,
    HOST_ARGUMENTS,
    Layout,
    all_units,
    installed_releases,
    is_serving,
    layout_from,
    read_kept,
    read_outcomes,
    read_record,
    read_slot_units,
    recorded_deployments,
    show_units,
    systemctl,
    write_record,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import (
    Record,
    SlotError,
    other,
    promote,
    record_text,
    revisions_to_prune,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text

POLL_SECONDS = 0.3

ARGUMENT_SPEC: dict[str, Any] = {
    **HOST_ARGUMENTS,
    "deployments": DEPLOYMENTS_ARGUMENT,
    "drain_deadline": {"type": "int", "default": 30},
    "keep_releases": {"type": "int", "default": 3},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    layout, deployments = layout_from(module.params), module.params["deployments"]
    try:
        records = {entry["name"]: read_record(layout, entry["name"]) for entry in deployments}
        updated = plan_records(module, layout, deployments, records)
        changed = [name for name, record in updated.items() if record != records[name]]
        units = {entry["name"]: read_slot_units(layout, entry["name"], entry["slot"]) for entry in deployments}
        unsettled = changed or not all_serve(module, units)
        if unsettled and not module.check_mode:
            settle(module, layout, deployments, updated, units)
        forgotten, pruned = prune(module, layout)
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot promote: {error}")
    module.exit_json(
        changed=bool(unsettled or pruned or forgotten),
        results={entry["name"]: {"slot": entry["slot"]} for entry in deployments},
        pruned=pruned,
        forgotten=forgotten,
        diff=[show(layout, records[name], updated[name]) for name in changed],
    )


def plan_records(
    module: AnsibleModule, layout: Layout, deployments: list[dict[str, Any]], records: dict[str, Record]
) -> dict[str, Record]:
    """Return the records as they are to be; in check mode a slot may not be prepared yet."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        entry["name"]: promote(
            records[entry["name"]],
            entry["slot"],
            entry["generation"],
            now,
            bool(entry.get("returns")),
            bad_revisions(read_outcomes(layout, entry["name"])),
            module.params["keep_releases"],
        )
        for entry in deployments
        if not module.check_mode or entry["slot"] in records[entry["name"]].slots
    }


def all_serve(module: AnsibleModule, units: dict[str, dict[str, list[str]]]) -> bool:
    """Say whether nothing is left to enable or to start."""
    states = show_units(
        module, [unit for entry in units.values() for unit in all_units(entry)], "ActiveState", "UnitFileState"
    )
    return all(is_serving(entry, states) for entry in units.values())


def settle(
    module: AnsibleModule,
    layout: Layout,
    deployments: list[dict[str, Any]],
    records: dict[str, Record],
    units: dict[str, dict[str, list[str]]],
) -> None:
    """Write the records, then let systemd follow them."""
    for record in records.values():
        write_record(layout, record)
    former = {entry["name"]: read_slot_units(layout, entry["name"], other(entry["slot"])) for entry in deployments}
    enable = [unit for entry in units.values() for unit in (*entry["target"], *entry["timers"])]
    disable = [unit for entry in former.values() for unit in (*entry.get("target", ()), *entry.get("timers", ()))]
    for verb, names in (
        ("disable", disable),
        ("enable", enable),
        ("stop", [unit for entry in former.values() for unit in entry.get("timers", ())]),
        ("start", [unit for entry in units.values() for unit in entry["timers"]]),
    ):
        code, error = systemctl(module, verb, names)
        if code:
            raise SlotError(f"systemctl {verb} failed: {error}")
    drain(module, [entry["ports"][other(entry["slot"])] for entry in deployments if former[entry["name"]]])
    systemctl(module, "stop", [unit for entry in former.values() for unit in all_units(entry)])


def drain(module: AnsibleModule, ports: list[int]) -> None:
    """Wait until nobody is connected to the former slots, twice in a row, or until the deadline."""
    deadline, calm = time.monotonic() + module.params["drain_deadline"], 0
    while calm < 2 and time.monotonic() < deadline:
        tables = [read_text(path) or "" for path in ("/proc/net/tcp", "/proc/net/tcp6")]
        calm = 0 if established_ports(tables) & set(ports) else calm + 1
        time.sleep(POLL_SECONDS if ports else 0)


def prune(module: AnsibleModule, layout: Layout) -> tuple[list[str], list[str]]:
    """Remove revisions that nobody returns to, and releases that no slot and no kept revision holds, but for the newest."""
    forgotten: list[str] = []
    used: set[str] = set()
    keep = module.params["keep_releases"]
    for name in recorded_deployments(layout):
        record, kept = read_record(layout, name), read_kept(layout, name)
        surplus = revisions_to_prune(record, kept, keep)
        forgotten += [layout.revision(name, content.revision) for content in surplus]
        used |= {content.release for content in (*record.slots.values(), *kept) if content not in surplus}
    prunable = releases_to_prune(installed_releases(layout), used, keep)
    if not module.check_mode:
        for path in forgotten:
            os.unlink(path)
        for release in prunable:
            shutil.rmtree(os.path.join(layout.releases, release))
    return forgotten, list(prunable)


def show(layout: Layout, before: Record, after: Record) -> dict[str, str]:
    """Show a record's change."""
    path = layout.record(before.deployment)
    return {"before_header": path, "after_header": path, "before": record_text(before), "after": record_text(after)}


if __name__ == "__main__":
    main()
