# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say what the gates are told of deployments whose indexes are built."""

from __future__ import annotations

DOCUMENTATION = r"""
name: index_gates
short_description: Say what the gates are told of deployments whose indexes are built
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Returns the deployments whose lease is held, with the gates of their policy that a change of the database has to pass,
    as M(nectar.backend.rollout_gate) takes them.
positional: leases
options:
  _input:
    description: The deployments, as the inventory has them.
    type: list
    elements: dict
    required: true
  leases:
    description: What M(nectar.backend.rollout_lease) returned as C(results).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See which gates are asked
  ansible.builtin.debug:
    msg: "{{ [deployments.alice] | nectar.backend.index_gates(leases.results) }}"
"""

RETURN = r"""
_value:
  description: The deployments, with their gates.
  type: list
  elements: dict
  sample: [{name: alice, policy: {gates: {lease: {}, freeze: {}, database: {}}}, token: 4711}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.index_rollout import index_gates


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"index_gates": index_gates}
