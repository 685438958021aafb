# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say what load balancers need of deployments that they watch."""

from __future__ import annotations

DOCUMENTATION = r"""
name: watch_entries
short_description: Say what load balancers need of deployments that they watch
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Returns the deployments of a step with the gates that only load balancers can ask, and how many requests they send themselves.
positional: synthetic_requests, before
options:
  _input:
    description: The deployments that take the step, as P(nectar.backend.steps_at#filter) returns them.
    type: list
    elements: dict
    required: true
  synthetic_requests:
    description: Requests that each load balancer sends over the bake time.
    type: int
    required: true
  before:
    description: What earlier steps counted of the former releases, as P(nectar.backend.add_baselines#filter) returns it.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: See what load balancers are told
  ansible.builtin.debug:
    msg: "{{ plan.steps.values() | nectar.backend.steps_at(0) | nectar.backend.watch_entries(40) }}"
"""

RETURN = r"""
_value:
  description: The deployments, with C(policy) and C(synthetic) as M(nectar.backend.rollout_watch) takes them.
  type: list
  elements: dict
  sample: [{name: production, policy: {http: {}, shadow: []}, synthetic: {requests: 40, seconds: 30}}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import watch_entries


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"watch_entries": watch_entries}
