#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put revisions into slots, ready to be started."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slot_prepare
short_description: Put revisions into slots, ready to be started
version_added: "0.1.0"
description:
  - Writes the units, the environment files and the identity of a slot for each deployment, and notes in the record what the slot holds.
  - A slot whose files change is stopped first, so that it never runs anything but what it says.
  - Keeps for root alone what the revision consists of, for either slot, so that one can be made to hold it again. A deployment that
    is C(kept) comes from there, as it was, and neither its secrets nor its settings of today are asked.
  - Nothing is started. What fails for one deployment is reported for that one; the others go on.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
  - nectar.backend.deployment_host.deployments
options:
  host:
    description: The name by which the identity knows this server.
    type: str
    required: true
  address:
    description: The address on which web processes listen.
    type: str
    required: true
  secrets:
    description: The secrets of each deployment, by its name.
    type: dict
    default: {}
  pooler:
    description: The way to the database for processes, as C(host), C(port) and C(query).
    type: dict
    required: true
  direct:
    description: The way to the database for migrations, as C(host), C(port) and C(query).
    type: dict
    required: true
  limits:
    description:
      - What each process may use, as C(memory_max) in megabytes, C(tasks_max), C(stop_timeout) and C(migrate_timeout) in seconds,
        and, for a statement of a migration, C(migrate_lock_timeout) and C(migrate_statement_timeout).
    type: dict
    required: true
  migration_only:
    description: Prepare the migrations alone, and leave the slots as they are.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows units and identities; of environment files only that they change.
    support: full
"""

EXAMPLES = r"""
- name: Prepare the idle slots
  nectar.backend.slot_prepare:
    deployments: "{{ plan.steps }}"
    host: "{{ inventory_hostname }}"
    address: 192.0.2.21
    secrets: "{{ deployment_secrets }}"
    pooler: {host: 127.0.0.1, port: 6432}
    direct: {host: primary.example.net, port: 5433, query: "?sslmode=verify-full"}
    limits: {memory_max: 160, tasks_max: 64, stop_timeout: 30, migrate_timeout: 900}
"""

RETURN = r"""
results:
  description: By deployment, which files were written, and C(error) where it failed.
  type: dict
  returned: success
  sample: {production: {changed: [/etc/systemd/system/nectar-production-green.target]}}
"""

import grp
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.revisions import DatabaseEndpoint
from ansible_collections.nectar.backend.plugins.module_utils.slot_content import (
    Endpoints,
    HostView,
    SlotFile,
    kept_files,
    kept_revision,
    migration_files,
    slot_files,
)
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    DEPLOYMENTS_ARGUMENT,
    HOST_ARGUMENTS,
    all_units,
    layout_from,
    read_record,
    read_slot_units,
    reload_units,
    systemctl,
    write_record,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError, content_of, prepare
from ansible_collections.nectar.backend.plugins.module_utils.text_files import UNCHANGED, read_text, replace_text
from ansible_collections.nectar.backend.plugins.module_utils.units import Limits

ARGUMENT_SPEC: dict[str, Any] = {
    **HOST_ARGUMENTS,
    "deployments": DEPLOYMENTS_ARGUMENT,
    "host": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "pooler": {"type": "dict", "required": True},
    "direct": {"type": "dict", "required": True},
    "limits": {"type": "dict", "required": True},
    "migration_only": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    view = HostView(
        params["host"],
        params["address"],
        Endpoints(DatabaseEndpoint(**params["pooler"]), DatabaseEndpoint(**params["direct"])),
        Limits(**params["limits"]),
        layout_from(params),
    )
    results: dict[str, dict[str, Any]] = {}
    diffs: list[dict[str, str]] = []
    for deployment in params["deployments"]:
        name = deployment["name"]
        secrets = params["secrets"].get(name, {})
        try:
            if params["migration_only"]:
                results[name] = prepare_migration(module, view, deployment, secrets, diffs)
                continue
            kept, wanted = revision_files(view, deployment, secrets)
            results[name] = prepare_slot(module, view, deployment, wanted, diffs)
            results[name]["changed"] += keep_revision(module, view, deployment, kept)
        except (SlotError, OSError, KeyError) as error:
            results[name] = {"changed": [], "error": f"cannot prepare slot {deployment['slot']}: {error}"}
    written = any(result["changed"] for result in results.values())
    if written and not module.check_mode:
        reload_units(module)
    module.exit_json(changed=written, results=results, diff=diffs)


def prepare_migration(
    module: AnsibleModule,
    view: HostView,
    deployment: dict[str, Any],
    secrets: dict[str, str],
    diffs: list[dict[str, str]],
) -> dict[str, Any]:
    """Bring about what a migration takes; both slots, and the record, stay as they are."""
    files = migration_files(deployment, slot_files(deployment, secrets, view), view.layout)
    before = {path: read_text(path) for path in files}
    differing = [path for path, file in files.items() if before[path] != file.text]
    diffs += [show(path, before[path], files[path]) for path in differing]
    if not module.check_mode:
        check_release(view, deployment)
        for path in differing:
            write(path, files[path], deployment["user"])
    return {"changed": differing}


def prepare_slot(
    module: AnsibleModule,
    view: HostView,
    deployment: dict[str, Any],
    wanted: dict[str, SlotFile],
    diffs: list[dict[str, str]],
) -> dict[str, Any]:
    """Bring one slot's files about, and remember what it holds."""
    name, slot = deployment["name"], deployment["slot"]
    before = {path: read_text(path) for path in wanted}
    differing = [path for path, file in wanted.items() if before[path] != file.text]
    former_units = read_slot_units(view.layout, name, slot)
    stale = stale_files(view, former_units, wanted)
    record = read_record(view.layout, name)
    updated = prepare(record, slot, content_of(deployment))
    diffs += [show(path, before[path], wanted[path]) for path in differing]
    if not module.check_mode:
        check_release(view, deployment)
        if differing or stale:
            systemctl(module, "stop", all_units(former_units))
        for path in stale:
            os.unlink(path)
        for path in differing:
            write(path, wanted[path], deployment["user"])
        if updated != record:
            write_record(view.layout, updated)
    noted = [view.layout.record(name)] if updated != record else []
    return {"changed": [*stale, *differing, *noted]}


