# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every target is made of: figures, measured commands, and ways that take turns."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
METER = Path(__file__).with_name("meter.py")
TAIL_LINES = 8


class BenchError(Exception):
    """A measurement that can't be made; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value, beside its goal and what a peer took in the same run."""

    figure: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    how: str
    goal: float | None = None
    peer: str | None = None
    peer_value: float | None = None

    @property
    def meets_goal(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    @property
    def times_better(self) -> float | None:
        """How many times better than the peer, below 1 where it is worse; None where nothing can be compared."""
        if not self.peer_value or not self.value:
            return None
        return self.peer_value / self.value if self.better == "lower" else self.value / self.peer_value


@dataclass(frozen=True)
class Run:
    """What a target is told: where to say what it does, and how often to repeat."""

    say: Callable[[str], None]
    rounds: int


@dataclass(frozen=True)
class Target:
    """Something that can be measured; `missing` answers what to do about what it lacks, or None."""

    purpose: str
    needs: str
    takes: str
    rounds: int
    missing: Callable[[], str | None]
    measure: Callable[[Run], list[Figure]]


@dataclass(frozen=True)
class Sample:
    """What one command took, all processes that it waited for included; `peak_megabytes` is the largest process's."""

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    output: str = field(repr=False, default="")


def measure_command(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, limit: float = 600
) -> Sample:
    """Run a command from the project's root; one that fails, or takes over `limit` seconds, is a BenchError."""
    with tempfile.TemporaryDirectory(prefix="nectar-bench-") as folder:
        report, output = Path(folder, "report"), Path(folder, "output")
        meter = [sys.executable, "-I", "-S", str(METER), str(report), str(output), *command]
        errors = _finish(meter, environment, limit)
        if not report.exists():
            raise BenchError(f"`{command[0]}` can't be started: {_tail(errors)}")
        taken = json.loads(report.read_text(encoding="ascii"))
        text = output.read_text(encoding="utf-8", errors="replace")
        if taken["code"]:
            raise BenchError(
                f"`{' '.join(command)}` ended with {taken['code']}, expected 0; run it by hand. It said:\n"
                f"{_tail(errors or text)}"
            )
    return Sample(taken["seconds"], taken["cpu_seconds"], taken["peak_megabytes"], text)


def _finish(command: Sequence[str], environment: Mapping[str, str] | None, limit: float) -> str:
    """Run it to its end in a session of its own, so that nothing of it stays behind; answer its error output."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        return process.communicate(timeout=limit)[1]
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise BenchError(
                f"`{' '.join(command[6:])}` took over {limit:.0f} s; try again on a quieter machine."
            ) from None
        raise


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:]) or "nothing"


def take_turns[Name, Result](
    ways: Mapping[Name, Callable[[], Result]], rounds: int, say: Callable[[str], None]
) -> dict[Name, list[Result]]:
    """Try all ways in every round, each round beginning with another: what disturbs the machine disturbs all alike."""
    results: dict[Name, list[Result]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            say(f"round {number + 1} of {rounds}: {name}")
            results[name].append(ways[name]())
    return results


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def median_ratio(values: Sequence[float], peers: Sequence[float]) -> float:
    """The median over rounds of value by peer, each pair of the same round."""
    return statistics.median(value / peer for value, peer in zip(values, peers, strict=True))
