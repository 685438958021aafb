# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster as its superuser sees it, and what a person types to change it in an environment that has backups."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client import eventually
from database_faults import HOSTS, PATRONICTL, Database
from lab import REGISTRY

SOCKET = "/var/run/postgresql"
# Whole clusters are restored on the last server; a trial of settings takes the first one that doesn't lead, which is another.
SCRATCH, SCRATCH_SERVER = "/var/lib/postgresql/scratch/restore", HOSTS[-1]
PROOF = "/var/lib/nectar/backups/proof.json"


class Cluster(Database):
    """What is asked and typed."""

    @property
    def leader(self) -> str:
        """Who takes writes; exactly one does."""
        leaders = [name for name in HOSTS if self.ask("SELECT pg_is_in_recovery()", server=name) == "f"]
        assert len(leaders) == 1, leaders
        return leaders[0]

    def ask(self, sql: str, database: str = "postgres", socket: str = SOCKET, server: str | None = None) -> str:
        words = ["psql", "--host", socket, "--dbname", database, "--no-align", "--tuples-only", "--command", sql]
        command = shlex.join(["runuser", "--user", "postgres", "--", *words])
        return self.lab.inside(server or self.leader, command).strip()

    def restored(self, sql: str, database: str) -> str:
        """Ask the restored cluster."""
        return self.ask(sql, database, SCRATCH, SCRATCH_SERVER)

    def play(self, playbook: str, *words: str, registry: Path = REGISTRY) -> subprocess.CompletedProcess[str]:
        # What the inventory of an environment with backups says.
        flags = ["-e", "environment_backups=true", *words]
        return self.lab.ansible("ansible-playbook", f"playbooks/{playbook}", *flags, registry=registry)

    def done(self, playbook: str, *words: str, registry: Path = REGISTRY) -> str:
        """Run a playbook to its good end; return what it printed, on one line, for what is long is folded."""
        return good(self.play(playbook, *words, registry=registry))

    def refused(self, playbook: str, *words: str) -> str:
        """Type what must be refused; return what was said, on one line."""
        done = self.play(playbook, *words)
        assert done.returncode != 0, done.stdout[-5000:]
        return on_one_line(done)

    def proof(self, server: str) -> dict[str, Any]:
        """What the last drill proved there."""
        return dict(json.loads(self.lab.inside(server, f"cat {PROOF}")))

    def segments(self) -> tuple[int, int]:
        """The number of the log's segment in which the primary's timeline began, and of the one that it writes."""
        leader = self.leader
        name = self.ask("SELECT pg_walfile_name(pg_current_wal_lsn())", server=leader)
        history = f"tail -n 1 /var/lib/postgresql/*/main/pg_wal/{name[:8]}.history"
        high, low = self.lab.inside(leader, history).split()[1].split("/")
        return int(high, 16) * 256 + (int(low, 16) >> 24), int(name[8:16], 16) * 256 + int(name[16:], 16)

    def is_archived(self, server: str) -> bool:
        """Whether nothing waits for the archive."""
        waiting = "ls /var/lib/postgresql-wal/*/main/archive_status | grep -c ready || true"
        return self.lab.inside(server, waiting).strip() == "0"

    def waits_for_restart(self) -> bool:
        """Whether every member has settings that wait for one."""
        members = self.members().values()
        return len(members) == len(HOSTS) and all(member.get("Pending restart") for member in members)

    def restart(self) -> None:
        """Restart one member after the other, the one that leads last, each once all serve."""
        members = self.members()
        for name in sorted(members, key=lambda name: members[name]["Role"] == "Leader"):
            assert eventually(self.whole, 120), self.members()
            self.lab.inside(name, f"{PATRONICTL} restart --pending --force {members[name]['Cluster']} {name}")
        assert eventually(self.whole, 120), self.members()

    def back_up(self, aside: Executor) -> None:
        """Give an environment that runs what its inventory says: `environment_backups: true`."""
        words = ("site.yml", "--tags", "postgresql,backups", "--limit", "database_servers,ops_servers,localhost")
        run = aside.submit(self.play, *words)
        assert eventually(lambda: run.done() or self.waits_for_restart(), 300, pause=3)
        if self.waits_for_restart():
            # While pgBackRest is installed. A run that is faster stops for it, and is to be typed again.
            self.restart()
        if "archive_mode must be enabled" in on_one_line(run.result()):
            run = aside.submit(self.play, *words)
        good(run.result())


def on_one_line(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def good(done: subprocess.CompletedProcess[str]) -> str:
    """What a run printed that must have come to its good end."""
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return on_one_line(done)


def moment() -> str:
    """Now, with a moment of peace on both sides of it."""
    time.sleep(0.2)
    text = datetime.now(UTC).isoformat()
    time.sleep(0.2)
    return text
