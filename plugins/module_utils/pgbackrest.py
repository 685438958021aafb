# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pgBackRest on the server itself, for modules and for the programs that timers start."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils import backups
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError
from ansible_collections.nectar.backend.plugins.module_utils.scratch_cluster import Run

SECONDS = 120
PROOF_FILE = "/var/lib/nectar/backups/proof.json"


def as_superuser(module: Any) -> Run:
    """A way to run commands as PostgreSQL's superuser."""

    def run(command: Sequence[str], seconds: float, given: str = "") -> tuple[int, str, str]:
        words = ["timeout", f"{seconds:.0f}", "runuser", "--user", module.params["login_user"], "--", *command]
        code, out, errors = module.run_command(
            words, data=given, binary_data=True, cwd="/", environ_update={"LC_ALL": "C.UTF-8"}
        )
        return int(code), str(out), str(errors)

    return run


def pgbackrest(run: Run, stanza: str, *words: str, seconds: float = SECONDS) -> str:
    """Run one of pgBackRest's commands, and return what it printed."""
    command = ["pgbackrest", f"--stanza={stanza}", "--log-level-console=off", "--log-level-stderr=warn", *words]
    code, out, errors = run(command, seconds)
    if code:
        raise BackupsError(f"pgbackrest {words[-1]} ended with {code}: {' '.join((errors or out).split())[:800]}")
    return out


def read_repository(run: Run, stanza: str) -> backups.Holdings:
    """What the repository holds."""
    out = pgbackrest(run, stanza, "--output=json", "info")
    try:
        return backups.read_holdings(json.loads(out), stanza)
    except json.JSONDecodeError as error:
        raise BackupsError(f"pgBackRest printed no JSON, {out[:200]!r}: {error}") from error


def read_proof_file(path: str) -> backups.Proof | None:
    """The proof of the last drill; nothing where none was written."""
    try:
        with open(path, encoding="utf-8") as stream:
            return backups.read_proof(json.load(stream))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BackupsError(f"{path}: {error}") from error


def free_bytes(path: str) -> int:
    """Bytes that are free for others than root where a path is, or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize
