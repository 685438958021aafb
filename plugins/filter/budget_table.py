# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write a budget as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: budget_table
short_description: Write a budget as a table
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Writes one line for each figure of a budget and each deployment's share, with its reason.
positional: shares
options:
  _input:
    description: The figures, as the variable C(budget) or the filter P(nectar.backend.budget#filter) has them.
    type: dict
    required: true
  shares:
    description: What each deployment may use, by name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ budget | nectar.backend.budget_table }}"
"""

RETURN = r"""
_value:
  description: The table as text.
  type: str
"""

from collections.abc import Callable

from ansible_collections.nectar.backend.plugins.module_utils.budget_tables import budget_table


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filter by its name."""
        return {"budget_table": budget_table}
