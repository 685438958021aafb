# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The recorded runs, asked of the collection's own poster, and shown as a table."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from nectar_backend.errors import NectarError
from nectar_backend.project import ROOT
from nectar_backend.report import RELEASE_DIGITS, lay_out

# By the link that Ansible finds it by: the poster imports the collection.
POSTER = ROOT / ".ansible/collections/ansible_collections/nectar/backend/plugins/plugin_utils/records_post.py"
COLUMNS = ("when", "playbook", "environment", "deployment", "release", "person", "outcome", "seconds")
SHOWN_NAMES = 3


def ask_records(action: str, file: Path) -> dict[str, Any]:
    """Have the poster list or post, and return what it says."""
    command = [sys.executable, str(POSTER), action, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise NectarError(
            f"the records can't be asked: {(done.stderr.strip().splitlines() or ['no word'])[-1]}"
        ) from error
    return answer


def print_records(console: Console, answer: Mapping[str, Any]) -> None:
    """One line for each run, the newest first, and how many wait."""
    head, *lines = lay_out([COLUMNS, *map(show_run, answer["runs"])])
    console.print(head, style="bold", soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(describe_waiting(answer), markup=False, highlight=False, soft_wrap=True)


def show_run(run: Mapping[str, Any]) -> tuple[str, ...]:
    when = datetime.fromisoformat(run["when"]).astimezone().strftime("%Y-%m-%d %H:%M:%S") if run["when"] else "-"
    releases = ",".join(name[:RELEASE_DIGITS] for name in (run["release"] or "-").split(","))
    deployments = (run["deployment"] or "-").split(",")
    more = f" and {len(deployments) - SHOWN_NAMES} more" if len(deployments) > SHOWN_NAMES else ""
    seconds = "-" if run["seconds"] is None else f"{run['seconds']:.1f}"
    named = (run["environment"] or "-", ",".join(deployments[:SHOWN_NAMES]) + more, releases)
    return (when, run["playbook"], *named, run["person"] or "-", run["outcome"] or "-", seconds)


def describe_posting(answer: Mapping[str, Any]) -> str:
    """What a posting did: runs that the records can't take are named, for they need a person."""
    aside = f", {answer['set_aside']} set aside (see set-aside/ in the spool)" if answer["set_aside"] else ""
    return f"posted {answer['posted']}{aside}; {describe_waiting(answer)}"


def describe_waiting(answer: Mapping[str, Any]) -> str:
    reason = f": {answer['problem']}" if answer["problem"] else ""
    return f"{answer['waiting']} in the spool{reason}"
