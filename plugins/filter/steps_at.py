# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which deployments take a step of a rollout, and what they do in it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: steps_at
short_description: Say which deployments take a step of a rollout, and what they do in it
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Returns the deployments that have a step of this number, each with it as C(step), the hosts whose slots start in it as C(opens), and its C(policy).
  - What the lease says, C(token), C(person) and C(began), is added where it is held.
positional: index, leases, policy
options:
  _input:
    description: Deployments, as M(nectar.backend.deployment_plan) plans them.
    type: list
    elements: dict
    required: true
  index:
    description: The number of the step, from 0.
    type: int
    required: true
  leases:
    description: What M(nectar.backend.rollout_lease) returned as C(results).
    type: dict
    default: {}
  policy:
    description: Whose gates are meant; those of the C(rollout), or those that are asked before its C(migration).
    type: str
    choices: [rollout, migration]
    default: rollout
"""

EXAMPLES = r"""
- name: See who takes the first step
  ansible.builtin.debug:
    msg: "{{ plan.steps.values() | nectar.backend.steps_at(0) }}"
"""

RETURN = r"""
_value:
  description: The deployments, with C(step), C(opens) and C(policy).
  type: list
  elements: dict
  sample: [{name: production, opens: [app1], step: {index: 0, hosts: [app1], share: 10, bake: 30}}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import steps_at


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"steps_at": steps_at}
