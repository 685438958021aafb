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
ENVIRONMENT = "environment"
KINDS = (*DEPLOYMENT_KINDS, ENVIRONMENT, "certificates")
ALL = "all"
PASSWORD = "database_password"
# The environment's own secrets that are replaced, by the part of its secrets that holds them; those of LOGINS are for roles with two logins each.
PARTS = {"postgresql": ("replication_password", "rewind_password"), "patroni": ("rest_password",)}
LOGINS = "postgresql"
STAYS = (
    "backups.cipher_key stays as it is, for no backup can be read by another key. By hand: move the repository's folder aside, put a new value "
    "into environment_secrets, then site.yml --tags backups, which begins a new repository; keep folder and key as long as somebody may need its backups"
)
ENVIRONMENT_ORDER = (
    "1. every member takes Patroni's new password, and the primary lets the new logins in beside the former ones",
    "2. one member after the other takes the new logins, and streams by its own before the next is touched",
    "3. the former logins are closed, by which no standby streams any more",
)


class RotationError(ValueError):
    """Why nothing is rotated, and what to do first."""


def read_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Check which kinds of secrets are asked for; none means those of deployments."""
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
    environment: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say which secrets are replaced by what (None is a value to make), what goes on, and all of it in plain words.

    `environment` are the environment's own, by their parts. Secrets that a vault keeps are renewed by a person: then only what was renewed there is rotated.
    """
    wanted = [kind for kind in read_kinds(kinds) if kind in DEPLOYMENT_KINDS]
    renew: dict[str, bool | None] = {}
    lines, problems, going = [], [], []
    for name in _chosen(deployments, names) if wanted else ():
        own = secrets.get(name) or {}
        left = own.get(PREVIOUS) or {}
        found = _renewed(deployments[name], applications, own, wanted)
        if left:
            problems += _problems_of(_place(name), own)
            going.append(name)
            lines.append(_goes_on(name, left))
        elif not found:
            lines.append(f"{name}: it has no secrets of the kind {' or '.join(wanted)}")
        elif not is_in_file:
            problems.append(_by_hand(_place(name), own, found))
        else:
            renew |= {f"deployments.{name}.{key}": value for key, value in found.items()}
            going.append(name)
            lines.append(
                f"{name}: {_listed(found)} {_verb(found, 'is', 'are')} renewed{_turn(deployments[name], own, found)}"
            )
    lines += _order(going) if going else []
    parts: list[str] = []
    if ENVIRONMENT in kinds:
        parts, own_renew, own_lines, own_problems = _plan_environment(environment or {}, is_in_file)
        renew |= own_renew
        lines += own_lines
        problems += own_problems
    if problems:
        raise RotationError("\n".join(problems))
    return {"names": going, "parts": parts, "renew": renew, "lines": lines}


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
    if former and (problems := _problems_of(_place(name), own)):
        raise RotationError("; ".join(problems))
    return {
        "database": deployment["database"],
        "role": role,
        "login": login,
        "password": own.get(PASSWORD) or "",
        "former_login": other_login(role, login) if former else "",
        "former_password": former,
    }


def _plan_environment(
    secrets: Mapping[str, Any], is_in_file: bool
) -> tuple[list[str], dict[str, bool | None], list[str], list[str]]:
    """Say which parts of the environment's own secrets are replaced, by what, in plain words, and what is wrong."""
    renew: dict[str, bool | None] = {}
    going, lines, problems = [], [], []
    is_begun = any((secrets.get(part) or {}).get(PREVIOUS) for part in PARTS)
    for part, keys in PARTS.items():
        own = secrets.get(part) or {}
        left = own.get(PREVIOUS)
        found: dict[str, bool | None] = dict.fromkeys(keys)
        if part == LOGINS:
            found[SECOND_TURN] = not own.get(SECOND_TURN)
        if left:
            problems += _problems_of(f"environment_secrets.{part}", own, keys if part == LOGINS else ())
            going.append(part)
            lines.append(_goes_on(part, left))
        elif is_in_file:
            renew |= {f"{part}.{key}": value for key, value in found.items()}
            going.append(part)
            turn = f", and the {_ordinal(own)} logins take over" if part == LOGINS else ""
            lines.append(f"{part}: {_listed(found)} {_verb(found, 'is', 'are')} renewed{turn}")
        elif not is_begun:
            problems.append(_by_hand(f"environment_secrets.{part}", own, found))
    lines += ENVIRONMENT_ORDER if going else []
    return going, renew, [*lines, *([STAYS] if "backups" in secrets else [])], problems


def _place(name: str) -> str:
    return f"environment_secrets.deployments.{name}"


def _goes_on(name: str, left: Mapping[str, Any]) -> str:
    return f"{name}: {_listed(left)} {_verb(left, 'was', 'were')} renewed before, and what is left of that is done"


def _ordinal(own: Mapping[str, Any]) -> str:
    return "first" if own.get(SECOND_TURN) else "second"


def _problems_of(where: str, own: Mapping[str, Any], passwords: Sequence[str] = (PASSWORD,)) -> list[str]:
    """Say what is wrong with secrets that are there twice; a person may have written them.

    `passwords` are those of logins that take turns, all at once.
    """
    left = own.get(PREVIOUS)
    if not isinstance(left, Mapping):
        return [f"{where}.{PREVIOUS}: it holds no mapping; put what each renewed secret was there, by its name"]
    problems = [
        f"{where}.{PREVIOUS}.{key}: it is the present value; write a new one"
        for key in left
        if key != SECOND_TURN and left[key] == own.get(key)
    ]
    turned = [password for password in passwords if password in left]
    if turned and len(turned) < len(passwords):
        problems.append(f"{where}.{PREVIOUS}: {_listed(passwords)} take turns together; renew all of them")
    if turned and bool(own.get(SECOND_TURN)) == bool(left.get(SECOND_TURN)):
        problems.append(
            f"{where}: both passwords are for one login, and it can have but one; a role's two logins take turns, so "
            f"{_turn_by_hand(not left.get(SECOND_TURN), passwords)}"
        )
    return problems


def _by_hand(where: str, own: Mapping[str, Any], found: Mapping[str, bool | None]) -> str:
    secrets = [key for key in found if key != SECOND_TURN]
    passwords = [PASSWORD] if PASSWORD in secrets else secrets
    turn = f"; {_turn_by_hand(bool(found[SECOND_TURN]), passwords)}" if SECOND_TURN in found else ""
    moved = f" and {SECOND_TURN}" if SECOND_TURN in found and own.get(SECOND_TURN) else ""
    return (
        f"{where}: a vault keeps it, so a person renews it. Move {_listed(found)}{moved} "
        f"below {PREVIOUS}, put new values in their place{turn}; then run this again"
    )


def _turn_by_hand(is_second: bool, passwords: Sequence[str]) -> str:
    beside = _listed(passwords)
    return f"write {SECOND_TURN}: true beside {beside}" if is_second else f"leave {SECOND_TURN} out beside {beside}"


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
