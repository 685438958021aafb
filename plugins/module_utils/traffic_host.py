# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What modules and programs read, write and say on a load balancer. Decisions are elsewhere."""

from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.haproxy_runtime import (
    Runtime,
    Worker,
    find_lacking,
    parse_servers,
    parse_slots,
    parse_workers,
    plan_commands,
    plan_slot_commands,
    wanted_runtime,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text
from ansible_collections.nectar.backend.plugins.module_utils.traffic import (
    MAP_HEADER,
    SLOTS_HEADER,
    Files,
    Switch,
    fragment_name,
    plan_withdrawal,
)

BALANCER_ARGUMENTS: dict[str, Any] = {
    "haproxy_directory": {"type": "path", "default": "/etc/haproxy"},
    "state_directory": {"type": "path", "default": "/var/lib/nectar"},
    "run_directory": {"type": "path", "default": "/run/nectar"},
    "master_socket": {"type": "path", "default": "/run/haproxy-master.sock"},
    "lock_file": {"type": "path", "default": "/run/lock/nectar-haproxy.lock"},
}
ANSWER_SECONDS = 2.0
SETTLE_SECONDS = 5.0
PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Balancer:
    """Where HAProxy's configuration lies, what is noted about it, and where its master listens."""

    directory: str
    state: str
    run: str = "/run/nectar"
    master: str = "/run/haproxy-master.sock"
    lock: str = "/run/lock/nectar-haproxy.lock"

    @property
    def fragments(self) -> str:
        """Return the folder of all fragments."""
        return os.path.join(self.directory, "conf.d")

    def fragment(self, deployment: str) -> str:
        """Return the file of a deployment's backends."""
        return os.path.join(self.fragments, fragment_name(deployment))

    @property
    def map(self) -> str:
        """Return the file that maps server names to backends."""
        return os.path.join(self.directory, "maps", "deployments.map")

    @property
    def slots(self) -> str:
        """Return the file that maps server names to the slots that say who answers."""
        return os.path.join(self.directory, "maps", "slots.map")

    def rollout(self, deployment: str) -> str:
        """Return the file that is there while a step of the deployment is open."""
        return os.path.join(self.state, "rollouts", deployment)

    @property
    def reload_due(self) -> str:
        """Return the file that is there from a change of structure until HAProxy has loaded it. A reboot loads it too."""
        return os.path.join(self.run, "haproxy-reload")


def balancer_from(params: Mapping[str, Any]) -> Balancer:
    """Return the load balancer that a module's arguments describe."""
    return Balancer(
        params["haproxy_directory"],
        params["state_directory"],
        params["run_directory"],
        params["master_socket"],
        params["lock_file"],
    )


def add_balancer_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let a program be told of other places than the usual ones."""
    parser.add_argument("--directory", default="/etc/haproxy", help="HAProxy's configuration")
    parser.add_argument("--state", default="/var/lib/nectar", help="what is kept")
    parser.add_argument("--run", default=Balancer.run, help="what a reboot forgets")
    parser.add_argument("--master", default=Balancer.master, help="where HAProxy's master listens")
    parser.add_argument("--lock", default=Balancer.lock, help="what keeps two programs apart")
    return parser


def traffic_path(state: str, deployment: str) -> str:
    """Return the file that says where a deployment's requests go."""
    return os.path.join(state, "traffic", f"{deployment}.json")


def read_traffic(state: str, deployment: str) -> dict[str, Any] | None:
    """Return where a deployment's requests go, if anywhere."""
    path = traffic_path(state, deployment)
    text = read_text(path)
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise SlotError(
            f"{path} can't be read ({error}); remove it, and run site.yml for the load balancers"
        ) from error


def read_all_traffic(state: str) -> dict[str, dict[str, Any]]:
    """Return where the requests of all deployments go."""
    directory = os.path.join(state, "traffic")
    names = sorted(name.removesuffix(".json") for name in _names(directory) if name.endswith(".json"))
    return {name: found for name in names if (found := read_traffic(state, name))}


def open_rollouts(balancer: Balancer) -> list[str]:
    """Return the deployments of which a step is open here."""
    return sorted(_names(os.path.join(balancer.state, "rollouts")))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def read_files(balancer: Balancer, deployments: Iterable[str]) -> Files:
    """Return what the load balancer has of these deployments."""
    names = list(deployments)
    return Files(
        {name: read_text(balancer.fragment(name)) for name in names},
        {name: read_traffic(balancer.state, name) for name in names},
        read_text(balancer.map) or MAP_HEADER,
        read_text(balancer.slots) or SLOTS_HEADER,
    )


def write_files(balancer: Balancer, files: Files) -> None:
    """Write what changed, so that a run that is cut off leaves no open step unnoticed, and no name without its backends."""
    opening = [name for name, note in files.notes.items() if note and note.get("step")]
    for name in opening:
        _put(balancer.rollout(name), "")
        _put_note(balancer, name, files.notes[name])
    for name, fragment in files.fragments.items():
        _put(balancer.fragment(name), fragment)
    _put(balancer.slots, files.slots_text)
    _put(balancer.map, files.map_text)
    for name, note in files.notes.items():
        if name not in opening:
            _put_note(balancer, name, note)
            _put(balancer.rollout(name), None)


def _put_note(balancer: Balancer, name: str, note: Mapping[str, Any] | None) -> None:
    _put(traffic_path(balancer.state, name), None if note is None else json.dumps(note, indent=1) + "\n")


def _put(path: str, text: str | None) -> None:
    if text is None:
        with suppress(FileNotFoundError):
            os.unlink(path)
    elif read_text(path) != text:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        replace_text(path, text)


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Let one run at a time change the files."""
    with open(path, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def ask_master(balancer: Balancer, command: str) -> str:
    """Give HAProxy's master one command, and return its answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(balancer.master)
        connection.sendall(f"{command}\n".encode())
        # The master keeps a connection open for more, until it hears that there is none.
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts).decode(errors="replace")


