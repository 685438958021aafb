# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hold a pooler's clients while the lead goes from one member to another: what is waited for, and when it is given up."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RESUME_TAKEN, RESUME_STAYED, RESUME_LATE = "taken over", "nothing happened", "too late"


@dataclass(frozen=True)
class Hold:
    """How long clients may be held, in seconds: until the lead leaves the leader, and in all."""

    start: float
    limit: float


@dataclass(frozen=True)
class Look:
    """What was seen so many seconds into the hold: which standby takes writes by now, and what the leader answers; None where there is none."""

    seconds: float
    primary: str | None = None
    leader: Mapping[str, Any] | None = None


def judge_hold(hold: Hold, look: Look) -> str | None:
    """Say why to let the clients go on now, or None to go on holding them."""
    if look.primary:
        return RESUME_TAKEN
    if look.seconds >= hold.limit:
        return RESUME_LATE
    if look.seconds >= hold.start and is_primary(look.leader):
        return RESUME_STAYED
    return None


def is_primary(answer: Mapping[str, Any] | None) -> bool:
    """Say whether a member takes writes; one that has the lead and is still being promoted does not."""
    return answer is not None and answer.get("role") in ("primary", "master") and answer.get("state") == "running"


def health_commands(table: str, backend: str, leader: str, primary: str) -> list[str]:
    """Return what tells HAProxy at once what its next checks would find: the leader's lead is the primary's. `table` is its answer to `show stat`."""
    rows = csv.DictReader(table.lstrip("# \n").splitlines())
    states = {row["svname"]: row["status"] or "" for row in rows if row.get("pxname") == backend}
    commands = []
    if not states.get(primary, "UP").startswith("UP"):
        commands.append(f"set server {backend}/{primary} health up")
    if states.get(leader, "DOWN").startswith("UP"):
        commands.append(f"set server {backend}/{leader} health down")
    return commands
