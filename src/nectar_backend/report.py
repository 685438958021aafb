# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The status as a table, and what to type next."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nectar_backend.status import Row, Target

RELEASE_DIGITS = 12
COLUMNS = ("deployment", "URL", "release", "database", "slot", "state")


def print_status(console: Console, rows: Sequence[Row]) -> None:
    """One line for each deployment; reasons stand below, where they have room."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*show_row(row), Text("ok", style="green") if row.ok else Text("failed", style="bold red"))
    # Measured rather than fitted: a cut URL or name is of no use, in a file least of all.
    width = console.measure(table).maximum
    console.print(table, soft_wrap=True, width=max(width, 1))
    for row in rows:
        if row.error:
            console.print(f"{row.deployment}: {row.error}", style="red", markup=False, highlight=False, soft_wrap=True)
    console.print(verdict(rows), markup=False, highlight=False, soft_wrap=True)


def show_row(row: Row) -> tuple[str, str, str, str, str]:
    place = " on ".join(filter(None, (row.slot, row.host)))
    return (row.deployment, row.url, (row.release or "-")[:RELEASE_DIGITS], row.database, place or "-")


def verdict(rows: Sequence[Row]) -> str:
    served = sum(row.ok for row in rows)
    through = ", ".join(sorted({row.address for row in rows}))
    return f"{served} of {len(rows)} deployments answered over HTTPS at {through} just now."


def next_steps(targets: Sequence[Target], hosts: Sequence[str], ssh_config: Path) -> list[tuple[str, str]]:
    """Lines to paste, each with what it does."""
    first = targets[0]
    curl = [
        *("curl", "--cacert", first.ca_file),
        *("--resolve", f"{first.server_name}:{first.port}:{_bracketed(first.address)}"),
        first.url.rstrip("/") + first.ready_path,
    ]
    return [
        (shlex.join(curl), f"ask {first.deployment} yourself"),
        (shlex.join(["ssh", "-F", str(ssh_config), hosts[0]]), "look at a host from inside"),
        (f".venv/bin/nectar deploy {first.deployment}", "release it again"),
        ("make status", "print the table again"),
        ("make lab-down", "remove the lab's hosts, secrets and state"),
    ]


def print_next_steps(console: Console, steps: Sequence[tuple[str, str]]) -> None:
    console.print("\nWhat to type next:", style="bold")
    for command, purpose in steps:
        console.print(f"  # {purpose}", style="dim", markup=False, highlight=False, soft_wrap=True)
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
