# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A cluster restored beside the living one: reached by a socket of its own alone, archiving nothing, small."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError

# Whatever the living cluster has in its files or by ALTER SYSTEM, the command line has the last word.
SETTINGS: dict[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "ssl": "off",
    "archive_mode": "off",
    "archive_command": "",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "synchronous_standby_names": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    # Nobody is let in before the recovery is over, so the primary's own limits needn't be met.
    "hot_standby": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "max_worker_processes": "4",
    "max_wal_senders": "2",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "wal_keep_size": "0",
    "maintenance_work_mem": "16MB",
    "huge_pages": "off",
    "autovacuum": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
}
HBA = "local all postgres peer\n"

# Every table of a database with its rows, each read in full: one line of JSON.
COUNTS = """
SELECT coalesce(json_object_agg(name, rows), '{}') FROM (
  SELECT format('%I.%I', n.nspname, c.relname) AS name,
    (xpath('/row/rows/text()', query_to_xml(format('SELECT count(*) AS rows FROM %I.%I', n.nspname, c.relname), false, true, '')))[1]
      ::text::bigint AS rows
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS counted
"""
DATABASES = "SELECT json_agg(datname ORDER BY datname) FROM pg_catalog.pg_database WHERE datallowconn"
REDO = "SELECT pg_walfile_name(pg_current_wal_lsn())"
SECONDS = 300
PAUSE = 0.2
FATAL = re.compile(r"(?:FATAL|PANIC|ERROR):\s*(.*)")


class Run(Protocol):
    """Runs a command as PostgreSQL's superuser: its end, what it printed, and its errors."""

    def __call__(self, command: Sequence[str], seconds: float, given: str = "") -> tuple[int, str, str]: ...


@dataclass(frozen=True)
class Scratch:
    """A scratch cluster in a folder of its own, whose programs lie in `programs`."""

    run: Run
    folder: str
    programs: str
    stanza: str

    @property
    def data(self) -> str:
        return os.path.join(self.folder, "data")

    @property
    def log(self) -> str:
        return os.path.join(self.folder, "server.log")

    def restore(self, arguments: Sequence[str], seconds: float) -> None:
        """Bring the backup's files here; pgBackRest compares each with its checksum."""
        command = ["pgbackrest", f"--stanza={self.stanza}", f"--pg1-path={self.data}", "--log-level-console=error"]
        code, out, errors = self.run([*command, "--log-level-stderr=error", *arguments, "restore"], seconds)
        if code:
            raise BackupsError(f"pgBackRest could not restore to {self.data} ({code}): {_brief(errors or out)}")

    def start(self, seconds: float) -> None:
        """Recover what was asked for, and serve on the socket."""
        self._write("pg_hba.conf", HBA)
        self._write("postgresql.conf", "# All settings are given on the command line.\n")
        settings = SETTINGS | {
            "config_file": f"{self.folder}/postgresql.conf",
            "hba_file": f"{self.folder}/pg_hba.conf",
            "unix_socket_directories": self.folder,
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        deadline = time.monotonic() + seconds
        control = [f"{self.programs}/pg_ctl", "--pgdata", self.data, "--wait", "--timeout", str(int(seconds))]
        code, _out, _errors = self.run(
            [*control, "--log", self.log, "--options", options, "--silent", "start"], seconds + 30
        )
        while not code and not self._serves():
            if not self._runs() or time.monotonic() >= deadline:
                code = 1
            time.sleep(PAUSE)
        if code:
            raise BackupsError(f"the restored cluster did not start within {seconds:g} s: {self.complaint()}")

    def _runs(self) -> bool:
        return os.path.exists(os.path.join(self.data, "postmaster.pid"))

    def _serves(self) -> bool:
        """Whether the recovery is over; before, nobody is let in."""
        return self.run([f"{self.programs}/pg_isready", "--quiet", "--host", self.folder], SECONDS)[0] == 0

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._runs():
            self.run(
                [f"{self.programs}/pg_ctl", "--pgdata", self.data, "--wait", "--mode", "fast", "--silent", "stop"],
                SECONDS,
            )

    def remove(self) -> None:
        """Stop it and leave nothing."""
        self.stop()
        if self._runs():
            raise BackupsError(f"the scratch cluster in {self.folder} does not stop; look at {self.log}")
        shutil.rmtree(self.folder, ignore_errors=not os.path.lexists(self.folder))

    def psql(self, sql: str, database: str = "postgres", seconds: float = SECONDS) -> str:
        """Ask it as its superuser."""
        command = [f"{self.programs}/psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        command += ["--set", "ON_ERROR_STOP=1", "--host", self.folder, "--dbname", database, "--file", "-"]
        code, out, errors = self.run(command, seconds, sql)
        if code:
            raise BackupsError(f"the restored cluster could not answer in {database}: {_brief(errors)}")
        return out.strip()

    def databases(self) -> list[str]:
        """The databases that can be entered."""
        return list(json.loads(self.psql(DATABASES)))

    def count(self, databases: Sequence[str], seconds: float) -> dict[str, dict[str, int]]:
        """Read every table in full: rows by database and table."""
        return {name: json.loads(self.psql(COUNTS, name, seconds)) for name in databases}

    def check(self, databases: Sequence[str], seconds: float) -> None:
        """Look at every page of tables and B-trees with pg_amcheck."""
        command = [f"{self.programs}/pg_amcheck", "--host", self.folder, "--username", "postgres", "--install-missing"]
        command += [f"--database={name}" for name in databases]
        code, out, errors = self.run(command, seconds)
        if code:
            raise BackupsError(f"pg_amcheck found the restored cluster damaged ({code}): {_brief(out + errors)}")

    def reached(self) -> str:
        """The segment in which the recovery ended."""
        return self.psql(REDO)

    def complaint(self) -> str:
        """The last error in the server's log, for a person."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as stream:
                lines = stream.read().splitlines()
        except OSError:
            return "it wrote no log"
        found = [match[1] for line in lines if (match := FATAL.search(line))]
        return found[-1] if found else " ".join(lines[-2:])

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        owner = os.stat(self.folder)
        os.chown(path, owner.st_uid, owner.st_gid)


def _brief(text: str) -> str:
    """What a program said, on one line."""
    return " ".join(text.split())[:600] or "no message"


def summary(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """How many databases, tables and rows were read."""
    return {
        "databases": len(counts),
        "tables": sum(len(tables) for tables in counts.values()),
        "rows": sum(rows for tables in counts.values() for rows in tables.values()),
    }
