# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which deployments a gate stopped, and why."""

from __future__ import annotations

DOCUMENTATION = r"""
name: verdict_failures
short_description: Say which deployments a gate stopped, and why
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Takes what M(nectar.backend.rollout_gate) or M(nectar.backend.rollout_watch) answered, and returns the reasons of those that may not go on, by their names.
positional: answers, silent
options:
  _input:
    description: The deployments that take the step.
    type: list
    elements: dict
    required: true
  answers:
    description: The registered results, by host.
    type: dict
    required: true
  silent:
    description: What is said of a deployment that nobody answered for; nothing, and it may go on.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: See what the gates stopped
  ansible.builtin.debug:
    msg: "{{ steps | nectar.backend.verdict_failures({'db1': gated}) }}"
"""

RETURN = r"""
_value:
  description: Reasons by deployment.
  type: dict
  sample: {production: "db1: gate window says hold: it opens at 20:00 on Thursday"}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import verdict_failures


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"verdict_failures": verdict_failures}
