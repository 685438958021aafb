# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What pgBackRest's repository holds, which backup serves, and what speaks against using it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MEBIBYTE = 1024 * 1024
SEGMENT = 16 * MEBIBYTE
# What a scratch cluster needs beside the backup itself: its log, and what it writes while it starts.
SCRATCH_MARGIN = 192 * MEBIBYTE
# What a backup needs beside what the last one took.
REPOSITORY_MARGIN = 64 * MEBIBYTE
TYPES = ("full", "diff", "incr")
# What pgBackRest says of a stanza that isn't there, or holds no backup yet.
MISSING, EMPTY = (1, 3), 2


class BackupsError(Exception):
    """A backup can't be made or used this way."""


@dataclass(frozen=True)
class Backup:
    """One backup; times are seconds since 1970, sizes bytes: of the database, and of what it added to the repository."""

    label: str
    kind: str
    began: float
    ended: float
    size: int
    added: int
    damaged: bool
    first_wal: str
    last_wal: str


@dataclass(frozen=True)
class Holdings:
    """What the repository holds of one cluster, oldest backup first; `newest_wal` is the last segment in the archive."""

    exists: bool
    backups: tuple[Backup, ...] = ()
    newest_wal: str = ""
    message: str = ""

    @property
    def usable(self) -> tuple[Backup, ...]:
        """The backups in which no page was found damaged."""
        return tuple(backup for backup in self.backups if not backup.damaged)


@dataclass(frozen=True)
class Proof:
    """What a drill proved of one backup, and how long that took."""

    label: str
    backup_ended: float
    proven: float
    seconds: float
    restore_seconds: float
    databases: int
    tables: int
    rows: int
    server: str = ""


@dataclass(frozen=True)
class Queue:
    """The log that waits for the archive: segments, bytes, the share of its ceiling, and what to say of it."""

    segments: int
    size: int
    alarming: bool
    says: str


