# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Serve one deployment's release in ways that take turns, and load each: `python3 -I - PLAN` as root on its server.

It stands alone, for it is sent to a server, where there is nothing but Python 3.11. PLAN and what it prints are JSON.
Servers run in transient units on loopback, with the environment and the user of the deployment's own, and end with it.
"""

import contextlib
import itertools
import json
import os
import selectors
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

ADDRESS, PORT = "127.0.0.1", 9876
UNIT = "nectar-bench.service"
START_LIMIT = 20.0
LONGEST_ANSWER = 5.0
TICKS = os.sysconf("SC_CLK_TCK")


class LoadError(Exception):
    """What makes a measurement worthless, or impossible."""


def main(plan: dict[str, Any]) -> dict[str, list[dict[str, float]]]:
    ways = plan["ways"]
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for number in range(plan["rounds"]):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            samples[name].append(measure(ways[name], plan))
    return samples


def measure(command: list[str], plan: dict[str, Any]) -> dict[str, float]:
    """Requests and CPU seconds of one way."""
    try:
        start(command, plan)
        load(plan["path"], plan["identities"], plan["connections"], plan["warm_up"])
        before = cpu_seconds()
        requests, seconds = load(plan["path"], plan["identities"], plan["connections"], plan["seconds"])
        return {"requests": requests, "seconds": seconds, "cpu_seconds": cpu_seconds() - before, "megabytes": memory()}
    finally:
        subprocess.run(["systemctl", "stop", UNIT], check=False, stderr=subprocess.DEVNULL)


def start(command: list[str], plan: dict[str, Any]) -> None:
    """Start the server beside the deployment, and wait until it answers."""
    unit = serving_unit(plan["deployment"])
    shown = show(unit, "User", "Group", "WorkingDirectory", "Environment", "EnvironmentFiles")
    properties = {name: shown[name] for name in ("User", "Group", "WorkingDirectory")}
    properties["EnvironmentFile"] = shown["EnvironmentFiles"].split(" (")[0]
    options = [f"--property={name}={value}" for name, value in properties.items()]
    variables = shlex.split(shown["Environment"]) + [f"{name}={value}" for name, value in plan["environment"].items()]
    path = dict(item.split("=", 1) for item in variables)["PATH"]
    # systemd looks for the program in its own path, not in the unit's.
    argv = ["/usr/bin/env", "--", *fill(command, plan)]
    subprocess.run(
        ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", *options,
         *(f"--setenv={variable}" for variable in variables), *argv],
        check=True, env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
    )  # fmt: skip
    until = time.monotonic() + START_LIMIT
    with selectors.DefaultSelector() as none:
        while not answers():
            if time.monotonic() > until or show(UNIT, "ActiveState")["ActiveState"] not in ("active", "activating"):
                raise LoadError(f"{shlex.join(command)} doesn't serve; `journalctl --unit {UNIT}` says why")
            none.select(0.1)


def fill(command: list[str], plan: dict[str, Any]) -> list[str]:
    """The command with its placeholders filled, as in the deployment's unit, but for workers and port."""
    return [word.format(**{**plan["values"], "address": ADDRESS, "port": PORT}) for word in command]


def serving_unit(deployment: str) -> str:
    units = subprocess.run(
        ["systemctl", "list-units", "--plain", "--no-legend", "--state=active", f"nectar-{deployment}-*-web.service"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    if not units:
        raise LoadError(f"no web process of {deployment} runs here; deploy it, then try again")
    return units[0]


def show(unit: str, *names: str) -> dict[str, str]:
    text = subprocess.run(
        ["systemctl", "show", unit, *(f"--property={name}" for name in names)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return dict(line.split("=", 1) for line in text.splitlines())


def answers() -> bool:
    try:
        with socket.create_connection((ADDRESS, PORT), 1) as connection:
            connection.sendall(request("/readyz"))
            return b" 200 " in connection.recv(4096)
    except OSError:
        return False


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench.example.org\r\n\r\n".encode()


class Client:
    """One connection with one request on its way; a new connection whenever the server closes it."""

    def __init__(self, selector: selectors.BaseSelector, requests: Iterator[bytes]) -> None:
        self.selector = selector
        self.requests = requests
        self.connection: socket.socket | None = None
        self.received = b""
        self.ask()

    def ask(self) -> None:
        if self.connection is None:
            self.connection = socket.create_connection((ADDRESS, PORT), LONGEST_ANSWER)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(self.connection, selectors.EVENT_READ, self)
        self.received = b""
        self.connection.sendall(next(self.requests))

    def close(self) -> None:
        if self.connection is not None:
            self.selector.unregister(self.connection)
            self.connection.close()
            self.connection = None

    def read(self) -> bool:
        """Whether an answer is complete; anything but a 200 ends the measurement."""
        piece = self.connection.recv(65536) if self.connection else b""
        self.received += piece
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = content_length(head) if end else None
        if length is None or len(body) < length:
            if piece:
                return False
            raise LoadError(f"an answer ended early: {self.received[:200]!r}")
        if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
            raise LoadError(f"expected 200, got {self.received[:200]!r}")
        if b"connection: close" in head.lower():
            self.close()
        return True


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise LoadError(f"an answer without a length: {head[:200]!r}")


def load(path: str, identities: int, connections: int, seconds: float) -> tuple[int, float]:
    """Ask on so many connections for so long; the answers, and the seconds until the last one."""
    requests = itertools.cycle([request(path.format(identity=number)) for number in range(1, identities + 1)])
    answered = 0
    began = time.monotonic()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for _ in range(connections):
            stack.callback(Client(selector, requests).close)
        while time.monotonic() - began < seconds:
            ready = selector.select(LONGEST_ANSWER)
            if not ready:
                raise LoadError(f"no answer within {LONGEST_ANSWER:g} s")
            for key, _ in ready:
                if key.data.read():
                    answered += 1
                    key.data.ask()
        return answered, time.monotonic() - began


def processes() -> list[int]:
    """The unit's processes: its main one and all below."""
    found, waiting = [], [int(show(UNIT, "MainPID")["MainPID"])]
    while waiting:
        process = waiting.pop()
        found.append(process)
        with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as file:
            waiting += map(int, file.read().split())
    return found


def cpu_seconds() -> float:
    total = 0
    for process in processes():
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory() -> float:
    """MiB of all processes, shared pages divided among those who share them."""
    total = 0
    for process in processes():
        with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


if __name__ == "__main__":
    try:
        print(json.dumps(main(json.loads(sys.argv[1]))))
    except (LoadError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
