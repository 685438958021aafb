# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Slots and records: which revision is where, which one serves, and what a deploy has to do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

SLOTS = ("blue", "green")
# Revisions that a deployment can go back to.
KEPT = 3


class SlotError(ValueError):
    """A record that can't be read, or a choice that can't be made."""


@dataclass(frozen=True)
class Content:
    """What is in a slot, and what load balancers need to know of it: without a path to ask there is nothing to balance.

    The revision is the checksum over all of it, so `max_connections` needs no comparing; 0 is the environment's own.
    """

    release: str
    revision: str
    server_name: str = ""
    ready_path: str = ""
    max_connections: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Record:
    """What a host remembers about a deployment.

    `generation` grows with every switch: of two hosts that disagree, the one with the greater number is right.
    `past` is what served before and can be returned to, the newest first.
    """

    deployment: str
    active: str | None = None
    generation: int = 0
    promoted: str | None = None
    slots: Mapping[str, Content] = field(default_factory=dict)
    past: tuple[Content, ...] = ()

    @property
    def serving(self) -> Content | None:
        """What the active slot holds."""
        return self.slots.get(self.active) if self.active else None


@dataclass(frozen=True)
class HostState:
    """What was found on an application server: its record, whether the active slot runs and will after a reboot, and what it keeps."""

    record: Record
    serves: bool
    kept: tuple[Content, ...] = ()

    def can_run(self, slot: str, content: Content) -> bool:
        """Say whether the slot holds a revision, or can be made to without anything from elsewhere."""
        return content in (self.record.slots.get(slot), *self.kept)


@dataclass(frozen=True)
class Step:
    """What a deploy does to one deployment.

    `switches` says that traffic moves to another slot. Without it, `hosts` only catch up with what is promoted already.
    """

    slot: str
    generation: int
    switches: bool
    hosts: tuple[str, ...]
    behind: tuple[str, ...]
    former: str | None

    @property
    def changes(self) -> bool:
        """Say whether there is anything to do on the application servers."""
        return bool(self.hosts)


def other(slot: str) -> str:
    """Return the other slot."""
    return SLOTS[1 - SLOTS.index(slot)]


def parse_record(text: str, deployment: str) -> Record:
    """Read a record as it lies on a host."""
    try:
        return parse_data(json.loads(text), deployment)
    except ValueError as error:
        raise SlotError(
            f"the record of {deployment} can't be read ({error}); restore it from another application server"
        ) from error


def parse_data(data: Any, deployment: str) -> Record:
    """Read a record from plain values."""
    try:
        slots = {slot: read_content(entry) for slot, entry in data["slots"].items() if entry}
        past = tuple(read_content(entry) for entry in data.get("past") or ())
        record = Record(data["deployment"], data["active"], int(data["generation"]), data["promoted"], slots, past)
    except (KeyError, TypeError, AttributeError) as error:
        raise SlotError(f"it lacks {error}") from error
    if record.active not in (None, *SLOTS) or record.deployment != deployment:
        raise SlotError(f"it names {record.deployment} with slot {record.active}")
    return record


def read_content(data: Mapping[str, Any]) -> Content:
    """Read what a slot holds; what a newer version has written beside is left alone, so that an older one still knows its way back."""
    known = {entry.name for entry in fields(Content)}
    return Content(**{name: value for name, value in data.items() if name in known})


def record_data(record: Record) -> dict[str, Any]:
    """Return a record as plain values, with both slots present."""
    data = asdict(record)
    data["slots"] = {slot: data["slots"].get(slot) for slot in SLOTS}
    return data


def record_text(record: Record) -> str:
    """Write a record."""
    return json.dumps(record_data(record), indent=2) + "\n"


def newest(records: Iterable[Record], deployment: str) -> Record:
    """Return what the environment knows about a deployment: the record with the greatest generation."""
    return max(records, key=lambda record: record.generation, default=Record(deployment))


def content_of(deployment: Mapping[str, Any]) -> Content:
    """Return what a planned deployment puts into its slot."""
    held = {key: deployment[key] for key in ("release", "revision", "server_name", "ready_path")}
    return Content(**held, max_connections=deployment.get("max_connections") or 0)


def prepare(record: Record, slot: str, content: Content) -> Record:
    """Put something into a slot."""
    return replace(record, slots={**record.slots, slot: content})


