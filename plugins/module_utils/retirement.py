# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may be retired, what is still there of them, and what a person types next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import normalise

OF_ACCOUNT = ("account", "keys")
OF_DATABASE = ("database", "role")
RETIRE = "ansible-playbook playbooks/retire.yml -e"


class RetirementError(ValueError):
    """Why nothing is retired, and what to do first."""


@dataclass(frozen=True)
class Registry:
    """The living and the dead, as the inventory has them."""

    deployments: Mapping[str, Mapping[str, Any]]
    members: Mapping[str, Mapping[str, Any]]
    retired: Mapping[str, Mapping[str, Any]]


def plan_retirement(
    deployment: str, member: str, registry: Registry, looks: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Return whom to retire, whether with the account, and what is there by server; refuse who isn't a tombstone."""
    if bool(deployment) == bool(member):
        raise RetirementError("name either -e deployment=NAME or -e member=NAME, and one at a time")
    name = deployment or member
    _refuse_living(name, registry)
    if name not in registry.retired:
        raise RetirementError(_unknown(name, registry, looks))
    tombstone = registry.retired[name]
    _refuse_shared(name, tombstone, registry)
    there = {
        host: [found for found in left if _is_part(found, name, bool(member), registry)] for host, left in looks.items()
    }
    there = {host: left for host, left in there.items() if left}
    return {
        "name": name,
        "tombstone": dict(tombstone),
        "with_account": bool(member),
        "there": there,
        "table": table(there, registry.retired, with_next=False),
    }


def _is_part(found: Mapping[str, Any], name: str, with_account: bool, registry: Registry) -> bool:
    return owner_of(found, registry.retired) == name and (with_account or found["kind"] not in OF_ACCOUNT)


def _refuse_living(name: str, registry: Registry) -> None:
    for section, entries in (("members", registry.members), ("deployments", registry.deployments)):
        if name in entries:
            number = entries[name]["number"]
            raise RetirementError(
                f"{name} lives: it is under {section} in the registry, so site.yml would bring it back. "
                f"Move its line to retired first, as `{name}: {{number: {number}}}` with its database, login or ports if it has any"
            )


def _unknown(name: str, registry: Registry, looks: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    found = [entry for left in looks.values() for entry in left]
    if any(entry["name"] in (name, normalise(name)) for entry in found):
        return f"{name} is on servers, but not in the registry. {_bury(name, found)}, and type this again"
    near = get_close_matches(name, registry.retired, n=1)
    known = f"did you mean {near[0]}?" if near else f"retired are {', '.join(sorted(registry.retired)) or 'none'}"
    return f"{name!r} is neither in the registry's section retired nor on any server that answered; {known}"


def _bury(name: str, found: Iterable[Mapping[str, Any]]) -> str:
    number = next((entry["number"] for entry in found if entry["name"] == name and entry["number"]), "its number")
    return f"Add `{name}: {{number: {number}}}` to retired in the registry"


def _refuse_shared(name: str, tombstone: Mapping[str, Any], registry: Registry) -> None:
    for field, holders in (
        ("database", {entry["database"]: key for key, entry in registry.deployments.items()}),
        ("login", {entry["user"]: key for key, entry in registry.members.items()}),
    ):
        if holder := holders.get(tombstone[field]):
            raise RetirementError(
                f"retired.{name}.{field}: {tombstone[field]} belongs to {holder} now; give the tombstone a {field} that nobody has"
            )


def owner_of(found: Mapping[str, Any], retired: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the tombstone that a leftover belongs to, if one does."""
    field = "login" if found["kind"] in OF_ACCOUNT else "database" if found["kind"] in OF_DATABASE else "name"
    if found["kind"] == "release":
        return None
    return next((name for name, entry in retired.items() if entry[field] == found["name"]), None)


def table(
    looks: Mapping[str, Sequence[Mapping[str, Any]]], retired: Mapping[str, Mapping[str, Any]], with_next: bool = True
) -> list[str]:
    """Return the lines of a table: whose it is, what is there, on which servers, and what to type next."""
    things: dict[tuple[str, str], list[str]] = {}
    for host, left in looks.items():
        kinds: dict[str, list[str]] = {}
        for found in left:
            kinds.setdefault(found["name"], []).append(found["kind"])
        for name, here in kinds.items():
            things.setdefault((name, ", ".join(here)), []).append(host)
    if not things:
        return []
    entries = [entry for left in looks.values() for entry in left]
    rows = [
        [name, kinds, ", ".join(hosts), *([next_step(name, entries, retired)] if with_next else [])]
        for (name, kinds), hosts in sorted(things.items())
    ]
    heading = ["name", "what", "on", *(["next"] if with_next else [])]
    widths = [max(len(row[column]) for row in [heading, *rows]) for column in range(len(heading))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heading, *rows]
    ]


def next_step(name: str, found: Sequence[Mapping[str, Any]], retired: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what to type about a name that was found."""
    mine = [entry for entry in found if entry["name"] == name]
    if all(entry["kind"] == "release" for entry in mine):
        return f"sudo rm --recursive /opt/nectar/releases/{name}"
    owner = next((owner for entry in mine if (owner := owner_of(entry, retired))), None)
    if owner is None:
        # A database bears the name of its deployment as PostgreSQL writes it.
        full = next((entry["name"] for entry in found if entry["number"] and normalise(entry["name"]) == name), name)
        return _bury(full, found)
    has_account = any(entry["kind"] in OF_ACCOUNT and owner_of(entry, retired) == owner for entry in found)
    return f"{RETIRE} {'member' if has_account else 'deployment'}={owner}"
