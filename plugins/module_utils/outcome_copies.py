# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies, on application servers, of what etcd remembers of rollouts: what the way back reads where etcd doesn't answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Rollouts that a copy tells of.
KEPT = 5


def updated_copy(
    copy: Mapping[str, Any], ended: Mapping[str, Any], known: Mapping[str, Any], now: str
) -> dict[str, Any]:
    """Return the copy once a rollout has ended.

    `ended` is how, with its `good` or `bad`; `known` is what etcd holds after it. Where etcd was silent, the copy itself is carried on; and where
    it didn't take the rollout's word, for it was silent or the lease was lost, what was seen of a release is remembered here all the same.
    """
    source = known if "bad" in known else copy
    is_told = source is known and "error" not in known
    good, bad = source.get("good"), dict(source.get("bad") or {})
    if not is_told and ended.get("good"):
        good = {**ended["good"], "since": now}
        bad.pop(good["revision"], None)
    elif not is_told and ended.get("bad"):
        mark = ended["bad"]
        bad[mark["revision"]] = {"release": mark["release"], "reason": mark["reason"], "since": now}
    rollouts = [{**(ended.get("finished") or {}), "ended": now}, *(copy.get("rollouts") or ())]
    return {"deployment": ended["name"], "at": now, "good": good, "bad": bad, "rollouts": rollouts[:KEPT]}


def bad_revisions(copy: Mapping[str, Any]) -> dict[str, str]:
    """Return why revisions were marked bad, by their names."""
    return {revision: str(mark.get("reason", "")) for revision, mark in (copy.get("bad") or {}).items()}


def newest_copies(infos: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by deployment the newest copy that servers have, with the server's name as `host`."""
    newest: dict[str, dict[str, Any]] = {}
    for host, info in infos.items():
        for name, copy in (info.get("outcomes") or {}).items():
            if str(copy.get("at", "")) > str(newest.get(name, {}).get("at", "")):
                newest[name] = {**copy, "host": host}
    return newest


def silent_lines(names: Iterable[str], copies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say whence it is known what is bad, where etcd doesn't answer."""
    return [
        f"{name}: etcd does not answer; what was marked bad is told by the copy on {copies[name]['host']}, of {copies[name]['at']}"
        if name in copies
        else f"{name}: etcd does not answer, and no server has a copy of what was marked bad"
        for name in names
    ]