def promote(
    record: Record,
    slot: str,
    generation: int,
    now: str,
    returns: bool = False,
    bad: Collection[str] = (),
    keep: int = KEPT,
) -> Record:
    """Let a slot be the one that serves; a record that says so already keeps its date.

    What served is the first to be returned to from then on, unless this itself `returns`: then it was left for good.
    """
    if slot not in record.slots:
        raise SlotError(f"slot {slot} of {record.deployment} holds nothing; prepare it first")
    if (record.active, record.generation) == (slot, generation):
        return record
    past = _shorten(_past(record, record.slots[slot], returns), bad, keep)
    return replace(record, active=slot, generation=generation, promoted=now, past=past)


def _past(record: Record, content: Content, returns: bool) -> tuple[Content, ...]:
    """Return what can be returned to once `content` serves, the newest first."""
    if returns and content in record.past:
        return record.past[record.past.index(content) + 1 :]
    served = (record.serving, *record.past)
    return tuple(dict.fromkeys(former for former in served if former and former.revision != content.revision))


def _shorten(past: tuple[Content, ...], bad: Collection[str], keep: int) -> tuple[Content, ...]:
    """Keep the newest; where all of these were marked bad, the last good one too."""
    newest_ones = past[: max(keep, 1)]
    if all(content.revision in bad for content in newest_ones):
        return newest_ones + tuple(content for content in past[len(newest_ones) :] if content.revision not in bad)[:1]
    return newest_ones


def revisions_to_prune(record: Record, kept: Sequence[Content], keep: int) -> tuple[Content, ...]:
    """Say which kept revisions may go: `kept` is ordered from new to old, and the newest stay.

    What a slot holds and what can be returned to always stays.
    """
    used = {*record.slots.values(), *record.past, *kept[:keep]}
    return tuple(content for content in kept if content not in used)


def plan_step(
    deployment: str,
    wanted: Content,
    hosts: Sequence[str],
    states: Mapping[str, HostState],
    traffic: Iterable[Record] = (),
) -> Step:
    """Say what brings a deployment to the wanted revision.

    `states` are the application servers that answered; `traffic` is what load balancers send requests to. A load balancer may be ahead
    of every record, where a run ended between the switch and the promotion: what it sends requests to is never overwritten.
    """
    known = newest([*(state.record for state in states.values()), *traffic], deployment)
    living = tuple(host for host in hosts if host in states)
    behind = tuple(host for host in hosts if host not in states)
    held = _holders(known.active, wanted, states)
    if known.active and held:
        promoted = replace(known, slots={known.active: wanted})
        missing = tuple(host for host in living if not is_current(states[host], promoted))
        return Step(known.active, known.generation, False, missing, behind, None)
    slot = other(known.active) if known.active else SLOTS[0]
    return Step(slot, known.generation + 1, True, living, behind, known.active)


def plan_return(
    deployment: str,
    hosts: Sequence[str],
    states: Mapping[str, HostState],
    traffic: Iterable[Record] = (),
    bad: Mapping[str, str] | None = None,
    revision: str = "",
) -> tuple[Step, Content, bool]:
    """Say what brings a deployment back to its last good revision, and whether its other slot still holds that one everywhere.

    `bad` tells why revisions were marked bad; such a one is returned to only by its name, `revision`.
    """
    known = newest([*(state.record for state in states.values()), *traffic], deployment)
    if not known.active:
        raise SlotError(f"{deployment} was never released, so there is nothing to go back to; deploy it")
    slot, living = other(known.active), {host: states[host] for host in hosts if host in states}
    candidates = _named(revision, slot, living.values()) if revision else _served_before(known, living.values())
    reasons = []
    for content in candidates:
        lacking = [host for host, state in living.items() if not state.can_run(slot, content)]
        if content.revision in (bad or {}) and not revision:
            reasons.append(f"{content.revision} was marked bad ({(bad or {})[content.revision]})")
        elif any(state.record.slots.get(known.active) == content for state in living.values()):
            reasons.append(f"{content.revision} serves already")
        elif lacking:
            reasons.append(f"{content.revision} is not kept on {' and '.join(lacking)}")
        else:
            behind = tuple(host for host in hosts if host not in states)
            step = Step(slot, known.generation + 1, True, tuple(living), behind, known.active)
            return step, content, all(state.record.slots.get(slot) == content for state in living.values())
    raise SlotError(_no_way_back(deployment, slot, living, reasons, bad or {}, revision))


def _named(revision: str, slot: str, states: Iterable[HostState]) -> tuple[Content, ...]:
    """Return what has this name, in the other slot or among what is kept."""
    there = [content for state in states for content in (state.record.slots.get(slot), *state.kept)]
    return tuple(dict.fromkeys(content for content in there if content and content.revision == revision))


def _served_before(known: Record, states: Collection[HostState]) -> tuple[Content, ...]:
    """Return what served before, the newest first; where load balancers are ahead of all records, these still name it as serving."""
    records = (state.record for state in states)
    record = max(records, key=lambda record: (record.generation, len(record.past)), default=known)
    served = record.past if record.active == known.active else (record.serving, *record.past)
    return tuple(content for content in served if content)


def _no_way_back(
    deployment: str,
    slot: str,
    living: Mapping[str, HostState],
    reasons: Sequence[str],
    bad: Mapping[str, str],
    revision: str,
) -> str:
    held = sorted({state.record.slots[slot].revision for state in living.values() if slot in state.record.slots})
    told = [f"{name} (marked bad: {bad[name]})" if name in bad else name for name in held]
    kept = sorted({content.revision for state in living.values() for content in state.kept})
    if revision:
        reason = (
            "; ".join(reasons) or f"no slot but the one that serves holds it, and kept are {', '.join(kept) or 'none'}"
        )
        return f"{deployment} can't go back to {revision}: {reason}; release what you want with deploy.yml"
    return (
        f"{deployment} has no good revision to go back to: {'; '.join(reasons) or 'nothing served before'}; "
        f"slot {slot} holds {' or '.join(told) or 'nothing'} on {' and '.join(living)}. "
        "Name one with -e revision=… to take it all the same, or release another with deploy.yml"
    )


def _holders(slot: str | None, wanted: Content, states: Mapping[str, HostState]) -> list[str]:
    """Return the hosts with the newest record that hold what is wanted in the slot that serves."""
    latest = max((state.record.generation for state in states.values()), default=0)
    return [
        host
        for host, state in states.items()
        if slot and state.record.generation == latest and state.record.slots.get(slot) == wanted
    ]


def is_current(state: HostState, promoted: Record) -> bool:
    """Say whether a host serves what was promoted."""
    record = state.record
    return (
        state.serves
        and (record.active, record.generation) == (promoted.active, promoted.generation)
        and record.serving == promoted.serving
    )


def choose_deployments(
    known: Mapping[str, Mapping[str, Any]], deployments: Sequence[str], members: Sequence[str]
) -> tuple[str, ...]:
    """Return the deployments that were asked for by name or by member; without either, all of them."""
    if not deployments and not members:
        return tuple(known)
    owners = {entry["member"]: name for name, entry in known.items() if entry.get("member")}
    problems = [_unknown("deployment", name, known) for name in deployments if name not in known]
    problems += [_unknown("member", name, owners) for name in members if name not in owners]
    if problems:
        raise SlotError("; ".join(problems))
    chosen = {*deployments, *(name for name, entry in known.items() if entry.get("member") in members)}
    return tuple(name for name in known if name in chosen)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return f"{kind} {name!r} is not in the registry; " + (
        f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    )


def waves(
    names: Sequence[str], switching: Mapping[str, Mapping[str, int]], size: int, room: Mapping[str, int]
) -> list[list[str]]:
    """Order deployments into waves.

    Those that have nothing running need no memory beside what they keep, and go first and together. The others hold two slots
    for a while, so at most `size` of them go at once, and no more than fit what each host keeps free for that: `switching` tells
    the memory that each takes by host, `room` what there is. One always goes, for the budget holds one slot of any.
    """
    groups = [[name for name in names if name not in switching]]
    used: Counter[str] = Counter()
    for name in (name for name in names if name in switching):
        takes = switching[name]
        fits = all(used[host] + taken <= room.get(host, used[host] + taken) for host, taken in takes.items())
        if len(groups) == 1 or len(groups[-1]) >= size or not fits:
            groups.append([])
            used.clear()
        groups[-1].append(name)
        used.update(takes)
    return [group for group in groups if group]
