# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an environment remembers of its rollouts in etcd: leases, freeze, records, good and bad revisions, approvals, history.

Everything is a JSON object below `/nectar/<environment>/`. Here is what is written there, under which conditions, and how it reads for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import (
    Entry,
    Outcome,
    Request,
    Transaction,
    delete,
    put,
    read,
    read_all,
    unchanged,
    unwritten,
)

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
KINDS = ("lease", "rollout", "good", "bad", "approval", "history")
KEPT = 20  # finished rollouts of one deployment
LONGEST_APPROVAL = timedelta(days=7)
Value = dict[str, Any]


class RecordError(Exception):
    """What was asked of the record can't be."""


@dataclass(frozen=True)
class Keys:
    """Where an environment's entries lie."""

    environment: str

    def __post_init__(self) -> None:
        check_label("environment", self.environment)

    @property
    def root(self) -> str:
        return f"/nectar/{self.environment}/"

    @property
    def freeze(self) -> str:
        return f"{self.root}freeze"

    def of(self, kind: str, deployment: str, rest: str = "") -> str:
        """Return the key of one kind of entry of a deployment."""
        check_label("deployment", deployment)
        return f"{self.root}{kind}/{deployment}{'/' if rest else ''}{rest}"

    def all_of(self, kind: str, deployment: str = "") -> str:
        """Return what all keys of a kind begin with, or those of one deployment that has several."""
        return f"{self.root}{kind}/{deployment}{'/' if deployment else ''}"


def check_label(what: str, value: object) -> None:
    """Refuse what would be a key of something else."""
    if not isinstance(value, str) or not LABEL.fullmatch(value):
        raise RecordError(
            f"{what}: {value!r} is no name of the registry: small letters, digits and dashes are expected"
        )


def check_reason(why: object) -> str:
    """Refuse what tells the next reader nothing."""
    text = " ".join(str(why or "").split())
    if not text:
        raise RecordError("why: nothing was given; say in a few words why, for those who find it: -e \"why='…'\"")
    return text[:500]


def stamp(now: datetime) -> str:
    """Write a moment as all entries have it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_stamp(text: str) -> datetime:
    """Read it again."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


# Leases


@dataclass(frozen=True)
class Lease:
    """Who may change a deployment. `token` fences: hosts refuse whoever comes with a lower one."""

    deployment: str
    token: int
    number: int  # etcd's own lease, by which the entry goes when nobody renews it
    modified: int
    value: Mapping[str, Any]

    @property
    def rollout(self) -> str:
        return str(self.value.get("rollout", ""))

    def data(self) -> Value:
        """Return it as plain values; numbers beyond 53 bits are texts, for YAML and Jinja would round them."""
        return {**self.value, "token": self.token, "lease": str(self.number)}

    def line(self, now: datetime) -> str:
        """Say who holds it, since when and why."""
        found = self.value
        since = parse_stamp(found["since"])
        return (
            f"{self.deployment} is held by {found['person']} (from {found['controller']}) since {since:%Y-%m-%d %H:%M:%S} UTC, "
            f"for {duration(now - since)}: {found['why']}"
        )


def lease_of(entry: Entry) -> Lease:
    """Read an entry below `lease/`.

    The token is etcd's revision when the lease was taken. Where hosts know a higher one, for etcd was made anew or a way back went
    without it, the taker wrote their highest down as the floor.
    """
    floor = int(entry.value.get("floor") or 0)
    return Lease(entry.key.rsplit("/", 1)[1], max(entry.modified, floor + 1), entry.lease, entry.modified, entry.value)


@dataclass(frozen=True)
class Claim:
    """What one who wants a lease says of himself."""

    person: str
    controller: str
    why: str
    release: str
    rollout: str
    floor: int = 0

    def value(self, now: datetime) -> Value:
        said = {name: getattr(self, name) for name in ("person", "controller", "why", "release", "rollout")}
        return {**said, "since": stamp(now), **({"floor": self.floor} if self.floor else {})}


def take_lease(keys: Keys, deployment: str, claim: Claim, number: int, now: datetime) -> Transaction:
    """Take the lease if nobody has it, and read who does either way."""
    key = keys.of("lease", deployment)
    return Transaction([unwritten(key)], [put(key, claim.value(now), number), read(key)], [read(key)])


