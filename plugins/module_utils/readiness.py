# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a slot is ready, may become so, or is to be given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A process that ended this often won't get up: waiting for the deadline would only delay the news.
HOPELESS_RESTARTS = 3
# How /proc/net/tcp writes that state.
ESTABLISHED = "01"


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a service."""

    unit: str
    active: str
    sub: str
    restarts: int
    result: str


@dataclass(frozen=True)
class Verdict:
    """Ready, or given up because of a unit; neither means to wait."""

    ready: bool = False
    reason: str = ""
    culprit: str = ""


def judge_units(states: Sequence[UnitState], answer: str, late: bool) -> Verdict:
    """Judge a slot by its services and by what its web process answers (nothing, if that is well)."""
    fallen = [state for state in states if state.restarts >= HOPELESS_RESTARTS or state.active == "failed"]
    if fallen:
        # The identity goes down with the web process; the process itself has more to say.
        state = min(fallen, key=lambda entry: entry.unit.endswith("-identity.service"))
        return Verdict(reason=f"{state.unit} ended {max(state.restarts, 1)} times", culprit=state.unit)
    silent = [state for state in states if state.active != "active"]
    if not silent and not answer:
        return Verdict(ready=True)
    if not late:
        return Verdict()
    unit = silent[0].unit if silent else states[0].unit
    return Verdict(reason=answer or f"{unit} is {silent[0].active} ({silent[0].sub})", culprit=unit)


def established_ports(tables: Sequence[str]) -> frozenset[int]:
    """Return the local ports that somebody is connected to, from the kernel's tables of TCP connections."""
    rows = (line.split() for table in tables for line in table.splitlines()[1:])
    return frozenset(int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == ESTABLISHED)
