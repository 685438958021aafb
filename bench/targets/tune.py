# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's settings by five workloads: ours against Debian's default, pgtune's formulas and autobase's values, in turns."""

import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.nectar.backend.plugins.module_utils import budget_database, tuning, tuning_trial
from ansible_collections.nectar.backend.plugins.module_utils.tuning_trial import Estimate

from bench.container import LIMIT, container, containers_conf, missing, podman
from bench.harness import ROOT, BenchError, Figure, Run, Target, median, take_turns

CONTAINER = "nectar-tune-bench"
# The host that all four are meant for: 4 GB, 2 cores, a disk without moving parts, 8 GB for the log.
MEMORY, CORES, WAL = 4096, 2, 8192
SCALE = int(os.environ.get("NECTAR_BENCH_SCALE", "20"))
SECONDS = int(os.environ.get("NECTAR_BENCH_SECONDS", "6"))
CLIENTS = 8
WORKLOADS = ("select", "oltp", "mixed", "analytic", "application")
DEBIAN, PGTUNE, AUTOBASE, OURS = "Debian's default", "pgtune", "autobase", "ours"
# Connections by purpose, as the budget counts them for twenty pools of four.
CONNECTIONS = {
    "from 20 pools of 4": 80,
    "for migrations and people": 6,
    "for the cluster's own": 6,
    "for superusers": 5,
}
GOAL, WAL_GOAL = 0.98, 0.2
# As examples/orders has it: reads of one order, the newest page, and new orders.
ORDERS = (
    "CREATE EXTENSION pg_prewarm",
    """CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, placed_at timestamptz NOT NULL DEFAULT now(),
       customer_id integer NOT NULL CHECK (customer_id > 0), total_cents integer NOT NULL CHECK (total_cents > 0),
       quantity smallint NOT NULL CHECK (quantity BETWEEN 1 AND 1000))""",
    "INSERT INTO orders (customer_id, quantity, total_cents) SELECT 1 + n % 5000, 1 + n % 9, 500 + n % 19501 FROM generate_series(1, 500000) n",
)
APPLICATION = """\\set id random(1, 500000)
\\set other random(1, 500000)
SELECT id, customer_id, quantity, total_cents, placed_at FROM orders WHERE id = :id;
SELECT id, customer_id, quantity, total_cents, placed_at FROM orders WHERE id = :other;
SELECT id, customer_id, quantity, total_cents, placed_at FROM orders WHERE id < :id ORDER BY id DESC LIMIT 20;
INSERT INTO orders (customer_id, quantity, total_cents) VALUES (1 + :id % 5000, 2, :other) RETURNING id;
"""
HOW = (
    f"scale {SCALE}, {CLIENTS} clients, {SECONDS} s a run after a fresh start, warmed buffers and a checkpoint; PostgreSQL 17 in a container, one at a time; "
    "medians of the rounds' ratios, in brackets the interval of the true median with 95 %"
)


def pgtune(kind: str) -> dict[str, Any]:
    """pgtune's formulas (le0pard/pgtune, configurationSlice.js at 7caef27) for 4 GB, 2 processors and an SSD."""
    named = {"select": "web", "oltp": "oltp", "mixed": "mixed", "analytic": "dw", "application": "web"}[kind]
    connections = {"web": 200, "oltp": 300, "mixed": 100, "dw": 40}[named]
    buffers, workers = MEMORY // 4, 8
    work = (MEMORY - buffers) * 1024 // ((connections + workers) * 3)
    log = {"web": ("1GB", "4GB"), "oltp": ("2GB", "8GB"), "mixed": ("1GB", "4GB"), "dw": ("4GB", "16GB")}[named]
    return {
        "max_connections": connections,
        "shared_buffers": f"{buffers}MB",
        "effective_cache_size": f"{MEMORY * 3 // 4}MB",
        "maintenance_work_mem": f"{MEMORY // (8 if named == 'dw' else 16)}MB",
        "checkpoint_completion_target": 0.9,
        "wal_buffers": "16MB",
        "default_statistics_target": 500 if named == "dw" else 100,
        "random_page_cost": 1.1,
        "effective_io_concurrency": 200,
        "work_mem": f"{max(4096, work // 2 if named in ('dw', 'mixed') else work)}kB",
        "huge_pages": "off",
        "min_wal_size": log[0],
        "max_wal_size": log[1],
        "wal_compression": "lz4",
        "jit": "off",
    }


def autobase() -> dict[str, Any]:
    """autobase's own values (vitabaks/autobase, automation/roles/common/defaults/main.yml at d10e675), with its shares of 4 GB."""
    return {
        "max_connections": 1000, "superuser_reserved_connections": 5, "shared_buffers": f"{MEMORY // 4}MB",
        "effective_cache_size": f"{MEMORY * 3 // 4}MB", "work_mem": "64MB", "maintenance_work_mem": "512MB", "huge_pages": "try",
        "min_wal_size": "1GB", "max_wal_size": "8GB", "wal_buffers": "32MB", "wal_compression": "on", "wal_level": "logical",
        "wal_log_hints": "on", "checkpoint_timeout": "15min", "checkpoint_completion_target": 0.9, "random_page_cost": 1.1,
        "effective_io_concurrency": 200, "default_statistics_target": 1000, "track_io_timing": "on", "track_functions": "all",
        "autovacuum_naptime": "1s", "autovacuum_vacuum_scale_factor": 0.01, "autovacuum_analyze_scale_factor": 0.01,
        "shared_preload_libraries": "pg_stat_statements,auto_explain", "pg_stat_statements.track_planning": "on",
        "auto_explain.log_min_duration": "10s", "auto_explain.log_analyze": "true", "auto_explain.log_timing": "off",
    }  # fmt: skip


