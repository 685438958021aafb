# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which parameters of PostgreSQL lose what was acknowledged."""

from __future__ import annotations

DOCUMENTATION = r"""
name: losing_parameters
short_description: Say which parameters of PostgreSQL lose what was acknowledged
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Returns one sentence for each parameter by which a commit is acknowledged that a crash or a failover can lose.
options:
  _input:
    description: The parameters and their values, as PostgreSQL or YAML spells them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse parameters that lose what was acknowledged
  ansible.builtin.assert:
    that: postgresql_parameters | nectar.backend.losing_parameters | length == 0
"""

RETURN = r"""
_value:
  description: One sentence for each such parameter.
  type: list
  elements: str
  sample: ["synchronous_commit is off, expected on or remote_apply"]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.durability import losing_parameters


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"losing_parameters": losing_parameters}
