# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `database`: replicas, transactions, disk and backups leave room for a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    HOLD,
    PASS,
    GateError,
    Verdict,
    check_fields,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    Field,
    is_memory,
    is_number,
    mebibytes,
)

GATE = "database"
MEBIBYTE = 1024 * 1024
STREAMING = "streaming"
# What counts unless the registry says otherwise: replayed lag, seconds of the longest transaction, percent of the disk, hours.
LAG, TRANSACTION, DISK, BACKUP = "64M", 60, 10, 26
REMEDY = "run playbooks/backup.yml, then systemctl start nectar-backup-drill on this server"


def _is_lag(value: object) -> bool:
    return value is False or is_memory(value)


def _is_limit(value: object) -> bool:
    return value is False or (is_number(value) and isinstance(value, int) and value > 0)


def _is_percent(value: object) -> bool:
    return value is False or (is_number(value) and isinstance(value, int) and 1 <= value <= 99)


FIELDS = {
    "lag": Field(_is_lag, "a size, or false", "write it as 64M"),
    "transaction": Field(_is_limit, "whole seconds, or false", "write it as 60"),
    "disk": Field(_is_percent, "a percentage from 1 to 99, or false", "write it without a sign, as 10"),
    "backup": Field(_is_limit, "whole hours, or false", "write it as 26"),
}

# One look at the cluster, as one line of JSON; what only the primary knows is null on a standby.
QUERY = """
SELECT json_build_object(
  'standby', pg_is_in_recovery(),
  'directory', current_setting('data_directory'),
  'replicas', (SELECT coalesce(json_agg(json_build_object(
      'name', application_name, 'state', state,
      'lag', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) END)), '[]')
    FROM pg_stat_replication),
  'transaction', (SELECT json_build_object(
      'seconds', extract(epoch FROM clock_timestamp() - xact_start), 'pid', pid, 'database', datname, 'user', usename)
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
    ORDER BY xact_start LIMIT 1))
"""


@dataclass(frozen=True)
class Replica:
    """A standby as the primary sees it; the lag is bytes of WAL that it hasn't replayed."""

    name: str
    state: str
    lag: float | None


@dataclass(frozen=True)
class Transaction:
    """The transaction that is open for longest."""

    seconds: float
    pid: int
    database: str
    user: str


@dataclass(frozen=True)
class DatabaseFacts:
    """What the primary tells of itself; `free` is percent by path.

    Where backups are declared, `backup_age` is seconds since the last proven one, or `backup_error` says why nobody knows.
    """

    standby: bool
    replicas: tuple[Replica, ...] = ()
    expected_replicas: int = 0
    transaction: Transaction | None = None
    free: Mapping[str, float] | None = None
    backups: bool = False
    backup_age: float | None = None
    backup_error: str = ""


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    return check_fields(spec, field, FIELDS)


def left_out(spec: Mapping[str, Any], backups: bool) -> list[str]:
    """What isn't looked at, for the environment has no such thing."""
    if backups or spec.get("backup") is False:
        return []
    return ["database: the age of the last proven backup is left out, for the environment declares no backups"]


def read_answer(reply: Mapping[str, Any]) -> tuple[bool, tuple[Replica, ...], Transaction | None]:
    """Read the answer to QUERY."""
    try:
        replicas = tuple(
            Replica(entry["name"], entry["state"] or "unknown", entry["lag"]) for entry in reply["replicas"] or ()
        )
        longest = reply["transaction"]
        transaction = longest and Transaction(
            float(longest["seconds"]), int(longest["pid"]), longest["database"], longest["user"]
        )
        return bool(reply["standby"]), replicas, transaction
    except (KeyError, TypeError, ValueError) as error:
        raise GateError(f"PostgreSQL answered in an unknown form, {reply!r}: {error}") from error


def judge(spec: Mapping[str, Any], facts: DatabaseFacts) -> Verdict:
    """Say whether the database bears a change now."""
    if facts.standby:
        return Verdict(GATE, HOLD, "the server that was asked is a standby; only the primary knows", {"standby": True})
    found = [part for part in _parts(spec, facts) if part]
    lacks = [says for is_lack, says, _figures in found if is_lack]
    evidence = {name: value for _lack, _says, figures in found for name, value in figures.items()}
    if lacks:
        return Verdict(GATE, HOLD, "; ".join(lacks), evidence)
    return Verdict(GATE, PASS, "; ".join(says for _lack, says, _figures in found) or "nothing is looked at", evidence)


Part = tuple[bool, str, Mapping[str, Any]]


def _parts(spec: Mapping[str, Any], facts: DatabaseFacts) -> Iterator[Part]:
    """Whether each part is a lack, what it says, and its figures."""
    if (lag := spec.get("lag", LAG)) is not False:
        yield _replication(lag, facts)
    if (longest := spec.get("transaction", TRANSACTION)) is not False:
        yield _transaction(longest, facts.transaction)
    if (least := spec.get("disk", DISK)) is not False:
        yield _disk(least, facts.free or {})
    if facts.backups and (oldest := spec.get("backup", BACKUP)) is not False:
        yield _backup(oldest, facts.backup_age, facts.backup_error)


def _replication(limit: str, facts: DatabaseFacts) -> Part:
    streaming = [replica for replica in facts.replicas if replica.state == STREAMING and replica.lag is not None]
    lags = {replica.name: round((replica.lag or 0) / MEBIBYTE, 1) for replica in streaming}
    figures = {"replica_lag_mib": lags, "expected_replicas": facts.expected_replicas}
    if len(streaming) < facts.expected_replicas:
        return True, f"{len(streaming)} of {facts.expected_replicas} replicas stream", figures
    late = [name for name, behind in lags.items() if behind > mebibytes(limit)]
    if late:
        return True, ", ".join(f"{name} is {lags[name]:g} MiB behind, over {limit}" for name in late), figures
    if not streaming:
        return False, "there is no replica", figures
    return False, f"{len(streaming)} replicas are at most {max(lags.values()):g} MiB behind", figures


def _transaction(limit: int, transaction: Transaction | None) -> Part:
    if transaction is None:
        return False, "no transaction is open", {"longest_transaction_seconds": 0}
    seconds = round(transaction.seconds, 1)
    figures = {"longest_transaction_seconds": seconds, "pid": transaction.pid, "user": transaction.user}
    says = f"a transaction of {transaction.user} in {transaction.database} (pid {transaction.pid}) is open for {seconds:g} s"
    over = transaction.seconds > limit
    return over, f"{says}, over {limit}" if over else f"the longest transaction is open for {seconds:g} s", figures


def _disk(least: int, free: Mapping[str, float]) -> Part:
    figures = {"free_percent": {path: round(percent, 1) for path, percent in free.items()}}
    if not free:
        return True, "the free disk isn't known", figures
    path, percent = min(free.items(), key=lambda item: item[1])
    says = f"{percent:.0f} % are free on {path}"
    return percent < least, f"{says}, under {least} %" if percent < least else says, figures


def _backup(limit: int, age: float | None, error: str) -> Part:
    if age is None:
        return True, f"no backup is proven{f': {error}' if error else ''} ({REMEDY})", {"backup_age_hours": None}
    hours = age / 3600
    says, figures = f"the last proven backup is {hours:.1f} h old", {"backup_age_hours": round(hours, 1)}
    return (True, f"{says}, over {limit} h ({REMEDY})", figures) if hours > limit else (False, says, figures)
