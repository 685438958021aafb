# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose session this is: the login that a process descends from. No variable is asked, for a play could set it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

UNSET = 2**32 - 1


def session_user(proc: str = "/proc", pid: int | None = None) -> str:
    """Return the login by the kernel's own note, or else by the outermost ancestor that isn't root's.

    Of sshd, sudo and what they start, the outermost process of a person is the session itself: whoever becomes another user in it
    stays who they are. A login as root is root's.
    """
    pid = os.getpid() if pid is None else pid
    number = login_number(proc, pid)
    if number is None:
        number = next((user for user in reversed([*ancestors(proc, pid)]) if user != 0), 0)
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def login_number(proc: str, pid: int) -> int | None:
    """Return the user id that the kernel noted at the login, where it notes any."""
    try:
        with open(f"{proc}/{pid}/loginuid", encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) != UNSET else None


def ancestors(proc: str, pid: int) -> Iterator[int]:
    """Return the user ids of a process and of those it descends from, up to the first."""
    while pid > 0:
        try:
            with open(f"{proc}/{pid}/status", encoding="utf-8", errors="replace") as file:
                lines = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            return
        yield int(lines["Uid"].split()[0])
        pid = int(lines["PPid"])
