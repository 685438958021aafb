# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Raise an alarm while commits wait for a standby for too long: once when it begins, and once when it is over."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

# Beside this file lie the few modules that it shares with the collection.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.nectar.backend.plugins.module_utils.write_waits import (
    QUERY,
    Episode,
    Look,
    WriteWaitsError,
    episode_text,
    judge_silence,
    judge_waits,
    read_episode,
    read_look,
    since_when,
)

# The journal takes a line's level from its beginning. The end has the level of the beginning, for those who read only that.
ALERT = "<1>"
SECONDS = 5
SETTINGS = {
    "PGHOST": "/var/run/postgresql",
    "PGDATABASE": "postgres",
    "PGAPPNAME": "nectar-write-watch",
    "PGCONNECT_TIMEOUT": "3",
    "PGOPTIONS": "-c statement_timeout=3s",
}


def look(psql: str, data: str) -> Look:
    """Ask PostgreSQL on this server; where none is meant to run, nothing waits."""
    if not os.path.exists(os.path.join(data, "postmaster.pid")):
        return Look(time.time(), standby=True)
    done = subprocess.run(
        [psql, "-X", "-q", "-A", "-t", "-w", "-c", QUERY],
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise WriteWaitsError((done.stderr.strip().splitlines() or [f"{psql} ended with {done.returncode}"])[-1])
    return read_look(done.stdout)


def load(path: str) -> Episode | None:
    """Read the episode that is open, if one is."""
    try:
        with open(path, encoding="utf-8") as stream:
            return read_episode(stream.read())
    except FileNotFoundError:
        return None
    except WriteWaitsError as error:
        os.remove(path)
        print(f"{ALERT}{path}: {error}; it is removed", file=sys.stderr)
        return None


def save(path: str, episode: Episode | None) -> None:
    """Leave for others, and for the next look, what is open; the file is there while something is."""
    if episode is None:
        if os.path.exists(path):
            os.remove(path)
        return
    draft = f"{path}.new"
    with open(draft, "w", encoding="utf-8") as stream:
        stream.write(episode_text(episode))
    os.replace(draft, path)


def watch(psql: str, data: str, limit: float, state: str) -> int:
    """Look, and again when what waits will have waited for too long; return 1 while something has."""
    began, known, episode = time.monotonic(), {}, load(state)
    while True:
        try:
            seen = look(psql, data)
            known = since_when(seen, known)
            verdict = judge_waits(seen, known, limit, episode)
        except (WriteWaitsError, OSError, subprocess.TimeoutExpired) as error:
            verdict = judge_silence(time.time(), str(error), time.monotonic() - began, limit, episode)
        if verdict.news:
            print(f"{ALERT}{verdict.news}", file=sys.stderr, flush=True)
        if verdict.episode != episode:
            save(state, verdict.episode)
        episode = verdict.episode
        # What began since the first look is judged by the timer's next one at the latest: commits may come all the time.
        if not verdict.again or time.monotonic() - began + verdict.again > 2 * limit + 1:
            return int(episode is not None)
        time.sleep(verdict.again)


def main() -> int:
    """Look once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--psql", required=True, help="PostgreSQL's own, past Debian's wrapper")
    parser.add_argument("--data", required=True, help="PostgreSQL's data directory")
    parser.add_argument("--limit", type=float, required=True, help="seconds that a commit may wait")
    parser.add_argument("--state", required=True, help="the file that is there while an alert is open")
    given = parser.parse_args()
    try:
        return watch(given.psql, given.data, given.limit, given.state)
    except OSError as error:
        print(f"{ALERT}nobody is told how long commits wait for a standby: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
