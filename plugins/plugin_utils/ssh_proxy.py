# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OpenSSH's ProxyCommand: race a server's addresses, and hand the connection that an SSH server answers on to ssh.

A TCP connection proves little: a paused host still accepts them. So the winner is the first address that sends an SSH
banner, which is only peeked at. The socket itself goes to ssh (ProxyUseFdpass), so this process ends at once.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import cast

COLLECTIONS = os.path.abspath(__file__).rsplit(os.sep, 6)[0]
if COLLECTIONS not in sys.path:  # ssh starts this file by its path, so nothing has made the collection importable
    sys.path.append(COLLECTIONS)

from ansible_collections.nectar.backend.plugins.module_utils.address_race import Race, interleave, is_ipv6

BANNER = b"SSH-"
TIMEOUT = 10.0  # seconds


class RaceError(Exception):
    """No address answered."""


class Racer:
    """Runs one race over non-blocking sockets."""

    def __init__(self, candidates: Sequence[str], port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.race = Race(interleave(candidates))
        self.port = port
        self.clock = clock
        self.selector = selectors.DefaultSelector()

    def run(self, timeout: float) -> socket.socket:
        """The connected socket of the first address whose SSH server answers."""
        deadline = self.clock() + timeout
        try:
            while not self.race.lost and self.clock() < deadline:
                while (candidate := self.race.start_due(self.clock())) is not None:
                    self._start(candidate)
                for key, _events in self.selector.select(self.race.pause(self.clock(), deadline)):
                    if winner := self._advance(key):
                        return winner
            raise RaceError(self._reasons())
        finally:
            self._close_others()

    def _start(self, candidate: str) -> None:
        try:
            address = self._resolve(candidate)
            attempt = socket.socket(socket.AF_INET6 if is_ipv6(address[0]) else socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            self._fail(candidate, error)
            return
        attempt.setblocking(False)
        try:
            attempt.connect(address)
        except BlockingIOError:
            pass
        except OSError as error:
            attempt.close()
            self._fail(candidate, error)
            return
        self.selector.register(attempt, selectors.EVENT_WRITE, candidate)

    def _resolve(self, candidate: str) -> tuple[str, int]:
        """Addresses stand for themselves; a name's first address is taken."""
        found = socket.getaddrinfo(candidate, self.port, type=socket.SOCK_STREAM)[0][4]
        return str(found[0]), self.port

    def _advance(self, key: selectors.SelectorKey) -> socket.socket | None:
        """Take an attempt one step further: connected, then answered."""
        attempt, candidate = cast(socket.socket, key.fileobj), str(key.data)
        try:
            if key.events == selectors.EVENT_WRITE:
                check_connected(attempt)
                self.selector.modify(attempt, selectors.EVENT_READ, candidate)
                return None
            check_banner(attempt)
        except OSError as error:
            self.selector.unregister(attempt)
            attempt.close()
            self._fail(candidate, error)
            return None
        self.selector.unregister(attempt)
        attempt.setblocking(True)
        return attempt

    def _fail(self, candidate: str, error: OSError) -> None:
        self.race.fail(candidate, error.strerror or str(error), self.clock())

    def _reasons(self) -> str:
        return ", ".join(
            f"{item} ({self.race.failed.get(item, 'no SSH banner in time')})" for item in self.race.candidates
        )

    def _close_others(self) -> None:
        for key in list(self.selector.get_map().values()):
            cast(socket.socket, key.fileobj).close()
        self.selector.close()


def check_connected(attempt: socket.socket) -> None:
    code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def check_banner(attempt: socket.socket) -> None:
    """Peek, so that ssh still reads the banner itself."""
    start = attempt.recv(len(BANNER), socket.MSG_PEEK)
    if not start:
        raise OSError("closed before an SSH banner")
    if not BANNER.startswith(start) and start != BANNER:
        raise OSError("answers, but not as SSH")


def hand_over(connection: socket.socket, output: int) -> None:
    """Pass the connected socket to ssh, which waits for it on our standard output."""
    with socket.socket(fileno=os.dup(output)) as channel:
        socket.send_fds(channel, [b"\0"], [connection.fileno()])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--timeout", type=float, default=TIMEOUT)
    parser.add_argument("candidates", nargs="+")
    options = parser.parse_args(arguments)
    try:
        with Racer(options.candidates, options.port).run(options.timeout) as connection:
            hand_over(connection, sys.stdout.fileno())
    except (RaceError, OSError) as error:
        sys.stderr.write(f"No address of {options.name} answers on port {options.port}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
