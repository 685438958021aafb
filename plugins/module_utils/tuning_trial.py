# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a trial of settings on a scratch clone runs, and what its pairs of runs prove."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from statistics import median
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import TuningError

KEPT, LOST, UNRESOLVED = "kept", "lost", "unresolved"
CONFIDENCE = 0.95
# Below so many bytes of log for each transaction, nobody's disk notes a difference.
LEAST_WAL = 256
# What pgbench's tables take for each unit of scale, and the room that stays free beside.
SCALE_BYTES = 17 << 20
SPARE = 64 << 20
# Where the clone lies, who it is and what it tells others are its own.
CLONES_OWN_NAMES = (
    "allow_alter_system archive_cleanup_command archive_command archive_library archive_mode cluster_name config_file data_directory "
    "event_source external_pid_file hba_file hot_standby ident_file listen_addresses log_destination log_directory log_filename logging_collector "
    "port primary_conninfo primary_slot_name promote_trigger_file recovery_end_command restore_command ssl "
    "synchronized_standby_slots synchronous_standby_names sync_replication_slots unix_socket_directories unix_socket_group "
    "unix_socket_permissions recovery_target recovery_target_action recovery_target_inclusive recovery_target_lsn recovery_target_name "
    "recovery_target_time recovery_target_timeline recovery_target_xid"
)
CLONES_OWN = frozenset(CLONES_OWN_NAMES.split())
BUILTIN: dict[str, tuple[str, ...]] = {
    "select": ("select-only",),
    "oltp": ("tpcb-like",),
    "mixed": ("select-only@8", "tpcb-like@2"),
}
# Long questions over pgbench's own table; what one run asks doesn't depend on the one before.
ANALYTIC = """\\set modulus random(50, 500)
SELECT bid, aid % :modulus AS part, count(*), avg(abalance), max(aid) FROM pgbench_accounts GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20;
SELECT count(*) FROM (SELECT aid, sum(abalance) OVER (PARTITION BY aid % :modulus ORDER BY aid) FROM pgbench_accounts WHERE aid % 4 = 0) AS windowed;
"""


@dataclass(frozen=True)
class Run:
    """What one run of the workload did: transactions, processor seconds of the clone, bytes of its log."""

    transactions: int
    cpu: float
    wal: int

    @property
    def speed(self) -> float:
        """Transactions for each second of a processor."""
        return self.transactions / self.cpu

    @property
    def log(self) -> float:
        """Bytes of the log for each transaction."""
        return self.wal / self.transactions


@dataclass(frozen=True)
class Estimate:
    """A ratio of new to old: the median of the pairs, and the interval that holds the true median; none with too few pairs."""

    median: float
    low: float | None
    high: float | None

    def says(self) -> str:
        """As people read it."""
        span = "too few pairs for an interval" if self.low is None else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.median:.3f} ({span})"


@dataclass(frozen=True)
class Limits:
    """From where a change counts as a loss: speed below, or log above, as ratios of new to old."""

    speed: float = 0.98
    wal: float = 1.05


@dataclass(frozen=True)
class Verdict:
    """What the pairs prove of a change, and which of its parameters may be kept."""

    verdict: str
    keep: tuple[str, ...]
    reasons: tuple[str, ...]
    speed: Estimate | None = None
    wal: Estimate | None = None
    pairs: tuple[tuple[Run, Run], ...] = ()

    def evidence(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)


def estimate(ratios: Sequence[float]) -> Estimate:
    """The median, with the order statistics that hold the true one with 95 %: no matter how the noise is distributed."""
    ordered, count = sorted(ratios), len(ratios)
    rank, tail = 0, 1 / 2**count
    while 2 * tail <= 1 - CONFIDENCE and rank < count // 2:
        rank += 1
        tail += comb(count, rank) / 2**count
    if rank == 0:
        return Estimate(median(ordered), None, None)
    return Estimate(median(ordered), ordered[rank - 1], ordered[count - rank])


def judge(
    pairs: Sequence[tuple[Run, Run]], change: Collection[str], restarting: Collection[str], limits: Limits
) -> Verdict:
    """Judge pairs of an old and a new run.

    What is shown not to lose is kept, what is shown to lose isn't. What the noise leaves open is kept where the median doesn't lose and
    no restart is needed, for then it can be watched and taken back at once.
    """
    if any(run.transactions < 1 or run.cpu <= 0 for pair in pairs for run in pair) or not pairs:
        raise TuningError("a run of the workload made no transaction; give it more `seconds`, or a smaller script")
    speed = estimate([new.speed / old.speed for old, new in pairs])
    wal = _log_estimate(pairs)
    losses = []
    if speed.high is not None and speed.high < limits.speed:
        losses.append(f"transactions for each CPU second are {speed.says()} of the former, below {limits.speed}")
    if wal is not None and wal.low is not None and wal.low > limits.wal:
        losses.append(f"the log of a transaction is {wal.says()} of the former, above {limits.wal}")
    told = [
        f"transactions for each CPU second: {speed.says()}",
        *([f"log of a transaction: {wal.says()}"] if wal else []),
    ]
    if losses:
        return Verdict(LOST, (), tuple(losses), speed, wal, tuple(pairs))
    shown = speed.low is not None and speed.low >= limits.speed and (wal is None or (wal.high or 0) <= limits.wal)
    if shown:
        return Verdict(KEPT, tuple(sorted(change)), tuple(told), speed, wal, tuple(pairs))
    if speed.median < limits.speed or (wal is not None and wal.median > limits.wal):
        keep: tuple[str, ...] = ()
        told.append("not shown to be a loss, but the median is one")
    else:
        keep = tuple(sorted(set(change) - set(restarting)))
        told.append("the noise leaves it open, so what needs a restart isn't kept")
    return Verdict(UNRESOLVED, keep, tuple(told), speed, wal, tuple(pairs))


