# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that a slot consists of on a host, as texts by path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.revisions import (
    DatabaseEndpoint,
    environment_file,
    render_environment,
    revision_id,
    values_for,
)
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import Layout
from ansible_collections.nectar.backend.plugins.module_utils.slots import SLOTS, content_of
from ansible_collections.nectar.backend.plugins.module_utils.traffic import render_fragment
from ansible_collections.nectar.backend.plugins.module_utils.units import (
    Limits,
    Paths,
    identity_unit,
    migrate_unit,
    migration_unit,
    migration_variables,
    process_units,
    slot_units,
    target_unit,
    timer_units,
)

# Addresses and names that stand for those of any host and slot: a revision is the same on all of them.
ANY_ADDRESS, ANY_SLOT = "192.0.2.1", SLOTS[0]
ANY_LAYOUT = Layout("/var/lib/nectar", "/etc/nectar/deployments", "/etc/systemd/system", "/opt/nectar/releases")


@dataclass(frozen=True)
class SlotFile:
    """A file of a slot; what is secret is readable by the deployment's group alone, and never shown."""

    text: str
    secret: bool = False


@dataclass(frozen=True)
class Endpoints:
    """The two ways to the database."""

    pooler: DatabaseEndpoint
    direct: DatabaseEndpoint


@dataclass(frozen=True)
class HostView:
    """What decides about a slot's files beside the deployment: the host, the ways to the database, limits and places."""

    host: str
    address: str
    endpoints: Endpoints
    limits: Limits
    layout: Layout


def slot_files(deployment: Mapping[str, Any], secrets: Mapping[str, str], view: HostView) -> dict[str, SlotFile]:
    """Return the files of the slot that the deployment is to run in."""
    name, slot, layout = deployment["name"], deployment["slot"], view.layout
    paths = _paths(deployment, slot, layout, slot)
    running = _values(deployment, view, view.endpoints.pooler, secrets)
    # By this name gunicorn and others learn it by themselves.
    workers = {"WEB_CONCURRENCY": running["workers"]} if deployment.get("share") else {}
    files = {
        layout.environment(name, slot): SlotFile(
            environment_file({**workers, **render_environment(deployment["environment"], running)}), secret=True
        ),
        layout.identity(name, slot): SlotFile(_json(identity(deployment, view.host))),
        layout.slot_units(name, slot): SlotFile(_json(unit_names(deployment))),
    }
    units = slot_units(deployment, slot, running, paths, view.limits)
    if deployment["migrate"]:
        migrating = _values(deployment, view, view.endpoints.direct, secrets)
        files[layout.environment(name, "migrate")] = SlotFile(
            environment_file(
                {
                    **migration_variables(deployment, view.limits),
                    **render_environment(deployment["environment"], migrating),
                }
            ),
            secret=True,
        )
        units |= migration_unit(deployment, migrating, _paths(deployment, slot, layout, "migrate"), view.limits)
    return files | {f"{layout.units}/{unit}": SlotFile(text) for unit, text in units.items()}


def kept_revision(deployment: Mapping[str, Any], secrets: Mapping[str, str], view: HostView) -> str:
    """Return all from which either slot can be made to hold this revision again; a way back migrates nothing."""
    slots = {slot: slot_files({**deployment, "slot": slot, "migrate": []}, secrets, view) for slot in SLOTS}
    files = {slot: {path: asdict(file) for path, file in found.items()} for slot, found in slots.items()}
    return _json({"content": asdict(content_of(deployment)), "files": files})


def kept_files(text: str, slot: str) -> dict[str, SlotFile]:
    """Return a slot's files as they were kept."""
    return {path: SlotFile(**file) for path, file in json.loads(text)["files"][slot].items()}


def migration_files(
    deployment: Mapping[str, Any], files: Mapping[str, SlotFile], layout: Layout
) -> dict[str, SlotFile]:
    """Return those of a slot's files that a migration takes: they are no part of either slot."""
    name = deployment["name"]
    paths = (layout.environment(name, "migrate"), f"{layout.units}/{migrate_unit(name)}")
    return {path: files[path] for path in paths if path in files}


def unit_names(deployment: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of a slot's units, by what they are."""
    name, slot, processes = deployment["name"], deployment["slot"], deployment["processes"]
    return {
        "target": [target_unit(name, slot)],
        "services": [*process_units(name, slot, processes, "web", "worker"), identity_unit(name, slot)],
        "timers": timer_units(name, slot, processes),
        "jobs": process_units(name, slot, processes, "timer"),
    }


def identity(deployment: Mapping[str, Any], host: str) -> dict[str, str]:
    """Return what a slot says of itself."""
    return {
        "deployment": deployment["name"],
        "application": deployment["application"],
        "release": deployment["release"],
        "revision": deployment["revision"],
        "slot": deployment["slot"],
        "host": host,
        "database": deployment["database"] or "",
    }


def revision_of(
    deployment: Mapping[str, Any],
    secrets: Mapping[str, str],
    endpoints: Endpoints,
    limits: Limits,
    identity_port: int,
    max_connections: int,
) -> str:
    """Return the checksum over the release, everything rendered for it, and the load balancer's fragment."""
    anywhere = {**deployment, "slot": ANY_SLOT, "revision": ""}
    files = slot_files(anywhere, secrets, HostView("", ANY_ADDRESS, endpoints, limits, ANY_LAYOUT))
    return revision_id(
        {
            "release": deployment["release"],
            "files": {path: asdict(file) for path, file in files.items()},
            "fragment": render_fragment(anywhere, ANY_SLOT, identity_port, max_connections),
        }
    )


def _values(
    deployment: Mapping[str, Any], view: HostView, endpoint: DatabaseEndpoint, secrets: Mapping[str, str]
) -> dict[str, str]:
    shared = view.layout.shared(deployment["name"])
    return values_for(deployment, deployment["slot"], deployment["release"], view.address, endpoint, secrets, shared)


def _paths(deployment: Mapping[str, Any], slot: str, layout: Layout, environment: str) -> Paths:
    name = deployment["name"]
    return Paths(
        release=f"{layout.releases}/{deployment['release']}",
        shared=layout.shared(name),
        environment_file=layout.environment(name, environment),
        identity_file=layout.identity(name, slot),
    )


def _json(data: object) -> str:
    return json.dumps(data, sort_keys=True) + "\n"