def revision_files(
    view: HostView, deployment: dict[str, Any], secrets: dict[str, str]
) -> tuple[str, dict[str, SlotFile]]:
    """Return what is to be kept of a revision, and its slot's files: as they were kept, or by the settings of today."""
    if deployment.get("kept"):
        text = read_revision(view, deployment)
        return text, kept_files(text, deployment["slot"])
    return kept_revision(deployment, secrets, view), slot_files(deployment, secrets, view)


def read_revision(view: HostView, deployment: dict[str, Any]) -> str:
    """Return what is kept of a revision."""
    path = view.layout.revision(deployment["name"], deployment["revision"])
    text = read_text(path)
    if text is None:
        raise SlotError(
            f"{path} is missing, so revision {deployment['revision']} can't be made anew; deploy another one"
        )
    return text


def keep_revision(module: AnsibleModule, view: HostView, deployment: dict[str, Any], text: str) -> list[str]:
    """Keep what the revision consists of, for a way back; it holds secrets, and only root makes slots."""
    path = view.layout.revision(deployment["name"], deployment["revision"])
    if read_text(path) == text:
        return []
    if not module.check_mode:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        replace_text(path, text, 0o600)
    return [path]


def stale_files(view: HostView, units: dict[str, list[str]], wanted: dict[str, SlotFile]) -> list[str]:
    """Return the units of processes that the slot has no more."""
    paths = [os.path.join(view.layout.units, unit) for unit in all_units(units)]
    return [path for path in paths if path not in wanted and os.path.exists(path)]


def check_release(view: HostView, deployment: dict[str, Any]) -> None:
    """Refuse a release that isn't here, or that has no such program."""
    release = os.path.join(view.layout.releases, deployment["release"])
    if not os.path.isdir(release):
        raise SlotError(f"release {deployment['release']} is not installed; it should have been shipped before")
    if deployment.get("kept"):
        # It ran from there; the programs of today's registry are another revision's.
        return
    commands = [*(process["command"] for process in deployment["processes"].values()), *deployment["migrate"]]
    programs = {command.split()[0].strip("\"'") for command in commands}
    missing = sorted(
        name for name in programs if "/" not in name and not os.access(os.path.join(release, "bin", name), os.X_OK)
    )
    if missing:
        raise SlotError(
            f"the release has no program {', '.join(missing)}; it has {', '.join(sorted(os.listdir(os.path.join(release, 'bin'))))}"
        )


def write(path: str, file: SlotFile, user: str) -> None:
    """Write one file; what is secret is for root and the deployment's own group."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    if file.secret:
        replace_text(path, file.text, 0o640, (UNCHANGED, grp.getgrnam(user).gr_gid))
    else:
        replace_text(path, file.text)


def show(path: str, before: str | None, after: SlotFile) -> dict[str, str]:
    """Show what changes in a file; of a secret one, only that it does."""
    if after.secret:
        return {"prepared": f"{path}: {'new' if before is None else 'other'} values, not shown\n"}
    return {"before_header": path, "after_header": path, "before": before or "", "after": after.text}


if __name__ == "__main__":
    main()