def judge_taking(outcome: Outcome, claim: Claim) -> Lease | None:
    """Return the lease if it is the claimant's now, also when an answer was lost on the way."""
    if outcome.first is None:
        return None
    lease = lease_of(outcome.first)
    return lease if outcome.succeeded or lease.rollout == claim.rollout else None


def give_back(keys: Keys, lease: Lease) -> Transaction:
    """Give a lease back, unless somebody else has it meanwhile."""
    key = keys.of("lease", lease.deployment)
    return Transaction([unchanged(key, lease.modified)], [delete(key)], [read(key)])


def break_lease(keys: Keys, lease: Lease, person: str, why: str, now: datetime) -> Transaction:
    """Take a lease from its holder, and write down who did and why."""
    note = {"event": "lease broken", "person": person, "why": why, "at": stamp(now), "holder": dict(lease.value)}
    taken = give_back(keys, lease)
    return Transaction(
        taken.compare,
        [*taken.success, put(keys.of("history", lease.deployment, moment(now)), note)],
        taken.failure,
    )


def moment(now: datetime) -> str:
    """Return the last part of a key in the history; they sort by time."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# Everything else


@dataclass
class Known:
    """What etcd holds of one deployment."""

    lease: Lease | None = None
    record: Mapping[str, Any] | None = None
    record_modified: int = 0
    good: Mapping[str, Any] | None = None
    good_modified: int = 0
    bad: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    approval: Mapping[str, Any] | None = None
    history: list[Value] = field(default_factory=list)

    def data(self) -> Value:
        """Return it as plain values."""
        return {
            "lease": self.lease.data() if self.lease else None,
            "record": self.record,
            "record_revision": self.record_modified,
            "good": self.good,
            "bad": self.bad,
            "approval": self.approval,
            "history": self.history,
        }


def read_environment(keys: Keys, history: bool = False) -> list[Request]:
    """The requests for all that an environment remembers; its history only when it is wanted."""
    kinds = [kind for kind in KINDS if history or kind != "history"]
    return [read(keys.freeze), *(read_all(keys.all_of(kind)) for kind in kinds)]


def parse_environment(keys: Keys, outcome: Outcome) -> tuple[Value | None, dict[str, Known]]:
    """Read the answers: the freeze, and what is known by deployment."""
    known: dict[str, Known] = {}
    freeze = None
    for entry in (entry for entries in outcome.found for entry in entries):
        if entry.key == keys.freeze:
            freeze = entry.value
            continue
        kind, deployment, *rest = entry.key.removeprefix(keys.root).split("/")
        _note(known.setdefault(deployment, Known()), kind, entry, rest)
    return freeze, known


def raw_values(outcome: Outcome) -> dict[str, Any]:
    """Return what was read by key."""
    return {entry.key: entry.value for entries in outcome.found for entry in entries}


def _note(known: Known, kind: str, entry: Entry, rest: Sequence[str]) -> None:
    if kind == "lease":
        known.lease = lease_of(entry)
    elif kind == "rollout":
        known.record, known.record_modified = entry.value, entry.modified
    elif kind == "good":
        known.good, known.good_modified = entry.value, entry.modified
    elif kind == "bad":
        known.bad[rest[0]] = entry.value
    elif kind == "approval":
        known.approval = entry.value
    elif kind == "history":
        known.history.append({**entry.value, "key": rest[0]})


CHANGES = ("record", "good", "bad", "finished", "approval")


@dataclass(frozen=True)
class Change:
    """What is to be written of one deployment, in one move."""

    name: str
    token: int | None = None
    expected: int | None = None
    record: Mapping[str, Any] | None = None
    good: Mapping[str, Any] | None = None
    bad: Mapping[str, Any] | None = None
    finished: Mapping[str, Any] | None = None
    approval: Mapping[str, Any] | bool | None = None

    @property
    def fenced(self) -> bool:
        """Only an approval is written by those who don't hold the lease."""
        return any(getattr(self, part) is not None for part in CHANGES if part != "approval")