def ours(kind: str) -> dict[str, Any]:
    """The role's values, the budget's for such a host, and what the kind asks for, as site.yml and tune.yml set them."""
    fixed = yaml.safe_load((ROOT / "roles/postgresql/defaults/main.yml").read_text())["postgresql_default_parameters"]
    room = budget_database.Room(MEMORY, CORES, WAL)
    sized = budget_database.parameters(room, CONNECTIONS, budget_database.capacity(room))
    wished = {wish.name: wish.value for wish in tuning.wishes(kind, tuning.Host(is_solid=True), 170000)}
    return {**fixed, **{name: figure["setting"] for name, figure in sized.items()}, **wished}


def ways(kind: str) -> dict[str, dict[str, Any]]:
    return {DEBIAN: {}, PGTUNE: pgtune(kind), AUTOBASE: autobase(), OURS: ours(kind)}


@contextlib.contextmanager
def server() -> Iterator[None]:
    """A container with PostgreSQL's programs, and the project's code to read."""
    place = "install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/bench"
    with container(CONTAINER, "--network", "none", "--shm-size", "2g", "--volume", f"{ROOT}:/nectar:ro"):
        podman("exec", CONTAINER, *place.split())
        yield


def order(given: Mapping[str, Any]) -> str:
    """Have bench/turn.py do something in the container."""
    environment = {**os.environ, "CONTAINERS_CONF": str(containers_conf())}
    words = [
        "podman",
        "exec",
        "--interactive",
        "--user",
        "postgres",
        "--env",
        "PYTHONPATH=/nectar/.ansible/collections",
        CONTAINER,
    ]
    done = subprocess.run(
        [*words, "python3", "/nectar/bench/turn.py"],
        input=json.dumps(given), env=environment, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"a turn ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def turn(kind: str, settings: Mapping[str, Any], seed: int) -> tuning_trial.Run:
    """One run of a workload with some settings."""
    script = {"analytic": tuning_trial.ANALYTIC, "application": APPLICATION}.get(kind, "")
    given = {
        "settings": dict(settings),
        "options": tuning_trial.bench_options(kind, "/var/lib/postgresql/bench/workload.sql" if script else ""),
        "script": script,
        "vacuum": ["--no-vacuum"] if script else [],
        "seconds": SECONDS,
        "clients": CLIENTS if kind != "analytic" else 2,
        "seed": seed,
    }
    return tuning_trial.Run(**json.loads(order(given)))


def measure(told: Run) -> list[Figure]:
    found: list[Figure] = []
    with server():
        told.say(f"fills a database of scale {SCALE}")
        order({"prepare": SCALE, "statements": ORDERS})
        for kind in WORKLOADS:
            found += compare(kind, told)
    return found


def compare(kind: str, told: Run) -> list[Figure]:
    """All four ways in turns; a round's runs have one seed."""
    rounds = dict.fromkeys(ways(kind), 0)

    def one(name: str, settings: Mapping[str, Any]) -> tuning_trial.Run:
        rounds[name] += 1
        return turn(kind, settings, rounds[name])

    tried = {name: functools.partial(one, name, settings) for name, settings in ways(kind).items()}
    runs = take_turns(tried, told.rounds, lambda text: told.say(f"{kind}: {text}"))
    return figures(kind, runs, told)


def figures(kind: str, runs: Mapping[str, list[tuning_trial.Run]], told: Run) -> list[Figure]:
    """Each way against the others; the best of the peers by its median of transactions for each CPU second."""
    for name, taken in runs.items():
        told.say(f"  {kind}, {name}: {median(run.speed for run in taken):.1f} transactions for each CPU second, "
                 f"{median(run.log for run in taken):.0f} bytes of log for each")  # fmt: skip
    peers = [name for name in runs if name != OURS]
    best = max(peers, key=lambda name: median(run.speed for run in runs[name]))
    found = []
    for peer in peers:
        ratio = tuning_trial.estimate([new.speed / old.speed for new, old in zip(runs[OURS], runs[peer], strict=True)])
        goal = GOAL if peer == best else None
        marked = (
            f"{kind}: transactions per CPU second, times {peer}'s{' (the best)' if goal else ''} {told_of(ratio, goal)}"
        )
        found.append(Figure(figure=marked, value=ratio.median, unit="x", better="higher", goal=goal, how=HOW))
    if kind in ("oltp", "mixed"):
        logs = tuning_trial.estimate(
            [new.log / max(1.0, old.log) for new, old in zip(runs[OURS], runs[DEBIAN], strict=True)]
        )
        said = f"{kind}: log per transaction, times {DEBIAN}'s {told_of(logs, None)}"
        found.append(Figure(figure=said, value=logs.median, unit="x", better="lower", goal=WAL_GOAL, how=HOW))
    return found


def told_of(ratio: Estimate, goal: float | None) -> str:
    """The interval, and whether the noise leaves the goal open."""
    if ratio.low is None or ratio.high is None:
        return "(too few rounds for an interval)"
    is_open = goal is not None and ratio.low < goal <= ratio.high
    return f"({ratio.low:.3f} to {ratio.high:.3f}{', unresolved' if is_open else ''})"


TARGET = Target(
    purpose="PostgreSQL's settings by five workloads, against Debian's default, pgtune's formulas and autobase's values",
    needs="podman, the lab's image, and Debian's packages",
    takes="40 minutes",
    rounds=10,
    missing=missing,
    measure=measure,
)
