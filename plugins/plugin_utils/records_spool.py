# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where runs wait for the environment's records: a folder with one file a run, in lines of JSON.

Whoever writes or posts a file holds a lock on it, which ends with the process: a run that was killed is known by it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

ENDING = ".jsonl"
MAX_RUNS = 100
MAX_BYTES = 64 * 1024 * 1024
# A run that is larger goes on without the contents of its files and results; one such content is kept up to a size.
MAX_RUN_BYTES = 8 * 1024 * 1024
MAX_CONTENT_BYTES = 32 * 1024
# Bytes that wait in memory; the rest is on disk when a run is killed.
BUFFER_BYTES = 64 * 1024


def records_file(configured: str | None, environ: Mapping[str, str], home: str) -> str:
    """Name the file that says where the records are; an empty variable counts as unset."""
    state = environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return configured or os.path.join(state, "nectar", environ.get("NECTAR_LAB") or "lab", "records.json")


def spool_folder(file: str) -> str:
    """Name the folder beside it in which runs wait to be posted."""
    return f"{file.removesuffix('.json')}.spool"


def as_line(event: Mapping[str, Any]) -> bytes:
    """Write an event; values that JSON has no word for become one without being looked into."""
    return json.dumps(event, default=_as_plain, separators=(",", ":")).encode() + b"\n"


def _as_plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return value.isoformat() if isinstance(value, date) else f"({type(value).__name__})"


@dataclass
class RunFile:
    """The file of a run that goes on. Lines are gathered, for each write costs the run time."""

    path: str
    descriptor: int
    size: int = 0
    lines: list[bytes] = field(default_factory=list)
    gathered: int = 0

    def add(self, **event: Any) -> None:
        """Add an event. A `content` that is too long, or that the run has no room for, is left out and says so."""
        line = as_line(event)
        if "content" in event and (len(line) > MAX_CONTENT_BYTES or self.size > MAX_RUN_BYTES):
            line = as_line({**event, "content": None, "left_out": len(line)})
        self.lines.append(line)
        self.size += len(line)
        self.gathered += len(line)
        if self.gathered > BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        data, self.lines, self.gathered = b"".join(self.lines), [], 0
        while data:
            data = data[os.write(self.descriptor, data) :]

    def close(self) -> None:
        """Write the rest and let go of the file."""
        try:
            self.flush()
        finally:
            os.close(self.descriptor)


@dataclass(frozen=True)
class Spool:
    """The folder, readable by its owner alone."""

    folder: str

    def begin(self, name: str) -> RunFile:
        """Begin the file of a run. It gets its name once it is locked, so that nobody takes it for a dead run's."""
        os.makedirs(os.path.dirname(self.folder), mode=0o700, exist_ok=True)
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        path = self._within(name + ENDING)
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.rename(f"{path}.new", path)
        return RunFile(path, descriptor)

    def waiting(self) -> list[str]:
        """The files of all runs, oldest first, those that go on too."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return [self._within(name) for name in sorted(names) if name.endswith(ENDING)]

    @contextlib.contextmanager
    def claim(self, path: str) -> Iterator[bool]:
        """Hold a file, and say whether it could be held: not while its run goes on, nor once it is posted."""
        with contextlib.ExitStack() as stack:
            held = False
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                descriptor = os.open(path, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = os.path.samestat(os.fstat(descriptor), os.stat(path))
            yield held

    @contextlib.contextmanager
    def posting(self, patient: bool) -> Iterator[bool]:
        """Be the only one that posts, and say so. One may wait for it; more need not, for whoever waits sees their runs too."""
        with contextlib.ExitStack() as stack:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            waits, posts = (os.open(self._within(name), os.O_RDWR | os.O_CREAT, 0o600) for name in (".waits", ".posts"))
            stack.callback(os.close, posts)
            with contextlib.ExitStack() as turn:
                turn.callback(os.close, waits)
                try:
                    fcntl.flock(waits, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
                except BlockingIOError:
                    yield False
                    return
                fcntl.flock(posts, fcntl.LOCK_EX)
            yield True

    def set_aside(self, path: str, reason: str) -> None:
        """Take a file that can't be posted out of the others' way, with a note of why; the latest ten are kept."""
        folder = self._within("set-aside")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        aside = os.path.join(folder, os.path.basename(path))
        os.rename(path, aside)
        self._write(f"{aside}.why", reason)
        for name in sorted(os.listdir(folder))[:-20]:
            os.unlink(os.path.join(folder, name))

    def trim(self) -> int:
        """Drop the oldest runs of too many, but none that goes on or is being posted; say how many."""
        sizes: dict[str, int] = {}
        for path in self.waiting():
            with contextlib.suppress(FileNotFoundError):
                sizes[path] = os.stat(path).st_size
        dropped = 0
        for path in list(sizes):
            if len(sizes) <= MAX_RUNS and sum(sizes.values()) <= MAX_BYTES:
                break
            with self.claim(path) as held:
                if held:
                    os.unlink(path)
                    dropped += 1
            del sizes[path]
        return dropped

    @property
    def problem(self) -> str:
        """Why the last posting left runs behind; nothing, if it left none."""
        with contextlib.suppress(OSError, UnicodeError), open(self._within("problem"), encoding="utf-8") as file:
            return file.read().strip()
        return ""

    def note_problem(self, problem: str) -> None:
        """Remember it for the next run."""
        if problem:
            self._write(self._within("problem"), problem)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._within("problem"))

    def _within(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _write(self, path: str, text: str) -> None:
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
        os.rename(f"{path}.new", path)