def read_holdings(reply: object, stanza: str) -> Holdings:
    """Read what `pgbackrest info --output=json` prints."""
    try:
        found = next((entry for entry in _list(reply) if entry["name"] == stanza), None)
        if found is None:
            return Holdings(False, message="there is no such stanza")
        status = found["status"]
        if status["code"] in MISSING:
            return Holdings(False, message=str(status["message"]))
        if status["code"] not in (0, EMPTY):
            raise BackupsError(
                f"the repository of {stanza} says: {status['message']} ({status['code']}); look with `pgbackrest info`"
            )
        newest = max((archive["max"] or "" for archive in found["archive"]), default="")
        backups = sorted((_backup(entry) for entry in found["backup"]), key=lambda backup: backup.ended)
        return Holdings(True, tuple(backups), newest, str(status["message"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BackupsError(f"pgBackRest answered in an unknown form, {str(reply)[:200]}: {error!r}") from error


def _list(reply: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(reply, list):
        raise TypeError("a list is expected")
    return reply


def _backup(entry: Mapping[str, Any]) -> Backup:
    repository, archive = entry["info"]["repository"], entry["archive"]
    return Backup(
        label=entry["label"],
        kind=entry["type"],
        began=float(entry["timestamp"]["start"]),
        ended=float(entry["timestamp"]["stop"]),
        size=int(entry["info"]["size"]),
        added=int(repository["delta"]),
        damaged=bool(entry.get("error")),
        first_wal=archive["start"] or "",
        last_wal=archive["stop"] or "",
    )


def read_target(text: str) -> float | None:
    """The moment that a person wants back, as seconds since 1970; nothing for the newest there is."""
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BackupsError(
            f"target: {text!r} is no moment with its offset from UTC; write it as 2026-11-25T16:00:00+00:00"
        )
    return moment.timestamp()


def choose_backup(holdings: Holdings, target: float | None, now: float, label: str = "") -> Backup:
    """The backup to restore: the newest that ended before the target."""
    if not holdings.exists or not holdings.backups:
        raise BackupsError("the repository holds no backup; make one with playbooks/backup.yml")
    if not holdings.usable:
        raise BackupsError("in every backup damaged pages were found; look with `pgbackrest info --set=<label>`")
    first, last = holdings.usable[0], holdings.usable[-1]
    if target is not None and target > now:
        raise BackupsError(
            f"target: {says(target)} is still to come; the backups reach from {says(first.ended)} to now, {says(now)}"
        )
    if label:
        chosen = next((backup for backup in holdings.backups if backup.label == label), None)
        if chosen is None:
            known = ", ".join(backup.label for backup in holdings.backups)
            raise BackupsError(f"backup: there is no {label!r}; expected one of {known}")
        if chosen.damaged:
            raise BackupsError(f"backup: damaged pages were found in {label}; name another, or none for the newest")
        if target is not None and target < chosen.ended:
            raise BackupsError(f"target: {says(target)} lies before the end of {label}, {says(chosen.ended)}")
        return chosen
    if target is None:
        return last
    before = [backup for backup in holdings.usable if backup.ended <= target]
    if not before:
        raise BackupsError(
            f"target: {says(target)} lies before the first backup ended, {says(first.ended)}; name a later moment"
        )
    return before[-1]


def refuse_without_room(backup: Backup, free: int, path: str, inside: str = "") -> None:
    """Refuse a restore for which the scratch place has no room."""
    need = backup.size + SCRATCH_MARGIN
    if free < need:
        raise BackupsError(
            f"{inside or path}: {mebibytes(free)} are free, and {backup.label} takes {mebibytes(need)} there with its log; "
            "remove a former restore (-e state=absent), or name a roomier folder (-e scratch=PATH)"
        )


def refuse_full_repository(holdings: Holdings, kind: str, free: int, path: str) -> None:
    """Refuse a backup that the repository can't hold, by what the last of its kind took."""
    former = [backup.added for backup in holdings.backups if backup.kind == kind or kind != "full"]
    need = (former[-1] if former else 0) * 5 // 4 + REPOSITORY_MARGIN
    if free < need:
        raise BackupsError(
            f"{path}: {mebibytes(free)} are free, and a {kind} backup may take {mebibytes(need)}; "
            "make room, or keep fewer backups (backups_retention_full, backups_retention_diff)"
        )


def recovery_arguments(backup: Backup, target: float | None, databases: Sequence[str] = ()) -> list[str]:
    """What pgBackRest is told of the backup, the moment, and the databases to restore."""
    words = [f"--set={backup.label}", "--archive-mode=off", *(f"--db-include={name}" for name in databases)]
    if target is not None:
        # A transaction of the target's own moment is in, and the cluster takes writes afterwards.
        words += ["--type=time", f"--target={timestamp(target)}", "--target-action=promote"]
    return words


def timestamp(seconds: float) -> str:
    """A moment as PostgreSQL reads it, to the microsecond."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def says(seconds: float) -> str:
    """A moment as people read it, and may type it as a target."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def mebibytes(size: float) -> str:
    return f"{size / MEBIBYTE:.0f} MiB"


def table(holdings: Holdings, proof: Proof | None, now: float) -> list[str]:
    """What is there, a line for each backup."""
    if not holdings.backups:
        return [f"no backup: {holdings.message}"]
    lines = [f"{'backup':<34} {'kind':<5} {'ended':<26} {'age':>8} {'database':>10} {'added':>10}"]
    for backup in holdings.backups:
        note = "  damaged" if backup.damaged else ""
        note += "  proven" if proof and proof.label == backup.label else ""
        lines.append(
            f"{backup.label:<34} {backup.kind:<5} {says(backup.ended):<26} {(now - backup.ended) / 3600:>6.1f} h "
            f"{mebibytes(backup.size):>10} {mebibytes(backup.added):>10}{note}"
        )
    return [*lines, _proof_line(proof, now)]


def _proof_line(proof: Proof | None, now: float) -> str:
    if proof is None:
        return "no drill has proven a backup yet"
    return (
        f"last drill: {proof.label} was restored in {proof.restore_seconds:.0f} s and proven {(now - proof.proven) / 3600:.1f} h ago, "
        f"{proof.rows} rows of {proof.tables} tables in {proof.databases} databases"
    )


def write_proof(proof: Proof) -> dict[str, Any]:
    """The proof as plain data; its moments are readable ones, too."""
    return {**asdict(proof), "backup_ended_at": says(proof.backup_ended), "proven_at": says(proof.proven)}


def read_proof(data: object) -> Proof:
    """The proof from plain data."""
    fields = Proof.__dataclass_fields__
    try:
        if not isinstance(data, Mapping):
            raise TypeError("a mapping is expected")
        values = {name: data[name] for name in fields}
        for name in ("backup_ended", "proven", "seconds", "restore_seconds"):
            values[name] = float(values[name])
        return Proof(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise BackupsError(f"the proof of the last drill can't be read, {str(data)[:200]}: {error!r}") from error


READY = re.compile(r"([0-9A-F]{24})\.ready")


def judge_queue(names: Sequence[str], ceiling: int, drops: bool) -> Queue:
    """Say how much of the log waits for the archive, by the names in archive_status; from half of the ceiling on it's an alarm."""
    segments = sum(1 for name in names if READY.fullmatch(name))
    size = segments * SEGMENT
    text = f"{segments} segments of the log ({mebibytes(size)}) wait for the archive, whose ceiling is {mebibytes(ceiling)}"
    if 2 * size < ceiling:
        return Queue(segments, size, False, text)
    fate = "is dropped, and no moment from then to the next backup can be restored" if drops else "fills the disk"
    when = "reached: the log" if size >= ceiling else "half reached: beyond it the log"
    return Queue(segments, size, True, f"{text}; it is {when} {fate}. `pgbackrest check` says why it doesn't go on")


def archive_gap(reached: str, newest: str) -> str:
    """What is missing where a recovery of all that is archived ended before the newest segment; an empty text where nothing is."""
    # The first eight digits are the timeline, on which a former primary may have gone on.
    if not newest or reached[8:] >= newest[8:]:
        return ""
    return f"the recovery ended in {reached}, though the archive reaches to {newest}: a segment between them is missing or unreadable"
