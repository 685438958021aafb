# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Propose off-peak windows from requests by hour."""

from __future__ import annotations

DOCUMENTATION = r"""
name: window_proposals
short_description: Propose off-peak windows from requests by hour
version_added: "0.1.0"
description:
  - Adds up what the load balancers counted, and proposes for each deployment the quietest hours of the day.
author: Nectar Backend maintainers (@nectar)
options:
  _input:
    description: What M(nectar.backend.access_hours) returned on each load balancer.
    type: list
    elements: dict
    required: true
  zone:
    description: The time zone on whose clock the window is.
    type: str
    default: UTC
  hours:
    description: How many hours the window has.
    type: int
    default: 2
  names:
    description: The deployments to propose windows for; all with requests unless given.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show when the quiet hours are
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts | map('extract', hostvars, ['access', 'hours']) | nectar.backend.window_proposals('Europe/Berlin') }}"
"""

RETURN = r"""
_value:
  description: By deployment the window as the registry takes it, none where too little is known, and the reason.
  type: dict
  sample:
    alice:
      window: {cron: "0 3 * * *", duration: 2h, zone: Europe/Berlin}
      reason: from 03:00 to 05:00 (Europe/Berlin) come 0.4% of 81011 requests, seen over 7.0 days; the busiest 2 hours have 19.0%
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.cron import CronError
from ansible_collections.nectar.backend.plugins.module_utils.gate_window import propose_window


def window_proposals(
    counted: Sequence[Mapping[str, Mapping[str, int]]],
    zone: str = "UTC",
    hours: int = 2,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Add up the counts, and propose a window for each deployment."""
    sums: dict[str, Counter[int]] = {name: Counter() for name in names or ()}
    for one in counted:
        for name, by_hour in one.items():
            if not names or name in names:
                sums.setdefault(name, Counter()).update({int(hour): count for hour, count in by_hour.items()})
    try:
        found = {name: propose_window(by_hour, zone, hours) for name, by_hour in sorted(sums.items())}
    except CronError as error:
        raise AnsibleFilterError(f"window_proposals: {error}") from error
    return {name: {"window": proposal.window, "reason": proposal.reason} for name, proposal in found.items()}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"window_proposals": window_proposals}
