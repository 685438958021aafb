# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs one playbook through ansible-runner, feeds a display, and keeps the whole log."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, Self, TextIO

import ansible_runner

from nectar_backend.progress import Progress, advance

KEPT_LOGS = 15
INTERRUPT_GRACE = 10.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Job:
    """A playbook with what it is run on; `variables` are the `-e` of ansible-playbook."""

    playbook: str
    inventory: Sequence[str]
    variables: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.playbook.removeprefix("playbooks/")


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    job: Job
    ok: bool
    interrupted: bool
    seconds: float
    progress: Progress
    log: Path


class Display(Protocol):
    """What a run reports to."""

    def begin(self, job: Job) -> None: ...
    def update(self, progress: Progress) -> None: ...
    def end(self, outcome: Outcome) -> None: ...


def run_job(job: Job, root: Path, log: Path, display: Display) -> Outcome:
    """Run the playbook to its end, or until a person interrupts it."""
    started = time.monotonic()
    progress = Progress()
    display.begin(job)
    private = Path(tempfile.mkdtemp(prefix="nectar-"))
    try:
        with open_log(log) as out, Interruption() as interruption:

            def handle(event: dict[str, Any]) -> bool:
                nonlocal progress
                write_event(out, event)
                progress = advance(progress, event, str(root))
                display.update(progress)
                return False

            runner = _run(job, root, private, handle, interruption)
    finally:
        shutil.rmtree(private, ignore_errors=True)
    ok = runner.status == "successful" and not interruption.asked
    outcome = Outcome(job, ok, interruption.asked, time.monotonic() - started, progress, log)
    display.end(outcome)
    return outcome


def _run(
    job: Job, root: Path, private: Path, handle: Callable[[dict[str, Any]], bool], interrupted: Callable[[], bool]
) -> ansible_runner.Runner:
    return ansible_runner.run(
        private_data_dir=str(private),
        # The root is the working folder, so that our ansible.cfg and inventory paths hold.
        project_dir=str(root),
        playbook=job.playbook,
        cmdline=" ".join(f"-i {source}" for source in job.inventory),
        extravars=dict(job.variables),
        envvars=ansible_environment(root, os.environ),
        event_handler=handle,
        cancel_callback=interrupted,
        # Seconds between two looks at whether Ctrl-C was pressed.
        settings={"pexpect_timeout": 1},
        quiet=True,
    )


def ansible_environment(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What every Ansible process of ours is told, whoever starts it."""
    bin_directory = str(Path(sys.executable).parent)
    return {
        "PATH": f"{bin_directory}:{environ.get('PATH', os.defpath)}",
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        # ansible-runner would switch it off, and with it `StrictHostKeyChecking`.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_NOCOLOR": "1",
        # Ansible refuses any other encoding, and fresh machines have none set.
        "LC_ALL": "C.UTF-8",
    }


def name_log(directory: Path, job: Job, now: time.struct_time) -> Path:
    """`20260131-154501-deploy-alice.log`: sorts by time, says what it is of."""
    words = (time.strftime("%Y%m%d-%H%M%S", now), job.name.removesuffix(".yml").replace("/", "-"))
    return directory / ("-".join((*words, *job.variables.values())) + ".log")


def open_log(path: Path) -> TextIO:
    """Make a log that its owner alone reads, and drop the oldest ones beside it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(path.parent.glob("*.log"))[: -(KEPT_LOGS - 1)]:
        old.unlink(missing_ok=True)
    return open(path, "w", encoding="utf-8", buffering=1, opener=lambda name, flags: os.open(name, flags, 0o600))


def write_event(out: TextIO, event: Mapping[str, Any]) -> None:
    """Append what ansible-playbook printed; it has hidden what `no_log` covers."""
    text = str(event.get("stdout", "")).replace("\r\n", "\n")
    if text:
        out.write(f"{text}\n")


class Interruption:
    """Passes Ctrl-C on to ansible-playbook, so that it stops its workers; ends it if it does not."""

    def __init__(self) -> None:
        self.asked = False
        self._passed_on: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """ansible-runner asks: kill it now?"""
        if not self.asked:
            return False
        if self._passed_on is None:
            self._passed_on = time.monotonic()
            for child in child_processes():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGINT)
        return time.monotonic() - self._passed_on > INTERRUPT_GRACE

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def child_processes() -> list[int]:
    """Who we started; ansible-runner doesn't tell."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(child) for child in children.read_text(encoding="ascii").split()] if children.exists() else []
