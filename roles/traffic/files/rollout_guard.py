# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give all requests back to the promoted slot where a step is open whose controller has fallen silent."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime

# Beside this file lie the few modules that it shares with the collection.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.nectar.backend.plugins.module_utils.rollout_relay import Relay, judge_silence
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import (
    Balancer,
    add_balancer_options,
    open_rollouts,
    withdraw,
)


def main() -> int:
    """Withdraw what nobody stands behind any more."""
    parser = argparse.ArgumentParser(description=__doc__)
    balancer = Balancer(**vars(add_balancer_options(parser).parse_args()))
    failures = 0
    for name in open_rollouts(balancer):
        reason = judge_silence(Relay(balancer.run, name).silence())
        try:
            if reason and withdraw(balancer, name, reason, datetime.now(UTC).isoformat(timespec="seconds")):
                print(f"{name}: all requests go to the promoted slot again: {reason}", flush=True)
        except (SlotError, OSError) as error:
            print(f"{name}: can't be withdrawn ({reason}): {error}", file=sys.stderr)
            failures += 1
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
