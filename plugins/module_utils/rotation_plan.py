# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which secrets are replaced, who logs in meanwhile, and when the former ones have had their day. Nothing here ever says a value."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.databases import (
    SECOND_TURN,
    login_of,
    other_login,
)
from ansible_collections.nectar.backend.plugins.module_utils.environment_secrets import PREVIOUS
from ansible_collections.nectar.backend.plugins.module_utils.revisions import environment_file
from ansible_collections.nectar.backend.plugins.module_utils.slots import Record, SlotError, choose_deployments

DEPLOYMENT_KINDS = ("database", "application")
KINDS = (*DEPLOYMENT_KINDS, "certificates")
ALL = "all"
PASSWORD = "database_password"
BY_HAND = (
    "secrets=environment: the environment's own secrets are not rotated by this playbook, for some take a restart. By hand, one at a time: "
    "put the new value into environment_secrets, then, for postgresql.replication_password and postgresql.rewind_password, "
    "`ALTER ROLE replicator PASSWORD '…'` or `ALTER ROLE rewind PASSWORD '…'` on the primary and at once site.yml --tags postgresql, whose "
    "reload hands it to every member: standbys that stream go on, and one that reconnects in between tries again; "
    "for patroni.rest_password site.yml --tags postgresql, a reload of each member; "
    "for backups.cipher_key a new repository: no backup can be read by another key, so see docs/backups.md first"
)


class RotationError(ValueError):
    """Why nothing is rotated, and what to do first."""


def read_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Check which kinds of secrets are asked for; none means those of deployments."""
    if "environment" in kinds:
        raise RotationError(BY_HAND)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise RotationError(f"secrets: {unknown[0]!r} is no kind of secrets; take some of {', '.join(KINDS)}")
    return tuple(kinds) or DEPLOYMENT_KINDS


def plan_rotation(
    deployments: Mapping[str, Mapping[str, Any]],
    applications: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    kinds: Sequence[str],
    is_in_file: bool,
) -> dict[str, Any]:
    """Say which deployments' secrets are replaced by what (None is a value to make), what goes on, and all of it in plain words.

    Secrets that a vault keeps are renewed by a person: then only what was renewed there is rotated.
    """
    wanted = [kind for kind in read_kinds(kinds) if kind in DEPLOYMENT_KINDS]
    renew: dict[str, bool | None] = {}
    lines, problems, going = [], [], []
    for name in _chosen(deployments, names) if wanted else ():
        own = secrets.get(name) or {}
        left = own.get(PREVIOUS) or {}
        found = _renewed(deployments[name], applications, own, wanted)
        if left:
            problems += _problems_of(name, own)
            going.append(name)
            lines.append(
                f"{name}: {_listed(left)} {_verb(left, 'was', 'were')} renewed before, and what is left of that is done"
            )
        elif not found:
            lines.append(f"{name}: it has no secrets of the kind {' or '.join(wanted)}")
        elif not is_in_file:
            problems.append(_by_hand(name, own, found))
        else:
            renew |= {f"deployments.{name}.{key}": value for key, value in found.items()}
            going.append(name)
            lines.append(
                f"{name}: {_listed(found)} {_verb(found, 'is', 'are')} renewed{_turn(deployments[name], own, found)}"
            )
    if problems:
        raise RotationError("\n".join(problems))
    return {"names": going, "renew": renew, "lines": [*lines, *(_order(going) if going else [])]}


def database_logins(
    deployments: Mapping[str, Mapping[str, Any]], secrets: Mapping[str, Mapping[str, Any]], settled: Collection[str]
) -> dict[str, dict[str, str]]:
    """Say by deployment who logs in to its database, and by which password; while one replaces another, who else does.

    `settled` names deployments whose former login nothing uses any more, though its password is still known.
    """
    return {
        name: _logins_of(name, entry, secrets.get(name) or {}, name in settled) for name, entry in deployments.items()
    }


def plan_forgetting(
    record: Record, holding: Collection[str], running: Collection[str], kept: Collection[str]
) -> tuple[list[str], Record]:
    """Say which slots still use former secrets, and what a host remembers once it has forgotten them.

    `holding` are the slots whose environment has them, `kept` the revisions that can be made anew and have them. What serves or runs
    is used, and as long as one is, nothing is forgotten.
    """
    used = sorted(slot for slot in holding if slot in running or slot == record.active)
    if used:
        return used, record
    gone = {*kept, *(record.slots[slot].revision for slot in holding if slot in record.slots)}
    slots = {slot: content for slot, content in record.slots.items() if slot not in holding}
    return [], replace(
        record, slots=slots, past=tuple(content for content in record.past if content.revision not in gone)
    )


def holds(text: str, former: Iterable[str]) -> bool:
    """Say whether a file of a slot, or what is kept of a revision, has one of these secrets, in whichever way it is written there."""
    return any(spelling in text for value in former for spelling in _spellings(value))


def secrets_in_use(
    names: Iterable[str], deployments: Mapping[str, Mapping[str, Any]], looks: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Say whose former secrets are still needed, and why; a server that didn't answer may run anything."""
    found = {}
    for name in names:
        silent = [host for host in deployments[name]["hosts"] if name not in (looks.get(host) or {})]
        using = [
            f"slot {' and '.join(looks[host][name]['used'])} on {host}"
            for host in deployments[name]["hosts"]
            if host not in silent and looks[host][name]["used"]
        ]
        reasons = [
            *([f"{' and '.join(silent)} did not answer"] if silent else []),
            *([f"{', '.join(using)} has the former ones"] if using else []),
        ]
        if reasons:
            found[name] = "; ".join(reasons)
    return found