def read_workers(balancer: Balancer) -> list[Worker] | None:
    """Return the workers that live: none while HAProxy is being reloaded, nothing where it doesn't run."""
    try:
        return parse_workers(ask_master(balancer, "show proc"))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError:
        return []


@dataclass(frozen=True)
class Steered:
    """What came of telling the workers: which commands were due, and what the current one doesn't know."""

    commands: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def steer(balancer: Balancer, files: Files, *, only_look: bool = False) -> Steered:
    """Have every living worker do what the files say, and read it back.

    Files come first: a worker that is born meanwhile has read them. One that is stopping takes no weights any more, and is only
    held to the slots: by these it gives its last requests to the promoted one.
    """
    wanted = wanted_runtime(files)
    given: list[str] = []
    told: set[int] = set()
    end = time.monotonic() + SETTLE_SECONDS
    while (workers := read_workers(balancer)) is not None:
        lacking: list[str] = []
        due: dict[int, list[str]] = {}
        for worker in workers:
            found = _read_runtime(balancer, worker)
            if worker.current and found:
                lacking += find_lacking(wanted, found)
            plan = plan_commands if worker.current or worker.pid not in told else plan_slot_commands
            commands = plan(wanted, found, balancer.slots) if found else []
            if commands or not found:
                due[worker.pid] = commands
        if only_look or (workers and not due):
            current = {worker.pid for worker in workers if worker.current}
            given += itertools.chain.from_iterable(commands for pid, commands in due.items() if pid in current)
            return Steered(tuple(given), tuple(lacking))
        if time.monotonic() > end:
            raise SlotError(_not_done(balancer, due))
        for pid, commands in due.items():
            told.add(pid)
            for command in commands:
                if _tell(balancer, pid, command):
                    given.append(command)
        if not any(due.values()):
            time.sleep(PAUSE_SECONDS)
    return Steered(tuple(given), ("a running HAProxy",))


def _not_done(balancer: Balancer, due: Mapping[int, list[str]]) -> str:
    shown = [f"worker {pid} still owes {', '.join(commands) or 'an answer'}" for pid, commands in due.items()]
    return (
        f"HAProxy does not do within {SETTLE_SECONDS:g} s what its files say: {'; '.join(shown) or 'no worker lives'}; "
        f"ask it by {balancer.master}, or reload it"
    )


def _read_runtime(balancer: Balancer, worker: Worker) -> Runtime | None:
    try:
        servers = parse_servers(ask_master(balancer, f"@!{worker.pid} show servers state"))
        slots = parse_slots(ask_master(balancer, f"@!{worker.pid} show map {balancer.slots}"))
    except OSError:
        return None
    return None if servers is None else Runtime(servers, slots)


def _tell(balancer: Balancer, pid: int, command: str) -> bool:
    """Give a worker a command; return whether it did something, for what it does it does silently."""
    try:
        return not ask_master(balancer, f"@!{pid} {command}").strip()
    except OSError:
        return False


def switch_weights(balancer: Balancer, names: Iterable[str], plan: Callable[[Files], Switch]) -> tuple[Switch, Steered]:
    """Write what a plan makes of the present files, and have every worker do it."""
    names = list(names)
    with locked(balancer.lock):
        switch = plan(read_files(balancer, names))
        if switch.changed:
            write_files(balancer, switch.after)
        return switch, steer(balancer, read_files(balancer, names))


def withdraw(balancer: Balancer, name: str, reason: str, now: str) -> bool:
    """End a step that nobody stands behind; return whether there was one."""
    switch, _steered = switch_weights(balancer, [name], lambda files: plan_withdrawal([name], files, reason, now))
    with locked(balancer.lock):
        note = read_traffic(balancer.state, name)
        # What a run that was killed between this file and the note has left.
        if not note or not note.get("step"):
            _put(balancer.rollout(name), None)
    return bool(switch.changed)
