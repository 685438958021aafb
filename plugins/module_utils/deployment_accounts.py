# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The users and folders that deployments have on an application server."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class DeploymentAccountsError(ValueError):
    """A user that can't be made as the registry wants it."""


@dataclass(frozen=True)
class Folder:
    """A folder: its mode, and the names of its owner and group."""

    path: str
    mode: int
    owner: str
    group: str


def plan_users(
    deployments: Sequence[Mapping[str, Any]],
    users: Mapping[str, int],
    groups: Mapping[str, int],
    shared: Mapping[str, str],
) -> tuple[tuple[str, ...], ...]:
    """Return the commands that make the users and groups that are missing; `shared` holds each deployment's folder."""
    user_of, group_of = _by_id(users), _by_id(groups)
    commands: list[tuple[str, ...]] = []
    for deployment in deployments:
        name, number = deployment["user"], int(deployment["uid"])
        if _is_missing("gid", "group", name, number, groups, group_of):
            commands.append(("groupadd", "--gid", str(number), name))
        if _is_missing("uid", "user", name, number, users, user_of):
            commands.append(_useradd(name, number, deployment["name"], shared[deployment["name"]]))
    return tuple(commands)


def _by_id(names: Mapping[str, int]) -> dict[int, str]:
    return {number: name for name, number in names.items()}


def _is_missing(
    field: str, kind: str, name: str, number: int, present: Mapping[str, int], holders: Mapping[int, str]
) -> bool:
    if name in present and present[name] != number:
        raise DeploymentAccountsError(
            f"{kind} {name} has {field} {present[name]} on this server instead of {number}; correct the registry's number, or move its files"
        )
    if name not in present and number in holders:
        raise DeploymentAccountsError(
            f"{field} {number}, which {name} needs, belongs to {holders[number]} on this server; a deployment keeps its number and its name for life. "
            "Where the entry was renamed, name it as before and give it login, full_name or server_name; else give the other one another id"
        )
    return name not in present


def _useradd(name: str, number: int, deployment: str, home: str) -> tuple[str, ...]:
    return (
        "useradd", "--uid", str(number), "--gid", name, "--home-dir", home, "--no-create-home",
        "--shell", "/usr/sbin/nologin", "--comment", f"Nectar deployment {deployment}", name,
    )  # fmt: skip


def plan_folders(
    deployments: Sequence[Mapping[str, Any]],
    applications: Mapping[str, Any],
    state: str,
    configuration: str,
    shared: Mapping[str, str],
) -> tuple[Folder, ...]:
    """Return all folders, parents first."""
    folders = [Folder(path, 0o755, "root", "root") for path in (state, f"{state}/deployments", configuration)]
    for deployment in deployments:
        name, user, home = deployment["name"], deployment["user"], shared[deployment["name"]]
        folders += [
            Folder(f"{state}/deployments/{name}", 0o755, "root", "root"),
            Folder(f"{configuration}/{name}", 0o750, "root", user),
            Folder(home, 0o750, user, user),
        ]
        folders += [
            Folder(f"{home}/{path}", 0o750, user, user)
            for path in _with_parents(_shared_paths(deployment, applications))
        ]
    return tuple(folders)


def _shared_paths(deployment: Mapping[str, Any], applications: Mapping[str, Any]) -> Sequence[str]:
    return (applications.get(deployment["application"]) or {}).get("shared_paths") or ()


def _with_parents(paths: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for path in paths:
        parts = posixpath.normpath(path).split("/")
        found |= dict.fromkeys("/".join(parts[:length]) for length in range(1, len(parts) + 1))
    return list(found)


def departed(present: Sequence[str], deployments: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return deployments that left something here and aren't meant to be here any more."""
    return tuple(sorted(set(present) - {deployment["name"] for deployment in deployments}))
