# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A scratch clone of the server's own PostgreSQL, on a socket alone: made, started with some settings, asked, and removed."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils import tuning_trial
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.psql import run_psql
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import TuningError

UNIT = "nectar-tuning-clone.service"
DATABASE = "nectar_tuning"
# Seconds that one step may take: a copy, a start with what it recovers, the filling of the workload's tables.
COPYING, STARTING, FILLING = 900, 180, 600
WARMING = 2
# Files in a folder that this made, by which the next run knows that it may remove it.
MARK = "made-by-nectar-tuning"
WARM = "CREATE EXTENSION IF NOT EXISTS pg_prewarm; SELECT sum(pg_prewarm(oid)) FROM pg_class WHERE relname LIKE 'pgbench%' AND relkind IN ('r', 'i');"
LOG = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint;"


class LossError(TuningError):
    """PostgreSQL doesn't start with some settings, or is hopelessly slow."""


@dataclass(frozen=True)
class Door:
    """What psql needs to know of the clone."""

    run_command: Any
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Workload:
    """What is run: its kind, a script of a person's own, in which database, by how many clients and for how long."""

    kind: str
    script: str
    database: str
    clients: int
    seconds: int
    scale: int


class Clone:
    """The clone in its folder; a service that ends by itself when its time is up, whatever becomes of who started it."""

    def __init__(self, module: Any, version: int, settings: Mapping[str, str], workload: Workload) -> None:
        params = module.params
        self.module, self.settings, self.workload = module, settings, workload
        self.user, self.timeout = params["login_user"], params["timeout"]
        self.directory = Path(params["directory"])
        self.programs = f"/usr/lib/postgresql/{version // 10000}/bin"
        self.door = Door(module.run_command, {"login_user": self.user, "socket_directory": str(self.directory)})
        self.database = workload.database or DATABASE
        self.script = ""
        self.count = 0

    def refuse(self) -> None:
        """Refuse a folder that holds something else, and a server without what is needed."""
        if self.directory.exists() and any(self.directory.iterdir()) and not (self.directory / MARK).exists():
            raise TuningError(
                f"{self.directory} holds something that no trial made; name an empty folder, by tuning_directory"
            )
        missing = [
            name for name in ("pgbench", "pg_basebackup", "postgres") if not os.path.exists(f"{self.programs}/{name}")
        ]
        if missing:
            raise TuningError(
                f"{self.programs} lacks {', '.join(missing)}; install postgresql-{self.programs.split('/')[-2]}"
            )

    def make(self) -> None:
        """Copy the server's data, and write what the clone alone has."""
        self.remove()
        account = pwd.getpwnam(self.user)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.directory / MARK).touch()
        params = self.module.params
        os.chown(self.directory, account.pw_uid, account.pw_gid)
        words = [
            f"{self.programs}/pg_basebackup",
            "--host",
            params["socket_directory"],
            "--username",
            params["replication_user"],
        ]
        words += [
            "--pgdata",
            f"{self.directory}/data",
            "--checkpoint",
            "fast",
            "--max-rate",
            params["rate"],
            "--no-password",
            "--no-manifest",
        ]
        self.run(words, COPYING, {"PGPASSWORD": params["replication_password"]})
        (self.directory / "data" / "standby.signal").unlink(missing_ok=True)
        self.write("data/recovery.signal", "")
        self.write("data/postgresql.auto.conf", "")
        self.write("pg_hba.conf", f"local all {self.user} peer\n")
        self.write("pg_ident.conf", "")
        if self.workload.kind == "analytic" or self.workload.script:
            self.script = self.write("workload.sql", self.workload.script or tuning_trial.ANALYTIC)

    def write(self, name: str, text: str) -> str:
        """Write a file of the clone's owner, and return its path."""
        path, account = self.directory / name, pwd.getpwnam(self.user)
        path.write_text(text, encoding="utf-8")
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(0o600)
        return str(path)

    def fill(self) -> None:
        """Make the workload's own tables; a person's script brings its database along."""
        if self.workload.database:
            return
        self.ask(f"CREATE DATABASE {DATABASE};", "postgres")
        words = ["--initialize", "--quiet", f"--scale={self.workload.scale}", "--host", str(self.directory), DATABASE]
        self.run([f"{self.programs}/pgbench", *words], FILLING)
        self.ask("VACUUM ANALYZE; CHECKPOINT;", DATABASE)

    def start(self, change: Mapping[str, str]) -> None:
        """Start with the server's settings and a change, and wait until it answers."""
        config = self.write("postgresql.conf", tuning_trial.clone_config(self.settings, change, str(self.directory)))
        # Nobody else's work waits for it, and it outlives its time by no second.
        limits = ["Nice=10", "CPUWeight=20", "IOWeight=20", f"RuntimeMaxSec={self.timeout}", "OOMScoreAdjust=800"]
        kind = [
            "Type=notify",
            f"User={self.user}",
            "KillMode=mixed",
            "KillSignal=SIGINT",
            f"TimeoutStartSec={STARTING}",
            "TimeoutStopSec=60",
        ]
        kind += [f"StandardError=append:{self.directory}/log", "StandardOutput=null"]
        words = [word for fact in (*limits, *kind) for word in ("--property", fact)]
        server = [f"{self.programs}/postgres", "-c", f"config_file={config}"]
        code, _out, errors = self.module.run_command(
            ["systemd-run", "--quiet", "--collect", "--unit", UNIT, *words, *server]
        )
        if code != 0:
            raise LossError(f"PostgreSQL doesn't start: {self.last_words() or errors.strip()}")
        until = time.monotonic() + STARTING
        while True:
            try:
                if self.ask("SELECT NOT pg_is_in_recovery();", "postgres").strip() == "t":
                    return
            except TuningError as error:
                # The first start recovers the copy, and nobody gets in meanwhile.
                if time.monotonic() > until or not self.pid():
                    raise LossError(f"PostgreSQL doesn't serve {STARTING} s after its start: {error}") from error
            time.sleep(0.2)

    def pid(self) -> int:
        """The number of the clone's first process; 0 where there is none."""
        _code, out, _errors = self.module.run_command(["systemctl", "show", "--property", "MainPID", "--value", UNIT])
        return int(out.strip() or 0)

    def last_words(self) -> str:
        """The last lines of the clone's log that say something."""
        try:
            lines = (self.directory / "log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        told = [line for line in lines[-12:] if any(word in line for word in ("FATAL", "PANIC", "ERROR", "HINT"))]
        return " ".join(" ".join(told or lines[-2:]).split())[-400:]

    def stop(self) -> None:
        """Stop it, and wait until its processes are gone."""
        self.module.run_command(["systemctl", "stop", UNIT])
        # One that failed keeps its name otherwise.
        self.module.run_command(["systemctl", "reset-failed", UNIT])

    def remove(self) -> None:
        """Leave nothing behind."""
        self.stop()
        if (self.directory / MARK).exists():
            shutil.rmtree(self.directory)

    def turn(self, change: Mapping[str, str], seed: int) -> tuning_trial.Run:
        """Start it, warm it, and let it have one turn of the workload."""
        self.start(change)
        try:
            if not self.workload.database:
                self.ask(WARM)
            self.bench([f"--time={WARMING}"], seed)
            self.ask("CHECKPOINT;")
            cpu, log = self.cpu(), int(self.ask(LOG))
            if self.count:
                done = self.bench([f"--transactions={self.count}", "--no-vacuum"], seed)
            else:
                done = self.bench([f"--time={self.workload.seconds}", "--no-vacuum"], seed)
            return tuning_trial.Run(done, self.cpu() - cpu, int(self.ask(LOG)) - log)
        finally:
            self.stop()

    def calibrate(self) -> None:
        """Find how many transactions a client makes in the time; from now on each run makes as many.

        After a checkpoint the first change of a page logs it whole, so only equal work has a log that can be compared.
        """
        self.count = max(1, self.turn({}, 0).transactions // self.workload.clients)

    def bench(self, more: Sequence[str], seed: int) -> int:
        """Run the workload, and return how many transactions it made."""
        options = tuning_trial.bench_options(self.workload.kind, self.script)
        options += [f"--client={self.workload.clients}", "--jobs=1", f"--random-seed={seed + 1}", *more]
        # A script of a person's own has other tables than those that pgbench would vacuum.
        options += ["--no-vacuum"] if self.workload.database and "--no-vacuum" not in more else []
        words = [f"{self.programs}/pgbench", *options, "--host", str(self.directory), self.database]
        return tuning_trial.read_bench(self.run(words, 10 * self.workload.seconds + 60))

    def cpu(self) -> float:
        """Seconds of a processor that the clone's processes took so far."""
        stats = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal():
                try:
                    with open(f"/proc/{entry.name}/stat", encoding="utf-8", errors="replace") as file:
                        stats[int(entry.name)] = file.read()
                except OSError:
                    # It has ended meanwhile; its parent has its ticks.
                    continue
        return tuning_trial.tree_ticks(stats, self.pid()) / os.sysconf("SC_CLK_TCK")

    def ask(self, sql: str, database: str = "") -> str:
        """Run SQL in the clone."""
        try:
            return run_psql(self.door, sql, database or self.database)
        except DatabasesError as error:
            raise TuningError(f"the clone: {error}; its log ends with: {self.last_words()}") from error

    def run(self, words: Sequence[str], seconds: int, environment: Mapping[str, str] | None = None) -> str:
        """Run a program as the clone's owner, within a time."""
        command = ["timeout", str(seconds), "runuser", "--user", self.user, "--", *words]
        code, out, errors = self.module.run_command(command, cwd="/", environ_update=dict(environment or {}))
        if code != 0:
            told = " ".join(errors.split())[-400:] or "no message"
            if code == 124:
                raise LossError(f"{words[0].rpartition('/')[2]} was not done after {seconds} s")
            raise TuningError(f"{words[0].rpartition('/')[2]} ended with {code}: {told}")
        return str(out)
