#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Count each deployment's requests by hour."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_hours
short_description: Count each deployment's requests by hour
version_added: "0.1.0"
description:
  - Reads the access log on a load balancer, an hour at a time, and counts the requests that a deployment's servers were asked.
    From the counts of all load balancers together an off-peak window can be proposed.
options:
  days:
    description: How many days to look back; the log may hold fewer.
    type: int
    default: 7
  journal_namespace:
    description: The journal that holds the access log.
    type: str
    default: haproxy
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Whether it predicts without changing anything.
    support: full
  diff_mode:
    description: Whether it shows what changes.
    support: none
"""

EXAMPLES = r"""
- name: Count each deployment's requests by hour
  nectar.backend.access_hours:
    days: 14
  register: hours
"""

RETURN = r"""
hours:
  description: By deployment, the requests of each hour since 1970 that had any.
  type: dict
  returned: success
  sample: {alice: {"495560": 131, "495561": 97}}
"""

import time
from collections import Counter
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.access_log import parse_line

ARGUMENT_SPEC: dict[str, Any] = {
    "days": {"type": "int", "default": 7},
    "journal_namespace": {"type": "str", "default": "haproxy"},
}
HOUR = 3600
NOBODY = "-"


def main() -> None:
    """Read hour after hour, for a week of log may be more than the memory."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    if params["days"] < 1:
        module.fail_json(msg=f"days is {params['days']}; expected 1 or more; write how many days to look back")
    now = int(time.time()) // HOUR
    hours: dict[str, dict[str, int]] = {}
    for hour in range(now - 24 * params["days"], now):
        for deployment, count in read_hour(module, hour).items():
            hours.setdefault(deployment, {})[str(hour)] = count
    module.exit_json(changed=False, hours=hours)


def read_hour(module: AnsibleModule, hour: int) -> dict[str, int]:
    """Count the requests that were logged in one hour."""
    command = ["journalctl", f"--namespace={module.params['journal_namespace']}", "--output=cat", "--quiet"]
    command += [f"--since=@{hour * HOUR}", f"--until=@{(hour + 1) * HOUR}"]
    _code, out, _errors = module.run_command(command, check_rc=True)
    asked = (request.deployment for line in out.splitlines() if (request := parse_line(line)))
    return Counter(deployment for deployment in asked if deployment != NOBODY)


if __name__ == "__main__":
    main()
