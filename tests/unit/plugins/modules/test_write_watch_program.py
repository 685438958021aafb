# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that watches commits wait, with nothing beside it but what role postgresql puts there, and a PostgreSQL of one file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


class Server:
    """A database server: what psql prints there, and the program."""

    def __init__(self, folder: Path) -> None:
        self.psql, self.answer, self.state = folder / "psql", folder / "answer", folder / "alert.json"
        self.psql.write_text(f'#!/bin/sh\ncat {self.answer} || {{ echo "psql: it is away" >&2; exit 2; }}\n')
        self.psql.chmod(0o755)
        self.data = folder / "data"
        self.data.mkdir()
        (self.data / "postmaster.pid").touch()
        modules = folder / "ansible_collections/nectar/backend/plugins/module_utils"
        modules.mkdir(parents=True)
        shutil.copy(ROOT / "plugins/module_utils/write_waits.py", modules)
        self.program = shutil.copy(ROOT / "roles/postgresql/files/write_watch.py", folder / "write-watch")

    def waits(self, *seconds: float, exact: bool = True) -> None:
        """Let commits wait there, for so long already."""
        now = time.time()
        entries = [
            {"pid": 7, "began": now - one, "exact": exact, "user": "alice", "database": "alice"} for one in seconds
        ]
        self.answer.write_text(json.dumps({"standby": False, "now": now, "waits": entries}))

    def look(self, limit: float = 5) -> tuple[int, list[str]]:
        """Run it once; return how it ended and what the journal got."""
        words = ["--psql", self.psql, "--data", self.data, "--limit", str(limit), "--state", self.state]
        done = subprocess.run(
            [sys.executable, "-I", "-S", self.program, *words], capture_output=True, text=True, check=False, timeout=60
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr.splitlines()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_an_episode_is_told_when_it_begins_and_when_it_ends(server: Server) -> None:
    server.waits()
    assert server.look() == (0, [])
    server.waits(6, 8)
    code, (line,) = server.look()
    assert (code, line[:54]) == (1, "<1>2 commits wait for a standby, at the longest for 8.")
    assert json.loads(server.state.read_text())["alarming"] is True
    assert server.look() == (1, [])
    server.waits()
    code, (line,) = server.look()
    assert (code, line[:48].rstrip("0123456789 s")) == (0, "<1>commits are answered again, after at most")
    assert not server.state.exists()
    assert server.look() == (0, [])


def test_it_looks_again_at_what_has_waited_for_a_while(server: Server) -> None:
    # The answer's clock stands still, so that nothing is over the limit; what counts is that it asked again.
    server.psql.write_text(f"{server.psql.read_text()}echo >> {server.answer}.asked\n")
    server.waits(0.6)
    assert server.look(limit=0.7) == (0, [])
    assert len((server.answer.parent / "answer.asked").read_text().splitlines()) > 1


def test_a_server_that_runs_and_gives_no_answer_is_told_once(server: Server) -> None:
    code, (line,) = server.look(limit=0.1)
    assert (code, line) == (1, "<1>nobody can say how long commits wait for a standby: psql: it is away")
    assert server.look(limit=0.1) == (1, [])
    server.waits()
    code, (line,) = server.look(limit=0.1)
    assert (code, line[:27]) == (0, "<1>PostgreSQL answers again")


def test_without_postgresql_nothing_waits(server: Server) -> None:
    server.waits(9)
    assert server.look()[0] == 1
    (server.data / "postmaster.pid").unlink()
    code, (line,) = server.look()
    assert (code, line[:38]) == (0, "<1>this server no longer takes writes,")


def test_what_an_earlier_look_left_may_be_unreadable(server: Server) -> None:
    server.state.write_text("{")
    server.waits()
    code, (line,) = server.look()
    assert (code, "it is removed" in line) == (0, True)
    assert server.look() == (0, [])
