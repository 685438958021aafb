# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows runs: live on a terminal, line by line elsewhere."""

import time
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nectar_backend.failures import DEFAULT_REMEDY, Failure, find_remedy
from nectar_backend.progress import Progress
from nectar_backend.runs import Display, Job, Outcome

SHOWN_HOSTS = 4
SHOWN_FAILURES = 4


def choose_display(console: Console) -> Display:
    """Redraw only where someone sees it."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


class LiveDisplay:
    """Three lines that follow the run: where it is, on which hosts, and the counts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress()
        self._started = 0.0
        self._live: Live | None = None
        self._spinner = Spinner("dots")

    def begin(self, job: Job) -> None:
        self._progress = Progress()
        self._started = time.monotonic()
        self._spinner.update(text=job.name)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
        )
        self._live.start()

    def update(self, progress: Progress) -> None:
        self._progress = progress

    def end(self, outcome: Outcome) -> None:
        if self._live:
            self._live.stop()
        print_outcome(self._console, outcome)

    def _draw(self) -> RenderableType:
        seconds = time.monotonic() - self._started
        progress = self._progress
        head = Table.grid(padding=(0, 2))
        head.add_row(self._spinner, show_seconds(seconds), show_counts(progress))
        lines = [Text(f"  {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in describe(progress)]
        return Group(head, *lines)


class PlainDisplay:
    """One line for each play and step: for CI, pipes and files."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name = ""
        self._shown = ("", "")
        self._started = 0.0

    def begin(self, job: Job) -> None:
        self._name = job.name
        self._shown = ("", "")
        self._started = time.monotonic()
        self._say("begins")

    def update(self, progress: Progress) -> None:
        shown = (progress.play, progress.step)
        if progress.step and shown != self._shown:
            self._shown = shown
            self._say(" › ".join(filter(None, shown)))

    def end(self, outcome: Outcome) -> None:
        print_outcome(self._console, outcome)

    def _say(self, text: str) -> None:
        seconds = show_seconds(time.monotonic() - self._started)
        self._console.print(f"{seconds:>7}  {self._name}  {text}", markup=False, highlight=False, soft_wrap=True)


def describe(progress: Progress) -> list[str]:
    """The play with its role, and the task with the hosts that it waits for."""
    if not progress.play:
        return ["reading the inventory and the playbook"]
    where = " › ".join(filter(None, (progress.play, progress.role)))
    total = progress.done + len(progress.running)
    waiting = show_hosts(sorted(progress.running))
    hosts = f" ({progress.done} of {total} done{', waiting for ' + waiting if waiting else ''})" if total else ""
    return [where, f"{progress.task}{hosts}"]


def show_hosts(hosts: Sequence[str]) -> str:
    """A few names, and how many more."""
    more = len(hosts) - SHOWN_HOSTS
    return ", ".join(hosts[:SHOWN_HOSTS]) + (f" and {more} more" if more > 0 else "")


def show_seconds(seconds: float) -> str:
    """`8.4 s` while it is short, `2:05` when it is not."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def show_counts(progress: Progress) -> str:
    return f"{progress.executions:,} tasks, changed={progress.changed}"


def print_outcome(console: Console, outcome: Outcome) -> None:
    """One line for a run that went well; all that helps for one that did not."""
    verdict = "interrupted" if outcome.interrupted else "done" if outcome.ok else "failed"
    style = "green" if outcome.ok else "bold red"
    line = Text()
    line.append(f"{verdict:<11}", style=style)
    line.append(f" {outcome.job.name:<16} {show_seconds(outcome.seconds):>8}   {show_counts(outcome.progress)}")
    console.print(line, soft_wrap=True)
    if not outcome.ok:
        lines = explain(outcome)
        for label, text in lines:
            print_labelled(console, label, text)


def print_labelled(console: Console, label: str, text: str) -> None:
    """A label, and its lines beside it; whole lines, so that paths can be copied."""
    for number, line in enumerate(text.splitlines() or [""]):
        row = Text()
        row.append(f"  {label if number == 0 else '':<9}", style="bold")
        row.append(line)
        console.print(row, soft_wrap=True)


def explain(outcome: Outcome) -> list[tuple[str, str]]:
    """What failed, where, why and what to do, then where the rest is."""
    rows: list[tuple[str, str]] = []
    failures = outcome.progress.failures
    if outcome.interrupted:
        rows.append(("stopped", "on your request; run the same command again to go on."))
    else:
        rows += [row for failure in failures[:SHOWN_FAILURES] for row in explain_failure(failure)]
        rows += [] if failures else explain_tail(outcome.progress)
    if len(failures) > SHOWN_FAILURES:
        rows.append(("more", f"{len(failures) - SHOWN_FAILURES} more failures are in the log"))
    return [*rows, ("log", str(outcome.log))]


def explain_tail(progress: Progress) -> list[tuple[str, str]]:
    """No task failed, so what Ansible said last is the cause: a playbook or an inventory that it can't read."""
    message = "\n".join(progress.tail) or "Ansible ended without a word."
    return [("message", message), ("remedy", DEFAULT_REMEDY)]


def explain_failure(failure: Failure) -> list[tuple[str, str]]:
    rows = [
        ("task", f"{failure.task} ({failure.place})" if failure.place else failure.task),
        ("on", show_hosts(failure.hosts)),
        ("message", failure.message),
    ]
    if failure.output:
        rows.append(("output", "\n".join(failure.output)))
    return [*rows, ("remedy", find_remedy(failure))]


def summarise(outcomes: Iterable[Outcome]) -> str:
    """What all runs of one command did together; `nothing changed` is a promise that is kept."""
    done = list(outcomes)
    executions = sum(outcome.progress.executions for outcome in done)
    changed = sum(outcome.progress.changed for outcome in done)
    seconds = show_seconds(sum(outcome.seconds for outcome in done))
    verdict = f"changed={changed}" if changed else "nothing changed (changed=0)"
    return f"{verdict}, {executions:,} tasks in {seconds}"