def _log_estimate(pairs: Sequence[tuple[Run, Run]]) -> Estimate | None:
    """The ratio of the log, where there is any to speak of."""
    if max(median([run.log for run in side]) for side in zip(*pairs, strict=True)) < LEAST_WAL:
        return None
    return estimate([max(new.log, 1) / max(old.log, 1) for old, new in pairs])


def turns(pairs: int) -> list[tuple[int, bool]]:
    """Whose turn it is: pair and whether it is the new one; which goes first changes, so that a drift hits both alike."""
    return [(pair, is_new) for pair in range(pairs) for is_new in ((False, True) if pair % 2 == 0 else (True, False))]


# The clone


@dataclass(frozen=True)
class Room:
    """What there is, and what a clone would need, in bytes."""

    free: int
    memory: int
    data: int
    log: int
    buffers: int


def refuse_without_room(room: Room, scale: int, directory: str) -> None:
    """Refuse a clone that doesn't fit beside the server; it may take half of what is free, so the server never runs short."""
    disk = room.data + scale * SCALE_BYTES + 2 * room.log + SPARE
    if 2 * disk > room.free:
        raise TuningError(
            f"{directory} has {room.free >> 20} MB free, and a clone takes {disk >> 20} MB ({room.data >> 20} of data, {scale * SCALE_BYTES >> 20} "
            f"of the workload's tables at scale {scale}, {2 * room.log >> 20} of log), where at most half of it may be used. Name a folder with more "
            "room, by tuning_directory, make the filesystem larger, or lower tuning_scale"
        )
    memory = room.buffers * 5 // 4 + SPARE
    if memory > room.memory:
        raise TuningError(
            f"{room.memory >> 20} MB of memory are available, and a clone takes {memory >> 20} MB; measure where more is free, or propose a smaller "
            "shared_buffers"
        )


def clone_config(settings: Mapping[str, str], change: Mapping[str, str], directory: str) -> str:
    """postgresql.conf of the clone: the server's own settings, on a socket alone, then what is tried."""
    kept = {name: value for name, value in settings.items() if name not in CLONES_OWN and not name.startswith("ssl_")}
    own = {
        "data_directory": f"{directory}/data",
        "hba_file": f"{directory}/pg_hba.conf",
        "ident_file": f"{directory}/pg_ident.conf",
        "listen_addresses": "",
        "unix_socket_directories": directory,
        "unix_socket_permissions": "0700",
        "cluster_name": "nectar-tuning",
        "log_destination": "stderr",
        "wal_keep_size": "0",
        "hot_standby": "off",
        "archive_mode": "off",
        # All log that the copy needs lies in it; a standby's copy is only recovered as from an archive.
        "restore_command": "/bin/false",
    }
    lines = {**kept, **own, **change}
    return "".join(f"{name} = {quote(value)}\n" for name, value in sorted(lines.items()))


def quote(value: str) -> str:
    """A value as postgresql.conf has it."""
    escaped = str(value).replace("\\", "\\\\").replace("'", "''").replace("\n", " ")
    return f"'{escaped}'"


def bench_options(kind: str, script: str) -> list[str]:
    """What pgbench is told to run."""
    if kind in BUILTIN and not script:
        return [f"--builtin={name}" for name in BUILTIN[kind]]
    return [f"--file={script}"]


def read_bench(text: str) -> int:
    """The transactions that pgbench counts at its end."""
    match = re.search(r"number of transactions actually processed: ([0-9]+)", text)
    if match is None:
        raise TuningError(f"pgbench counted no transactions: {' '.join(text.split())[-300:]}")
    failed = re.search(r"number of failed transactions: ([0-9]+)", text)
    if failed and int(failed[1]):
        raise TuningError(
            f"{failed[1]} of the workload's transactions failed; the script must not, with several clients at a time"
        )
    return int(match[1])


def tree_ticks(stats: Mapping[int, str], root: int) -> int:
    """Clock ticks of a process, of all that descend from it, and of those that they have waited for, from /proc/*/stat."""
    fields = {}
    for pid, text in stats.items():
        # A name may hold blanks and brackets; what follows the last bracket doesn't.
        words = text.rpartition(")")[2].split()
        fields[pid] = (int(words[1]), sum(int(word) for word in words[11:15]))
    family, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        if pid in fields and pid not in family:
            family.add(pid)
            waiting += [child for child, (parent, _ticks) in fields.items() if parent == pid]
    return sum(fields[pid][1] for pid in family)


def says(verdict: Verdict, change: Mapping[str, str]) -> str:
    """One line for a person."""
    named = ", ".join(f"{name}={value}" for name, value in sorted(change.items()))
    return f"{named}: {verdict.verdict}: {'; '.join(verdict.reasons)}"
