# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Add to deployments what their leases say."""

from __future__ import annotations

DOCUMENTATION = r"""
name: with_leases
short_description: Add to deployments what their leases say
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Adds C(token), C(person) and C(began) to each deployment whose lease is held.
positional: leases
options:
  _input:
    description: Deployments, as M(nectar.backend.deployment_plan) plans them.
    type: list
    elements: dict
    required: true
  leases:
    description: What M(nectar.backend.rollout_lease) returned as C(results).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See the tokens
  ansible.builtin.debug:
    msg: "{{ plan.steps.values() | nectar.backend.with_leases(leases.results) }}"
"""

RETURN = r"""
_value:
  description: The deployments.
  type: list
  elements: dict
  sample: [{name: production, token: 4711, person: alice}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import with_leases


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"with_leases": with_leases}
