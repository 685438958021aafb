# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say what each gate said, a line each."""

from __future__ import annotations

DOCUMENTATION = r"""
name: verdict_lines
short_description: Say what each gate said, a line each
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Takes what M(nectar.backend.rollout_gate) or M(nectar.backend.rollout_watch) answered on hosts, and returns a line for each verdict.
options:
  _input:
    description: The registered results, by host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what the gates said
  ansible.builtin.debug:
    msg: "{{ {'db1': gates} | nectar.backend.verdict_lines }}"
"""

RETURN = r"""
_value:
  description: A line for each verdict.
  type: list
  elements: str
  sample: ["alice: freeze pass on db1: nobody froze the environment"]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import verdict_lines


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"verdict_lines": verdict_lines}
