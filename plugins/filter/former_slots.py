# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which slots serve on a schema that was migrated under them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: former_slots
short_description: Say which slots serve on a schema that was migrated under them
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Returns the deployments that have migrations and a slot that serves, each with that slot as C(slot).
options:
  _input:
    description: Deployments, as M(nectar.backend.deployment_plan) plans them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: See that what serves is well on the new schema
  nectar.backend.slot_start:
    deployments: "{{ plan.steps.values() | nectar.backend.former_slots }}"
    address: 192.0.2.21
"""

RETURN = r"""
_value:
  description: The deployments.
  type: list
  elements: dict
  sample: [{name: production, slot: blue, switches: false}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import former_slots


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"former_slots": former_slots}
