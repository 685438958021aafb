# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge a step by what all load balancers counted together."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summed_failures
short_description: Judge a step by what all load balancers counted together
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Adds up the counts of all load balancers, and asks the gate C(compare) once more, before a rollout goes on.
  - A gate that is left out or in shadow stops nothing.
positional: answers, before
extends_documentation_fragment:
  - nectar.backend.watched_steps
"""

EXAMPLES = r"""
- name: Say who may not go on
  ansible.builtin.debug:
    msg: "{{ watched | nectar.backend.summed_failures({'lb1': first, 'lb2': second}) }}"
"""

RETURN = r"""
_value:
  description: Why deployments may not go on, by name.
  type: dict
  sample: {alice: "all load balancers together: gate compare says fail: 9 errors in 60 requests (15.0%) against 1 in 240 (0.4%)"}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import summed_failures


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"summed_failures": summed_failures}
