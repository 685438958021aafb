# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One turn of a workload on a PostgreSQL of its own, inside the container of the target tune: settings in, a run out."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils import tuning_trial

PROGRAMS = "/usr/lib/postgresql/17/bin"
PLACE = Path("/var/lib/postgresql/bench")
DATABASE = "bench"
LOG = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
WARM = "SELECT sum(pg_prewarm(oid)) FROM pg_class WHERE relname ~ '^(pgbench|orders)' AND relkind IN ('r', 'i')"


def run(*words: str) -> str:
    """Run one of PostgreSQL's programs."""
    done = subprocess.run([f"{PROGRAMS}/{words[0]}", *words[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{words[0]} ended with {done.returncode}: {done.stderr[-600:]}{log_end()}")
    return done.stdout


def log_end() -> str:
    """What the server said last."""
    path = PLACE / "log"
    return path.read_text(errors="replace")[-600:] if path.exists() else ""


def ask(sql: str, database: str = DATABASE) -> str:
    """Ask the server."""
    return run("psql", "-h", str(PLACE), "-d", database, "-AtXqc", sql)


def start(settings: Mapping[str, Any]) -> None:
    """Start it with these settings and no others."""
    own = {"listen_addresses": "", "unix_socket_directories": str(PLACE), **settings}
    lines = [f"{name} = {tuning_trial.quote(str(value))}\n" for name, value in own.items()]
    (PLACE / "data" / "postgresql.conf").write_text("".join(lines))
    # Its output must not be this program's, which would then wait for the server's end.
    run("pg_ctl", "-D", f"{PLACE}/data", "-l", f"{PLACE}/log", "-w", "-t", "120", "-s", "start")


def stop() -> None:
    """Stop it, with a last checkpoint."""
    run("pg_ctl", "-D", f"{PLACE}/data", "-m", "fast", "-w", "-t", "120", "-s", "stop")


def prepare(scale: int, statements: Sequence[str]) -> None:
    """Make the server and fill it."""
    run("initdb", "-D", f"{PLACE}/data", "-k", "-A", "trust", "--locale=C.UTF-8", "-N")
    start({"max_wal_size": "4GB", "maintenance_work_mem": "256MB"})
    ask(f"CREATE DATABASE {DATABASE}", "postgres")
    run("pgbench", "-h", str(PLACE), "-i", "-q", "-s", str(scale), DATABASE)
    for statement in statements:
        ask(statement)
    ask("VACUUM ANALYZE")
    stop()


def bench(order: Mapping[str, Any], seconds: int, more: Sequence[str]) -> int:
    """Let the clients work, and count their transactions."""
    words = [
        *order["options"],
        f"--client={order['clients']}",
        "--jobs=1",
        f"--time={seconds}",
        f"--random-seed={order['seed']}",
    ]
    return tuning_trial.read_bench(run("pgbench", "-h", str(PLACE), *words, *more, DATABASE))


def cpu() -> float:
    """Seconds of a processor that the server took so far."""
    stats = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                stats[int(entry.name)] = Path(entry.path, "stat").read_text(errors="replace")
            except OSError:
                continue
    root = int((PLACE / "data" / "postmaster.pid").read_text().split()[0])
    return tuning_trial.tree_ticks(stats, root) / os.sysconf("SC_CLK_TCK")


def turn(order: Mapping[str, Any]) -> dict[str, float]:
    """Start, warm, measure, stop."""
    start(order["settings"])
    ask(WARM)
    bench(order, 1, order["vacuum"])
    ask("CHECKPOINT")
    taken, log = cpu(), int(ask(LOG))
    done = bench(order, order["seconds"], ["--no-vacuum"])
    result = {"transactions": done, "cpu": cpu() - taken, "wal": int(ask(LOG)) - log}
    stop()
    return result


def main() -> None:
    """Do what the order on standard input says."""
    order = json.load(sys.stdin)
    if "prepare" in order:
        prepare(order["prepare"], order["statements"])
        return
    (PLACE / "workload.sql").write_text(order["script"])
    print(json.dumps(turn(order)))


if __name__ == "__main__":
    main()
