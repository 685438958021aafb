# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say how rollouts ended, for people and for etcd."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_outcomes
short_description: Say how rollouts ended, for people and for etcd
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Returns for each deployment what M(nectar.backend.rollout_state) is to write, and the C(line) that tells a person.
  - Only a release that is to blame is marked bad.
positional: failed, blamed, leases, now
options:
  _input:
    description: The deployments, as M(nectar.backend.deployment_plan) plans them.
    type: list
    elements: dict
    required: true
  failed:
    description: Why deployments fell back, by name.
    type: dict
    required: true
  blamed:
    description: The names of those whose release is to blame.
    type: list
    elements: str
    required: true
  leases:
    description: What M(nectar.backend.rollout_lease) returned as C(results).
    type: dict
    required: true
  now:
    description: The present moment, in ISO 8601 with an offset.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say how it went
  ansible.builtin.debug:
    msg: "{{ plan.steps.values() | nectar.backend.rollout_outcomes({}, [], leases.results, '2026-01-31T10:00:00+00:00') | map(attribute='line') }}"
"""

RETURN = r"""
_value:
  description: By deployment C(name), C(token), C(finished), C(line), and C(good) or C(bad).
  type: list
  elements: dict
  sample: [{name: production, token: 4711, line: "production: promoted orders-0123456789ab, revision ba9876543210, slot green in 41 s"}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import rollout_outcomes


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"rollout_outcomes": rollout_outcomes}