def parse_change(data: Mapping[str, Any]) -> Change:
    """Read one of a module's deployments, of which only what is said here matters."""
    name = data.get("name")
    check_label("deployments[].name", name)
    for part in CHANGES:
        allowed = (dict, bool) if part == "approval" else dict
        if data.get(part) is not None and not isinstance(data[part], allowed):
            raise RecordError(f"deployments[{name}].{part}: {data[part]!r} is no mapping")
    for part, wanted in (("good", ("release", "revision")), ("bad", ("release", "revision", "reason"))):
        missing = [key for key in wanted if data.get(part) is not None and not data[part].get(key)]
        if missing:
            raise RecordError(f"deployments[{name}].{part}: {', '.join(missing)} is missing; give {', '.join(wanted)}")
    token, expected = (None if data.get(key) is None else int(data[key]) for key in ("token", "expected"))
    change = Change(str(name), token, expected, **{part: data.get(part) for part in CHANGES})
    if change.fenced and change.token is None:
        raise RecordError(f"deployments[{name}].token: it is missing; give what rollout_lease answered")
    return change


def write_change(
    keys: Keys, change: Change, known: Known, person: str, now: datetime, history: Sequence[str] = ()
) -> Transaction:
    """Write what is to be written, on condition that the lease is still the writer's and nobody wrote the record meanwhile.

    `history` are the keys of the deployment's finished rollouts, the oldest first.
    """
    name = change.name
    record = keys.of("rollout", name)
    compare: list[Request] = []
    if change.fenced:
        compare.append(unchanged(keys.of("lease", name), _held(change, known).modified))
    if change.expected is not None:
        compare.append(unchanged(record, change.expected))
    orders: list[Request] = []
    if change.record is not None and change.finished is None:
        orders.append(put(record, {**change.record, "token": change.token}))
    if change.good is not None:
        orders += _good_orders(keys, change, known, now)
    if change.bad is not None:
        orders.append(_bad_order(keys, name, change.bad, known, now))
    if change.finished is not None:
        orders += _finish_orders(keys, change, known, now, history)
    if change.approval is not None:
        orders.append(_approval_order(keys.of("approval", name), change.approval, person, now))
    return Transaction(compare, orders, [read(keys.of("lease", name)), read(record)])


def _held(change: Change, known: Known) -> Lease:
    """Return the lease that the writer holds."""
    if known.lease is None:
        raise RecordError(
            f"{change.name}: nobody holds its lease, and token {change.token} held it once; "
            "it ran out or was broken. Nothing was written; run the same command again"
        )
    if known.lease.token != change.token:
        found = known.lease.value
        raise RecordError(
            f"{change.name}: its lease is held by {found['person']} since {found['since']} with token {known.lease.token}, "
            f"not {change.token}. Nothing was written"
        )
    return known.lease


def _bad_order(keys: Keys, name: str, bad: Mapping[str, Any], known: Known, now: datetime) -> Request:
    revision = str(bad["revision"])
    mark = {key: value for key, value in bad.items() if key != "revision"}
    before = dict(known.bad.get(revision, {}))
    marked = before.pop("since", stamp(now))
    since = marked if before == mark else stamp(now)
    return put(keys.of("bad", name, revision), {**mark, "since": since})


def _good_orders(keys: Keys, change: Change, known: Known, now: datetime) -> list[Request]:
    wanted = dict(change.good or {})
    before = dict(known.good or {})
    same = before.get("revision") == wanted["revision"]
    former = before.get("former") if same else {key: before[key] for key in ("release", "revision") if key in before}
    value = {**wanted, "since": before["since"] if same else stamp(now), "former": former or None}
    orders = [put(keys.of("good", change.name), value)]
    if wanted["revision"] in known.bad:
        orders.append(delete(keys.of("bad", change.name, str(wanted["revision"]))))
    return orders


def _finish_orders(keys: Keys, change: Change, known: Known, now: datetime, history: Sequence[str]) -> list[Request]:
    record = {**(known.record or {}), **(change.record or {}), **(change.finished or {})}
    ended = {**record, "event": "rollout", "token": change.token, "ended": stamp(now)}
    orders = [
        put(keys.of("history", change.name, moment(now)), ended),
        delete(keys.of("rollout", change.name)),
    ]
    surplus = list(history)[: len(history) - (KEPT - 1)] if len(history) >= KEPT else []
    if surplus:
        orders.append(delete(surplus[0], f"{surplus[-1]}\0"))
    return orders


