# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Add up what load balancers counted of former releases."""

from __future__ import annotations

DOCUMENTATION = r"""
name: add_baselines
short_description: Add up what load balancers counted of former releases
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Takes the counts of earlier steps, and returns them with those of another step, by deployment.
positional: answers
options:
  _input:
    description: The counts so far, by deployment.
    type: dict
    required: true
  answers:
    description: What M(nectar.backend.rollout_watch) answered, by load balancer.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Remember what the former releases did
  ansible.builtin.set_fact:
    before: "{{ before | nectar.backend.add_baselines({'lb1': watched}) }}"
"""

RETURN = r"""
_value:
  description: The counts by deployment.
  type: dict
  sample: {production: {requests: 1080, errors: 1}}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import add_baselines


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"add_baselines": add_baselines}
