# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`python -m bench [TARGET…]`: measure, show tables, and write results/<target>.json."""

import argparse
import dataclasses
import importlib
import json
import os
import pkgutil
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import targets
from bench.harness import BenchError, Figure, Run, Target

RESULTS = Path(__file__).with_name("results")
OK, FAILED = 0, 2
QUIET_LOAD = 1.0
PIPE_WIDTH = 160


def main(arguments: Sequence[str] | None = None) -> int:
    # Whoever ends this ends what it started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    known = find_targets()
    # A pipe has no width of its own, and a table that is folded there can't be read by anyone.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    try:
        options = parse(arguments, known)
        chosen = {name: known[name] for name in options.targets or known}
        warn_of_load(console, os.getloadavg()[0])
        failed = [name for name, target in chosen.items() if not measure(console, name, target, options.rounds)]
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    return FAILED if failed else OK


def find_targets() -> dict[str, Target]:
    """Every target, by the name of its file."""
    names = sorted(module.name for module in pkgutil.iter_modules(targets.__path__))
    return {name: importlib.import_module(f"{targets.__name__}.{name}").TARGET for name in names}


def parse(arguments: Sequence[str] | None, known: Mapping[str, Target]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the project against its peers.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(known))
    parser.add_argument("--rounds", type=int, help="alternating runs of each way, of which the median counts")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.targets if name not in known]
    if unknown:
        raise BenchError(f"TARGET {', '.join(unknown)} is unknown; expected one of:\n{describe(known)}")
    if options.rounds is not None and options.rounds < 1:
        raise BenchError(f"ROUNDS is {options.rounds}, expected at least 1; leave it out for each target's own.")
    return options


def describe(known: Mapping[str, Target]) -> str:
    return "\n".join(f"  {name:<12} {target.purpose}; needs {target.needs}" for name, target in known.items())


def warn_of_load(console: Console, load: float) -> None:
    say(console, f"load average {load:.2f} on {os.cpu_count()} cores")
    if load > QUIET_LOAD:
        say(
            console,
            f"WARNING: above {QUIET_LOAD:g}, seconds can't be relied on; ratios and CPU seconds less so",
            "yellow",
        )


def measure(console: Console, name: str, target: Target, rounds: int | None) -> bool:
    """Measure one target and show it; what it lacks, or what goes wrong, leaves the others be."""
    say(console, f"\n{name}: {target.purpose}", "bold")
    say(console, f"  needs {target.needs}; takes {target.takes}")
    if (missing := target.missing()) is not None:
        say(console, f"  not measured: {missing}", "red")
        return False
    began = time.monotonic()
    told = Run(lambda text: say(console, f"  {time.monotonic() - began:5.0f} s  {text}"), rounds or target.rounds)
    try:
        figures = target.measure(told)
    except BenchError as error:
        say(console, f"  not measured: {error}", "red")
        return False
    write_results(RESULTS / f"{name}.json", figures)
    console.print(draw(figures))
    return True


def say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, soft_wrap=True)


def write_results(path: Path, figures: Iterable[Figure]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([dataclasses.asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")


def draw(figures: Iterable[Figure]) -> Table:
    """For a person: the value, whether it meets its goal, and how many times better than the peer it is."""
    table = Table(box=None, pad_edge=False)
    for title in ("figure", "value", "goal", "", "peer", "value", "better"):
        table.add_column(title, justify="right" if title in ("value", "goal", "better") else "left")
    for item in figures:
        table.add_row(*row(item))
    return table


def row(item: Figure) -> tuple[str, ...]:
    limit = {"lower": "≤", "higher": "≥"}[item.better]
    return (
        item.figure,
        f"{show(item.value)} {item.unit}",
        "" if item.goal is None else f"{limit} {show(item.goal)}",
        {None: "", True: "met", False: "MISSED"}[item.meets_goal],
        item.peer or "",
        "" if item.peer_value is None else f"{show(item.peer_value)} {item.unit}",
        "" if item.times_better is None else f"{item.times_better:.2f}x",
    )


def show(value: float) -> str:
    """Three digits that matter, and no more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
