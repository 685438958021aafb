# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`python -m bench.drill`: rehearse the loss of the primary in the lab, with the bench's own faults; `playbooks/failover_drill.yml` runs it."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.campaign import Campaign, FaultLab, rehearse
from bench.harness import BenchError
from bench.place import missing
from bench.targets import failover

OK, LOST, FAILED, INTERRUPTED = 0, 1, 2, 130
STATISTICS = failover.STATISTICS


def main(arguments: Sequence[str] | None = None) -> int:
    # Whoever ends this ends what it started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="bench.drill", description=__doc__)
    parser.add_argument("--kinds", default="", help="kinds of faults, with commas between them; all unless given")
    parser.add_argument("--rounds", type=int, default=1, help="how many faults of each kind")
    parser.add_argument("--json", type=Path, help="where to write what came out")
    given = parser.parse_args(arguments)
    try:
        report = drill(given.kinds, given.rounds)
        print("\n".join(table(report)), flush=True)
        if given.json:
            given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    # The faults say by assertions what a lab's hosts don't do.
    except (AssertionError, BenchError, OSError, subprocess.SubprocessError) as error:
        print(f"The drill did not come to its end: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    if report["lost"] or report["rivals"]:
        print("Acknowledged writes were lost, or two primaries acknowledged some.", file=sys.stderr)
        return LOST
    return OK


def drill(kinds: str, rounds: int) -> dict[str, Any]:
    """Do it, and return what came out."""
    if rounds < 1:
        raise BenchError(f"rounds is {rounds}; expected at least 1.")
    if (lacks := missing()) is not None:
        raise BenchError(lacks)
    lab = FaultLab()
    chosen, load, began = choose_kinds(kinds, lab.kinds), os.getloadavg()[0], time.time()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    found = rehearse(lab, chosen, rounds, say)
    return {"began": began, "load": load, "cores": os.cpu_count(), **distribution(found, lab.ledger.summarise)}


def choose_kinds(given: str, known: Sequence[str]) -> list[str]:
    """The kinds that somebody named, by their names or how they begin: `postmaster`, `host-lost`."""
    words = [word.strip() for word in given.split(",") if word.strip()]
    chosen: list[str] = []
    for word in words:
        wanted = short(word)
        names = [name for name in known if short(name) == wanted]
        names = names or [name for name in known if short(name).startswith(wanted)]
        if len(names) != 1:
            found = f"may be any of {', '.join(map(short, names))}" if names else "is unknown"
            raise BenchError(f"kinds: {word} {found}; expected some of {', '.join(map(short, known))}.")
        chosen += [name for name in names if name not in chosen]
    return chosen or list(known)


def short(name: str) -> str:
    """A kind as it is typed."""
    return "-".join(name.lower().replace("'", "").replace("-", " ").split())


def distribution(found: Campaign, summarise: Callable[[Sequence[float]], Mapping[str, float]]) -> dict[str, Any]:
    """What came out, for a script: seconds without an acknowledged write by kind, each one and how they are spread."""
    figures = asdict(found)
    silences = figures.pop("silences")
    kinds = {
        name: {"count": len(seconds), **summarise(seconds), "seconds": seconds} for name, seconds in silences.items()
    }
    return {"kinds": kinds, **figures}


def table(report: Mapping[str, Any]) -> list[str]:
    """The same for a person."""
    width = max(len(name) for name in ("kind", *report["kinds"]))
    lines = [f"{'kind':<{width}} {'faults':>7}" + "".join(f"{f'{name} s':>10}" for name in STATISTICS)]
    for name, spread in report["kinds"].items():
        lines.append(
            f"{name:<{width}} {spread['count']:>7}" + "".join(f"{spread[figure]:>10.1f}" for figure in STATISTICS)
        )
    return [
        f"seconds without an acknowledged write; load average {report['load']:.2f} on {report['cores']} cores to begin with",
        *lines,
        f"{report['acknowledged']} writes were acknowledged and {report['lost']} of them lost, {report['refused']} were refused; "
        f"of {report['witnessed']} commits on the servers themselves {report['rivals']} were given by two primaries",
    ]


if __name__ == "__main__":
    sys.exit(main())
