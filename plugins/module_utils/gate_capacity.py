# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `capacity`: enough servers stay in service, and the hosts of the step have memory for a second slot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import HOLD, PASS, Verdict, check_fields
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    MEMORY,
    Field,
    is_number,
    mebibytes,
)

GATE = "capacity"
PERCENT = re.compile(r"([1-9][0-9]?|100)%")
KEEP, RESERVE = "50%", "32M"


def _is_keep(value: object) -> bool:
    if isinstance(value, str):
        return PERCENT.fullmatch(value) is not None
    return is_number(value) and isinstance(value, int) and value >= 0


FIELDS = {
    "keep": Field(_is_keep, "a count of servers or a percentage", "write it as 1 or 50%"),
    "reserve": MEMORY,
}


@dataclass(frozen=True)
class Room:
    """What is known of a host: whether the former slot serves there, its free MiB, and those that the step will take."""

    serving: bool | None = None
    free: int | None = None
    takes: int = 0


@dataclass(frozen=True)
class CapacityFacts:
    """The hosts of the deployment with what is known of each, and those of the step."""

    hosts: Sequence[str]
    step: Sequence[str]
    rooms: Mapping[str, Room]


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    return check_fields(spec, field, FIELDS)


def judge(spec: Mapping[str, Any], facts: CapacityFacts) -> Verdict:
    """Say whether the step leaves the deployment in service and its hosts with memory."""
    rooms = {host: facts.rooms.get(host, Room()) for host in (*facts.hosts, *facts.step)}
    serving = [host for host in facts.hosts if rooms[host].serving]
    needed, reserve = _needed(spec.get("keep", KEEP), len(facts.hosts)), mebibytes(spec.get("reserve", RESERVE))
    evidence = {
        "serving": serving,
        "needed": needed,
        "reserve": reserve,
        "free": {host: rooms[host].free for host in facts.step},
        "takes": {host: rooms[host].takes for host in facts.step},
    }
    lacks = []
    if len(serving) < needed:
        unknown = [host for host in facts.hosts if rooms[host].serving is None]
        silent = f", and nothing is known of {', '.join(unknown)}" if unknown else ""
        lacks.append(f"{len(serving)} of {len(facts.hosts)} servers serve, and {needed} must{silent}")
    for host in facts.step:
        lacks += _lack_of_memory(host, rooms[host], reserve)
    if lacks:
        return Verdict(GATE, HOLD, "; ".join(lacks), evidence)
    reason = f"{len(serving)} of {len(facts.hosts)} servers serve, and there is room on {', '.join(facts.step)}"
    return Verdict(GATE, PASS, reason, evidence)


def _needed(keep: int | str, hosts: int) -> int:
    return -(-hosts * int(keep.rstrip("%")) // 100) if isinstance(keep, str) else min(keep, hosts)


def _lack_of_memory(host: str, room: Room, reserve: int) -> list[str]:
    if not room.takes:
        return []
    if room.free is None:
        return [f"the free memory of {host} isn't known"]
    if room.free - room.takes < reserve:
        return [f"{host} has {room.free} MiB free, and the slot takes {room.takes} beside a reserve of {reserve}"]
    return []
