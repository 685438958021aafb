# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The status as a table, and what to type next."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from nectar_backend.status import Row, Target

RELEASE_DIGITS = 12
COLUMNS = ("deployment", "URL", "release", "database", "slot", "state")


def print_status(console: Console, rows: Sequence[Row]) -> None:
    """One line for each deployment; reasons stand below, where they have room."""
    head, *lines = lay_out([COLUMNS, *map(show_row, rows)])
    console.print(head, style="bold", soft_wrap=True)
    for line, row in zip(lines, rows, strict=True):
        console.print(line, style="" if row.ok else "red", markup=False, highlight=False, soft_wrap=True)
    for reason in list_reasons(rows):
        console.print(reason, style="red", markup=False, highlight=False, soft_wrap=True)
    console.print(verdict(rows), markup=False, highlight=False, soft_wrap=True)


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest word: a cut URL is of no use, so nothing is fitted to the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def show_row(row: Row) -> tuple[str, ...]:
    place = " on ".join(filter(None, (row.slot, row.host)))
    release = (row.release or "-")[:RELEASE_DIGITS]
    return (row.deployment, row.url, release, row.database or "-", place or "-", "ok" if row.ok else "failed")


def list_reasons(rows: Iterable[Row]) -> list[str]:
    """Each reason once, with all that it holds for."""
    named: dict[str, list[str]] = {}
    for row in rows:
        if row.error:
            named.setdefault(row.error, []).append(row.deployment)
    return [f"{', '.join(names)}: {reason}" for reason, names in named.items()]


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
