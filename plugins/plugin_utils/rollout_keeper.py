# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep a run's leases while its controller lives: renew them, beat for the load balancers, and hand on what they find to one another.

Started by the action `rollout_lease` with its plan on stdin, it answers one line on stdout once it is at work, and ends with the
controller's process. Every connection of its is a command whose ends are lines of JSON; it knows nothing of SSH.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, cast

RENEW_EVERY = 3.0  # seconds, as all that follow
BEAT_EVERY = 2.0
ANSWER_WITHIN = 8.0
RETRY_AFTER = 1.0
# A command that greeted and is still there after this is at work.
SETTLED_AFTER = 1.0
MOST_UNSENT = 256 * 1024
Message = dict[str, Any]


@dataclass
class Tenure:
    """How long a lease may be believed in: counted from when a renewal was asked for, which is never too long."""

    ttl: float
    began: float
    asked: float | None = None
    due: float = 0.0

    def ask(self, now: float) -> None:
        """A renewal is asked for."""
        self.asked, self.due = now, now + RENEW_EVERY

    def renewed(self, ttl: float) -> None:
        """It was granted."""
        if self.asked is not None:
            self.began, self.ttl, self.asked = self.asked, ttl, None

    def failed(self, now: float) -> None:
        """It was not, and is asked for again soon."""
        self.asked, self.due = None, now + RETRY_AFTER

    def overdue(self, now: float) -> bool:
        """Say whether an answer is too long in coming."""
        return self.asked is not None and now - self.asked > ANSWER_WITHIN

    def over(self, now: float) -> bool:
        """Say whether the lease may have ended."""
        return now - self.began >= self.ttl


class Command:
    """A command that reads and writes lines of JSON; what else it writes are its last words."""

    def __init__(self, words: Sequence[str], started: float) -> None:
        self.process = subprocess.Popen(
            list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        self.streams = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        self.input, self.output = (stream.fileno() for stream in self.streams)
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        self.started = started
        self.greeted: float | None = None
        self.last_words = ""
        self.unread = self.unsent = b""

    def send(self, message: Message) -> None:
        """Write a line, or keep it until the pipe takes more; one that takes nothing for long is given up."""
        self.unsent += json.dumps(message).encode() + b"\n"
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self.unsent = self.unsent[os.write(self.input, self.unsent) :]
        if len(self.unsent) > MOST_UNSENT:
            self.process.kill()

    def receive(self) -> tuple[list[Message], bool]:
        """Return the messages that came, and whether there may be more."""
        try:
            part = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return [], True
        *lines, self.unread = (self.unread + part).split(b"\n")
        return list(self._messages(lines)), bool(part)

    def _messages(self, lines: Sequence[bytes]) -> Iterator[Message]:
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict):
                yield message
            elif line.strip():
                self.last_words = line.decode(errors="replace").strip()[:300]

    def end(self) -> None:
        """Let its stdin end, which ends what runs at the other side, and the command soon after."""
        for stream in self.streams:
            stream.close()
        try:
            self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            self.process.terminate()

    def why(self) -> str:
        """Say how it ended."""
        code = self.process.poll()
        return self.last_words or (f"the command ended with {code}" if code is not None else "no answer")


@dataclass
class Line:
    """The line to one load balancer for one deployment."""

    deployment: str
    balancer: str
    words: Sequence[str]
    command: Command | None = None
    due: float = 0.0
    trouble: str = ""

    def settled(self, now: float) -> bool:
        """Say whether it is known to work, or known not to."""
        if self.command is None:
            return bool(self.trouble)
        return self.command.greeted is not None and now - self.command.greeted >= SETTLED_AFTER


