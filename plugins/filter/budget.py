# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan an environment's budget from plain data."""

from __future__ import annotations

DOCUMENTATION = r"""
name: budget
short_description: Plan an environment's budget from plain data
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Shares out what the servers have, so that workers, threads, pools, connections, memory and timeouts fit each other.
  - The inventory plugin P(nectar.backend.members#inventory) does this by itself; here it is for other inventories.
  - A plan that can't hold is refused, with the numbers and two ways out for each problem.
positional: deployments, applications
options:
  _input:
    description:
      - The servers by name, each with its C(groups), C(memory) in MiB, and as far as needed C(cores) (2) and C(wal), the MiB of the
        write-ahead log's filesystem (512).
    type: dict
    required: true
  deployments:
    description: The deployments by name, each with its C(application), its C(hosts), and C(workers) if it has a number of its own.
    type: dict
    required: true
  applications:
    description:
      - The applications by name, each with C(processes); a process has a C(type) and may have C(memory) in MiB, C(workers) and C(threads).
    type: dict
    required: true
  settings:
    description:
      - What differs from the defaults, C(request_timeout) in seconds, and the MiB that a host keeps for C(system) and for the services of
        each of its groups.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ (servers | nectar.backend.budget(deployments, applications)).figures | nectar.backend.budget_table }}"
  vars:
    servers:
      app1: {groups: [app_servers], memory: 1900}
      db1: {groups: [database_servers], memory: 1900, wal: 2048}
    deployments:
      production: {application: orders, hosts: [app1]}
    applications:
      orders: {processes: {web: {type: web, memory: 64, threads: 4}}}
"""

RETURN = r"""
_value:
  description:
    - C(figures) by what they are for, each with C(value), C(unit) and C(reason); and C(shares), what each deployment may use.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.budget import RESERVES, Settings, plan_budget
from ansible_collections.nectar.backend.plugins.module_utils.registry_budget import server_of
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Report


def plan(
    servers: Mapping[str, Mapping[str, Any]],
    deployments: Mapping[str, Mapping[str, Any]],
    applications: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the budget, or the template's error with every problem."""
    report, own = Report(), dict(settings or {})
    timeout = own.pop("request_timeout", Settings.request_timeout)
    try:
        listed = [server_of(name, entry["groups"], entry) for name, entry in servers.items()]
        budget = plan_budget(report, listed, deployments, applications, Settings({**RESERVES, **own}, timeout))
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(
            f"budget: {error} is missing or of a wrong type; see ansible-doc -t filter nectar.backend.budget"
        ) from error
    if report.problems:
        raise AnsibleFilterError("budget: " + "\n".join(map(str, report.problems)))
    return {"figures": budget.figures, "shares": budget.shares}


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"budget": plan}