def _approval_order(key: str, approval: Mapping[str, Any] | bool, person: str, now: datetime) -> Request:
    if not isinstance(approval, Mapping):
        if approval:
            raise RecordError("approval: true says too little; give why, release and hours")
        return delete(key)
    return put(key, approval_value(approval, person, now))


def approval_value(approval: Mapping[str, Any], person: str, now: datetime) -> Value:
    """Return an approval as it is kept: it holds for some hours."""
    try:
        hours = float(approval.get("hours", 4))
    except (TypeError, ValueError):
        raise RecordError(f"approval.hours: {approval.get('hours')!r} is no number of hours") from None
    if not 0 < hours <= LONGEST_APPROVAL.total_seconds() / 3600:
        raise RecordError(f"approval.hours: {hours:g} is not above 0 and at most 168")
    return {
        "person": person,
        "release": str(approval.get("release") or ""),
        "since": stamp(now),
        "until": stamp(now + timedelta(hours=hours)),
        "why": check_reason(approval.get("why")),
    }


def judge_writing(outcome: Outcome, change: Change) -> None:
    """Refuse a writing that came too late; one whose answer was lost was none."""
    if outcome.succeeded:
        return
    lease, record = (entries[0] if entries else None for entries in outcome.found)
    written = None if change.finished is not None else {**(change.record or {}), "token": change.token}
    if (record.value if record else None) == written:
        return
    if change.fenced and (lease is None or lease_of(lease).token != change.token):
        who = f"{lease.value['person']} has it" if lease else "nobody has it"
        raise RecordError(f"{change.name}: its lease was lost while this was written, {who} now. Nothing was written")
    found = record.modified if record else 0
    raise RecordError(
        f"{change.name}: its record was written by somebody else meanwhile: revision {found} was found, and {change.expected} expected. "
        "Nothing was written; read it again"
    )


def freeze_change(keys: Keys, frozen: bool, person: str, why: object, now: datetime) -> Request:
    """Freeze an environment's rollouts, or let them go on."""
    if not frozen:
        return delete(keys.freeze)
    return put(keys.freeze, {"person": person, "since": stamp(now), "why": check_reason(why)})


# For people


def duration(passed: timedelta) -> str:
    """Say how long, in the two units that matter."""
    seconds = max(0, int(passed.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86400} days"


HEADER = ("deployment", "held by", "from", "since (UTC)", "for", "release", "why")


def lease_table(known: Mapping[str, Known], freeze: Mapping[str, Any] | None, now: datetime) -> list[str]:
    """Return who holds what, since when and why, as lines."""
    rows = [_lease_row(name, known[name].lease, now) for name in sorted(known)]
    held = [row for row in rows if row]
    lines = aligned([HEADER, *held]) if held else ["nobody holds a lease"]
    for name in sorted(known):
        approval = known[name].approval
        if approval and parse_stamp(approval["until"]) > now:
            what = approval["release"] or "any release"
            lines.append(
                f"{name}: {approval['person']} approves of {what} until {approval['until']}: {approval['why']}"
            )
        record = known[name].record
        if record and known[name].lease is None:
            lines.append(
                f"{name}: a rollout of {record.get('person', 'somebody')} was left in {record.get('phase', 'an unknown phase')}; "
                "the next deploy or rollback settles it"
            )
    if freeze:
        lines.append(f"frozen by {freeze['person']} since {freeze['since']}: {freeze['why']}")
    return lines


def _lease_row(name: str, lease: Lease | None, now: datetime) -> tuple[str, ...]:
    if lease is None:
        return ()
    since = parse_stamp(lease.value["since"])
    told = [str(lease.value.get(key) or "-") for key in ("person", "controller", "release", "why")]
    return (name, told[0], told[1], f"{since:%Y-%m-%d %H:%M:%S}", duration(now - since), told[2], told[3])


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines; the last column is as long as it is."""
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    return [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1])).rstrip()
        for row in table
    ]
