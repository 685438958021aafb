# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which parameters that a tuning kept still fit the budget."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fitting_parameters
short_description: Say which parameters that a tuning kept still fit the budget
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Returns the parameters without those for which the budget has no memory, or no log, any more. It may have shrunk since they were kept.
positional: figures
options:
  _input:
    description: The parameters and their values, as C(playbooks/tune.yml) keeps them.
    type: dict
    required: true
  figures:
    description: The budget's figures of the database.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See what still fits
  ansible.builtin.debug:
    msg: "{{ tuning_kept | nectar.backend.fitting_parameters(budget.database) }}"
"""

RETURN = r"""
_value:
  description: The parameters and their values.
  type: dict
  sample: {checkpoint_timeout: 15min}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.tuning import fitting


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"fitting_parameters": fitting}
