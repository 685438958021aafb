# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restored database or cluster must lose and gain before it takes the place of the living one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ansible_collections.nectar.backend.plugins.module_utils import etcd_store
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError
from ansible_collections.nectar.backend.plugins.module_utils.databases import quote

RESTORED, REPLACED = "restored", "replaced"
# PostgreSQL cuts longer names off silently.
LONGEST_NAME = 63
# What pgBackRest wrote for the recovery, which is over; a standby that read it again would stop at the same moment.
RECOVERY = re.compile(
    r"\s*(restore_command|recovery_target\w*|recovery_end_command|archive_mode|archive_cleanup_command)\s*="
)
# What Patroni remembers of the cluster that is replaced. A member whose log is shorter than `status` says would never be let lead. Its settings
# (config) and the system's identifier (initialize) are the restored cluster's own, too.
FORGOTTEN = ("leader", "status", "optime/leader", "history", "sync", "failsafe", "failover")
HISTORY = re.compile(r"[0-9A-F]{8}\.history")


def beside(database: str, word: str) -> str:
    """The name beside a database's own."""
    name = f"{database}_{word}"
    if len(name) > LONGEST_NAME:
        raise BackupsError(
            f"database: {name} has over {LONGEST_NAME} characters, so {database} can't be restored beside itself"
        )
    return name


def refuse_names(database: str, present: Collection[str], live: bool) -> None:
    """Refuse to overwrite what a former restore left."""
    for word in (RESTORED, *([REPLACED] if live else [])):
        name = beside(database, word)
        if name in present:
            raise BackupsError(
                f"the database {name} is there already, from a former restore; once nobody needs it, drop it: "
                f"sudo -u postgres dropdb {name}"
            )


def create_sql(database: str, owner: str) -> str:
    """Make the empty database beside, closed to all others than its owner."""
    name = quote(beside(database, RESTORED))
    return (
        f"CREATE DATABASE {name} OWNER {quote(owner)} TEMPLATE template0;\nREVOKE ALL ON DATABASE {name} FROM PUBLIC;\n"
    )


def swap_sql(database: str, exists: bool) -> str:
    """Put what was restored in the place of what lives; nobody is in either meanwhile."""
    restored, replaced = beside(database, RESTORED), beside(database, REPLACED)
    lines = [f"ALTER DATABASE {quote(database)} WITH ALLOW_CONNECTIONS false;"] if exists else []
    lines += [
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
        f"WHERE datname IN ({literal(database)}, {literal(restored)}) AND pid <> pg_backend_pid();",
        "BEGIN;",
    ]
    if exists:
        lines.append(f"ALTER DATABASE {quote(database)} RENAME TO {quote(replaced)};")
    return "\n".join([*lines, f"ALTER DATABASE {quote(restored)} RENAME TO {quote(database)};", "COMMIT;", ""])


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def without_recovery(text: str) -> str:
    """The file postgresql.auto.conf without what was written for the recovery."""
    return "".join(line for line in text.splitlines(keepends=True) if not RECOVERY.match(line))


def forget_orders(namespace: str, scope: str) -> list[etcd_store.Request]:
    """The orders to etcd by which Patroni forgets the cluster that is replaced, and nothing else below the same prefix."""
    return [etcd_store.delete(f"/{namespace.strip('/')}/{scope}/{name}") for name in FORGOTTEN]


def unarchived_histories(names: Sequence[str], done: Collection[str]) -> list[str]:
    """The timelines' histories that the archive must get, so that nobody begins the same timeline again."""
    return sorted(name for name in names if HISTORY.fullmatch(name) and not {f"{name}.done", f"{name}.ready"} & {*done})