def _chosen(deployments: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        raise RotationError(
            "whose secrets are rotated? Say -e deployment=alice, or several with commas, or -e deployment=all"
        )
    if list(names) == [ALL]:
        return tuple(deployments)
    try:
        return choose_deployments(deployments, names, ())
    except SlotError as error:
        raise RotationError(str(error)) from error


def _renewed(
    deployment: Mapping[str, Any],
    applications: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Any],
    kinds: Collection[str],
) -> dict[str, bool | None]:
    """Return what is renewed: a password gets the other login, so that both can be valid for a while."""
    found: dict[str, bool | None] = {}
    if "database" in kinds and deployment.get("database"):
        found |= {PASSWORD: None, SECOND_TURN: not own.get(SECOND_TURN)}
    if "application" in kinds:
        found |= dict.fromkeys(applications[deployment["application"]].get("secrets") or ())
    return found


def _logins_of(name: str, deployment: Mapping[str, Any], own: Mapping[str, Any], is_settled: bool) -> dict[str, str]:
    role, left = deployment["database_role"], own.get(PREVIOUS) or {}
    login = login_of(role, own) if role else ""
    former = "" if is_settled else left.get(PASSWORD) or ""
    if former and (problems := _problems_of(name, own)):
        raise RotationError("; ".join(problems))
    return {
        "database": deployment["database"],
        "role": role,
        "login": login,
        "password": own.get(PASSWORD) or "",
        "former_login": other_login(role, login) if former else "",
        "former_password": former,
    }


def _problems_of(name: str, own: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with secrets that are there twice; a person may have written them."""
    where, left = f"environment_secrets.deployments.{name}", own.get(PREVIOUS)
    if not isinstance(left, Mapping):
        return [f"{where}.{PREVIOUS}: it holds no mapping; put what each renewed secret was there, by its name"]
    problems = [
        f"{where}.{PREVIOUS}.{key}: it is the present value; write a new one"
        for key in left
        if key != SECOND_TURN and left[key] == own.get(key)
    ]
    if PASSWORD in left and bool(own.get(SECOND_TURN)) == bool(left.get(SECOND_TURN)):
        problems.append(
            f"{where}: both passwords are for one login, and it can have but one; the role's two logins take turns, so "
            f"{_turn_by_hand(not left.get(SECOND_TURN))}"
        )
    return problems


def _by_hand(name: str, own: Mapping[str, Any], found: Mapping[str, bool | None]) -> str:
    turn = f"; {_turn_by_hand(bool(found[SECOND_TURN]))}" if SECOND_TURN in found else ""
    moved = f" and {SECOND_TURN}" if SECOND_TURN in found and own.get(SECOND_TURN) else ""
    return (
        f"environment_secrets.deployments.{name}: a vault keeps it, so a person renews it. Move {_listed(found)}{moved} "
        f"below {PREVIOUS}, put new values in their place{turn}; then run this again"
    )


def _turn_by_hand(is_second: bool) -> str:
    return f"write {SECOND_TURN}: true beside {PASSWORD}" if is_second else f"leave {SECOND_TURN} out beside {PASSWORD}"


def _turn(deployment: Mapping[str, Any], own: Mapping[str, Any], found: Mapping[str, bool | None]) -> str:
    if SECOND_TURN not in found:
        return ""
    role = deployment["database_role"]
    login = login_of(role, own)
    return f", and the login {other_login(role, login)} takes over from {login}"


def _order(names: Sequence[str]) -> list[str]:
    return [
        f"1. the database and the poolers let in the new login beside the former one, for {', '.join(names)}",
        "2. what serves is released again with the new secrets, through its own steps and gates; a fallback still finds the former ones valid",
        "3. once no slot has the former ones, they are forgotten, the former login is closed, and its sessions end",
    ]


def _listed(names: Iterable[str]) -> str:
    shown = [name for name in names if name != SECOND_TURN]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _verb(names: Collection[str], one: str, many: str) -> str:
    return one if len([name for name in names if name != SECOND_TURN]) == 1 else many


def _spellings(value: str) -> set[str]:
    """A value as it is, as an environment file has it, and both within JSON."""
    quoted = environment_file({"v": value}).removeprefix('v="').removesuffix('"\n')
    return {value, quoted, json.dumps(value)[1:-1], json.dumps(quoted)[1:-1]}
