# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Playbooks that are followed while they run, on a registry that may be edited."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from bench.harness import ROOT, BenchError
from nectar_backend.project import REGISTRY

Event = Mapping[str, Any]
TASK_START = "v2_playbook_on_task_start"
FAILED, UNREACHABLE = "v2_runner_on_failed", "v2_runner_on_unreachable"
# The task of role rollout that says what is released where.
PLANNED = "Plan the releases"
# Elsewhere the controller is a machine of its own; here it must not take the servers' processors from them.
NICENESS = 19
LAST_WORDS = 5
GRACE = 20.0


class Registry:
    """A copy of the lab's registry that may be edited, with the lab's own variables beside it."""

    def __init__(self, folder: Path) -> None:
        own = ROOT / REGISTRY
        (folder / "group_vars").symlink_to(own.parent / "group_vars")
        self.path = folder / own.name
        # Paths start at the registry's folder, which is another one here.
        self.data: dict[str, Any] = yaml.safe_load(own.read_text(encoding="utf-8").replace("../../", f"{ROOT}/"))
        self.save()

    def change(self, deployment: str, environment: Mapping[str, str], rollout: Mapping[str, Any] | None = None) -> None:
        """Make a team deployment's next release another revision, by what its processes find in their environment."""
        entry = self.data["deployments"][deployment]
        entry["environment"] = dict(environment)
        entry.pop("rollout", None)
        if rollout:
            entry["rollout"] = dict(rollout)
        self.save()

    def save(self) -> None:
        self.path.write_text(yaml.safe_dump(self.data, sort_keys=False), encoding="utf-8")


@dataclass(frozen=True)
class Played:
    """One run of a playbook: when it began and ended, in seconds since 1970, what it told, and what it said beside."""

    code: int
    began: float
    ended: float
    events: tuple[Event, ...]
    words: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def play_environment() -> dict[str, str]:
    """As the project has it, but told as events, and without a record of what is measured."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return inherited | {
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl",
        "ANSIBLE_CALLBACKS_ENABLED": "nectar.backend.preload",
    }


def play(
    playbook: str,
    sources: Iterable[str],
    variables: Mapping[str, Any],
    *,
    limit: float,
    niceness: int = 0,
    on_task: Callable[[str], None] = lambda _name: None,
) -> Played:
    """Run a playbook to its end, good or not; one that takes over `limit` seconds is ended, and a BenchError."""
    inventory = [word for source in sources for word in ("-i", source)]
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    began = time.time()
    process = subprocess.Popen(
        ["nice", f"-n{niceness}", program, *inventory, playbook, "-e", json.dumps(dict(variables))],
        cwd=ROOT, env=play_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    is_late = threading.Event()

    def give_up() -> None:
        is_late.set()
        end(process)

    timer = threading.Timer(limit, give_up)
    timer.start()
    events: list[Event] = []
    words: list[str] = []
    try:
        for line in process.stdout or ():
            # What ansible.posix.jsonl prints; warnings may stand between.
            if not line.startswith("{"):
                words.append(line)
                continue
            events.append(json.loads(line))
            if events[-1]["_event"] == TASK_START:
                on_task(task_of(events[-1]))
        code = process.wait()
    finally:
        timer.cancel()
        end(process)
        process.wait()
    if is_late.is_set():
        task = next((task_of(event) for event in reversed(events) if event["_event"] == TASK_START), "no task yet")
        raise BenchError(f"{playbook} took over {limit:.0f} s; try again on a quieter machine. It was at: {task}")
    return Played(code, began, time.time(), tuple(events), "".join(words[-LAST_WORDS:]).strip())


def end(process: "subprocess.Popen[str]") -> None:
    """End a playbook and all that it started here, if it still runs. What plays a task has a session of its own, so Ansible must end it itself."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def task_of(event: Event) -> str:
    """A task's own name, without its role's."""
    return str(event["task"]["name"]).rpartition(" : ")[2]


def results_of(events: Iterable[Event], task: str) -> Iterator[Mapping[str, Any]]:
    """What a task answered, host by host, and item by item where it loops."""
    for event in events:
        if event.get("hosts") and task_of(event) == task:
            for result in event["hosts"].values():
                yield from (
                    result["results"] if "results" in result and isinstance(result["results"], list) else [result]
                )


def why_failed(played: Played) -> str:
    """What the tasks that failed said last."""
    said = [
        f"{task_of(event)}: {result.get('msg', '')}"
        for event in played.events
        if event["_event"] in (FAILED, UNREACHABLE)
        for result in event["hosts"].values()
    ]
    return "\n".join(said[-LAST_WORDS:]) or played.words or f"it ended with {played.code}"


def seconds_by_task(events: Iterable[Event]) -> dict[str, float]:
    """Each task's seconds, until the next one starts, by its name; the longest first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    task, since = "", 0.0
    for event in events:
        now = datetime.fromisoformat(event["_timestamp"]).timestamp()
        if task:
            seconds[task] += now - since
        if event["_event"] == TASK_START:
            task = task_of(event)
        since = now
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))
