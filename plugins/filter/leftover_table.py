# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show what nobody owns, and what to type next."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leftover_table
short_description: Show what nobody owns, and what to type next
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Takes what M(nectar.backend.leftovers) found on the servers and returns the lines of one table, none where nothing was found.
positional: retired
options:
  _input:
    description: By server, what was found on it.
    type: dict
    required: true
  retired:
    description: The registry's tombstones, as the inventory derives them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what nobody owns
  ansible.builtin.debug:
    msg: "{{ {'app1': look.leftovers} | nectar.backend.leftover_table(retired) }}"
"""

RETURN = r"""
_value:
  description: The lines, a heading first.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.retirement import table


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"leftover_table": table}