@dataclass
class Keeper:
    """Everything that is kept up at once, in one loop."""

    plan: Mapping[str, Any]
    log: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    lines: list[Line] = field(default_factory=list)
    states: dict[tuple[str, str], Message] = field(default_factory=dict)
    renewer: Command | None = None
    server: int = 0
    beats: int = 0
    beat_due: float = 0.0
    ready: bool = False
    ended: str = ""

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.tenure = Tenure(self.plan["ttl"], self.began)
        self.held = set(self.plan["deployments"])
        self.confirmed = False
        self.trouble = ""
        self.lines = [
            Line(name, balancer, words)
            for name, commands in self.plan["deployments"].items()
            for balancer, words in commands.items()
        ]
        self.selector = selectors.DefaultSelector()

    def run(self, controller: int) -> str:
        """Keep the leases until there is a reason not to, and return it."""
        self.selector.register(controller, selectors.EVENT_READ, self.controller_ended)
        try:
            while not self.ended:
                self.tick(self.clock())
                for key, _events in self.selector.select(0.2):
                    key.data()
        finally:
            for command in [self.renewer, *(line.command for line in self.lines)]:
                if command is not None:
                    command.end()
        return self.ended

    def controller_ended(self) -> None:
        self.ended = "the controller's process ended; the leases end by themselves"

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.renew(now)
        if now >= self.beat_due:
            self.beats += 1
            self.beat_due = now + BEAT_EVERY
            for line in self.lines:
                if line.command is not None:
                    line.command.send({"beat": self.beats})
        for line in self.lines:
            if line.command is None and now >= line.due:
                self.open(line, now)
        self.report(now)

    # The leases

    def renew(self, now: float) -> None:
        """Ask for a renewal when one is due, over the next server where this one doesn't answer."""
        if self.tenure.over(now):
            self.ended = f"the leases could not be renewed for {self.tenure.ttl:.0f} s: {self.trouble or 'no answer'}"
            return
        if self.tenure.overdue(now):
            self.change_server(now, "no answer")
        if self.tenure.asked is None and now >= self.tenure.due:
            if self.renewer is None:
                self.renewer = Command(self.plan["renewers"][self.server]["command"], now)
                self.selector.register(self.renewer.output, selectors.EVENT_READ, self.hear_renewer)
            self.tenure.ask(now)
            self.renewer.send({"renew": True})

    def hear_renewer(self) -> None:
        if self.renewer is None:
            return
        messages, more = self.renewer.receive()
        for message in messages:
            if "error" in message:
                self.change_server(self.clock(), message["error"])
                return
            if "ttl" in message:
                self.judge(message)
        if not more:
            self.change_server(self.clock(), self.renewer.why())

    def judge(self, answer: Message) -> None:
        """Take in what etcd says of the leases."""
        self.tenure.renewed(answer["ttl"])
        if not self.confirmed:
            self.confirmed = True
            self.log(f"renewing over {self.plan['renewers'][self.server]['name']}")
        for name in sorted(self.held - set(answer["held"])):
            self.lose(name)
        if not self.held:
            self.ended = "no lease is held any more"

    def lose(self, name: str) -> None:
        """A lease was given back or broken: whoever has it now sends signs of life of their own."""
        self.held.discard(name)
        self.log(f"{name}: the lease is held no more; it was given back, broken or ran out")
        for line in self.lines:
            if line.deployment == name and line.command is not None:
                self.drop(line.command)
                line.command = None
        self.lines = [line for line in self.lines if line.deployment != name]

    def change_server(self, now: float, why: str) -> None:
        name = self.plan["renewers"][self.server]["name"]
        self.trouble = f"{name}: {why}"
        self.log(f"no renewal over {self.trouble}")
        if self.renewer is not None:
            self.drop(self.renewer)
            self.renewer = None
        self.server = (self.server + 1) % len(self.plan["renewers"])
        self.confirmed = False
        self.tenure.failed(now)

    # The lines to the load balancers

    def open(self, line: Line, now: float) -> None:
        """Open a line, and tell it first what the others found."""
        line.command = Command(line.words, now)
        self.selector.register(line.command.output, selectors.EVENT_READ, lambda: self.hear(line))
        line.command.send({"beat": self.beats})
        for (deployment, balancer), state in self.states.items():
            if deployment == line.deployment and balancer != line.balancer:
                line.command.send({"peer": balancer, "state": state})

    def hear(self, line: Line) -> None:
        """Hand on at once what a load balancer found."""
        if line.command is None:
            return
        messages, more = line.command.receive()
        now = self.clock()
        for message in messages:
            if "state" in message:
                self.states[line.deployment, line.balancer] = message["state"]
                self.hand_on(line, message["state"])
            elif "error" in message:
                line.command.last_words = str(message["error"])
            elif line.command.greeted is None:
                line.command.greeted = now
        if more:
            return
        self.drop(line.command)
        why = line.command.why()
        if why != line.trouble:
            self.log(f"{line.deployment}: no line to {line.balancer}: {why}")
        line.trouble, line.command, line.due = why, None, now + RETRY_AFTER

    def hand_on(self, source: Line, state: Message) -> None:
        for line in self.lines:
            if line.deployment == source.deployment and line is not source and line.command is not None:
                line.command.send({"peer": source.balancer, "state": state})

    def drop(self, command: Command) -> None:
        self.selector.unregister(command.output)
        command.end()

    # What the one who started it wants to know

    def report(self, now: float) -> None:
        """Say once that all is at work, or what isn't."""
        if self.ready:
            return
        settled = self.confirmed and all(line.settled(now) for line in self.lines)
        if not (settled or self.ended or now - self.began > self.plan["ready_within"]):
            return
        self.ready = True
        lines: dict[str, dict[str, str]] = {}
        for line in self.lines:
            works = line.command is not None and line.command.greeted is not None
            trouble = "" if works else line.trouble or "no answer yet"
            lines.setdefault(line.deployment, {})[line.balancer] = trouble
        print(json.dumps({"renewed": self.confirmed, "trouble": self.trouble, "lines": lines}), flush=True)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def main() -> int:
    """Read the plan, and keep the leases while the process behind the inherited pidfd lives."""
    controller = int(sys.argv[1])
    plan = json.load(sys.stdin)
    with open(plan["log"], "a", encoding="utf-8", buffering=1) as file:

        def log(text: str) -> None:
            file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n")

        keeper = Keeper(plan, log)

        def told_to_end(_signal: int, _frame: object) -> None:
            keeper.ended = "it was told to end"

        signal.signal(signal.SIGTERM, told_to_end)
        log(f"keeping {', '.join(sorted(keeper.held))} for {plan['controller']}")
        try:
            reason = keeper.run(controller)
        except OSError as error:
            reason = f"a command can't be started: {error}"
        log(f"ended: {reason}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
