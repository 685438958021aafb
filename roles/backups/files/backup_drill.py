# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restore the newest backup into a scratch place, prove it there, and write down that it was proven."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

# Beside this file lie the few modules that it shares with the collection.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.nectar.backend.plugins.module_utils import backups
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError, Proof
from ansible_collections.nectar.backend.plugins.module_utils.pgbackrest import free_bytes, read_repository
from ansible_collections.nectar.backend.plugins.module_utils.scratch_cluster import Scratch, summary

# The journal takes a line's level from its beginning.
ALERT = "<1>"


def run(command: Sequence[str], seconds: float, given: str = "") -> tuple[int, str, str]:
    """Run a command as whoever runs this."""
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=seconds, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"{command[0]} did not end within {seconds:g} s"
    return done.returncode, done.stdout, done.stderr


def drill(scratch: Scratch, seconds: float) -> Proof:
    """Restore all that is archived, look at every page, read every table."""
    began = time.monotonic()
    holdings = read_repository(scratch.run, scratch.stanza)
    backup = backups.choose_backup(holdings, None, time.time())
    backups.refuse_without_room(backup, free_bytes(scratch.folder), scratch.folder)
    os.makedirs(scratch.folder, 0o700)
    os.mkdir(scratch.data, 0o700)
    scratch.restore(backups.recovery_arguments(backup, None), seconds)
    scratch.start(seconds)
    restored = time.monotonic()
    if gap := backups.archive_gap(scratch.reached(), holdings.newest_wal):
        raise BackupsError(gap)
    names = scratch.databases()
    scratch.check(names, seconds)
    found = summary(scratch.count(names, seconds))
    return Proof(
        label=backup.label,
        backup_ended=backup.ended,
        proven=time.time(),
        seconds=round(time.monotonic() - began, 1),
        restore_seconds=round(restored - began, 1),
        server=os.uname().nodename,
        **found,
    )


def write(path: str, proof: Proof) -> None:
    """Put the proof in its place, whole."""
    draft = f"{path}.new"
    with open(draft, "w", encoding="utf-8") as stream:
        json.dump(backups.write_proof(proof), stream, indent=2)
        stream.write("\n")
    os.replace(draft, path)


def main() -> int:
    """Prove the newest backup once."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("stanza", "programs", "folder", "proof"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--timeout", type=float, required=True)
    given = parser.parse_args()
    scratch = Scratch(run, given.folder, given.programs, given.stanza)
    try:
        # What a drill left that was cut off.
        if os.path.lexists(given.folder):
            scratch.remove()
        try:
            proof = drill(scratch, given.timeout)
        finally:
            scratch.stop()
            shutil.rmtree(given.folder, ignore_errors=True)
        write(given.proof, proof)
    except (BackupsError, OSError, KeyError, ValueError) as error:
        print(f"{ALERT}the newest backup of {given.stanza} is not proven: {error}", file=sys.stderr)
        return 1
    print(
        f"{proof.label} was restored in {proof.restore_seconds:g} s and proven after {proof.seconds:g} s: "
        f"{proof.rows} rows of {proof.tables} tables in {proof.databases} databases"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
