# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carry a rollout's heartbeat and verdicts between its controller and this load balancer, as lines of JSON, until stdin ends."""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import sys

# Beside this file lie the few modules that it shares with the collection.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.nectar.backend.plugins.module_utils.rollout_relay import Relay
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import (
    Balancer,
    add_balancer_options,
    read_traffic,
)

LOOK_SECONDS = 0.1
OVERTAKEN = 3


class Line:
    """One rollout's end of the line."""

    def __init__(self, balancer: Balancer, deployment: str, token: int) -> None:
        self.balancer, self.deployment, self.token = balancer, deployment, token
        self.relay = Relay(balancer.run, deployment)
        self.rest = b""
        self.told: object = None

    def run(self) -> int:
        """Listen and tell until the controller is gone, or a later rollout has come."""
        while True:
            if newest := self.overtaken():
                tell({"error": f"token {self.token} is older than {newest}: a later rollout has taken over"})
                return OVERTAKEN
            if select.select([sys.stdin.fileno()], [], [], LOOK_SECONDS)[0] and not self.listen():
                return 0
            self.report()

    def overtaken(self) -> int:
        """Return the higher token that was seen here, if any."""
        seen = int((read_traffic(self.balancer.state, self.deployment) or {}).get("token") or 0)
        return seen if seen > self.token else 0

    def listen(self) -> bool:
        """Take in what the controller says; return whether it is still there."""
        part = os.read(sys.stdin.fileno(), 1 << 16)
        *lines, self.rest = (self.rest + part).split(b"\n")
        for line in lines:
            self.take(line)
        return bool(part)

    def take(self, line: bytes) -> None:
        """Take one line; one that can't be read is as good as none."""
        try:
            message = json.loads(line)
        except ValueError:
            return
        if isinstance(message, dict) and "beat" in message:
            self.relay.beat()
        elif isinstance(message, dict) and "peer" in message:
            self.relay.hear(str(message["peer"]), message["state"])

    def report(self) -> None:
        """Tell what was found here, when it is new."""
        state = self.relay.own()
        if state and state.get("token") == self.token and state != self.told:
            tell({"state": state})
            self.told = state


def tell(message: object) -> None:
    """Say one thing to the controller."""
    print(json.dumps(message), flush=True)


def main() -> int:
    """Serve one deployment's rollout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deployment")
    parser.add_argument("token", type=int)
    options = vars(add_balancer_options(parser).parse_args())
    deployment, token = options.pop("deployment"), options.pop("token")
    if not re.fullmatch(r"[a-z0-9-]+", deployment):
        parser.error(f"deployment: found {deployment!r}, expected the name of a deployment")
    try:
        return Line(Balancer(**options), deployment, token).run()
    except (SlotError, OSError) as error:
        print(f"rollout-line: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
