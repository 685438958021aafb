# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which deployments are served, by which slots."""

from __future__ import annotations

DOCUMENTATION = r"""
name: promoted_deployments
short_description: Say which deployments are served, by which slots
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Reads the records that application servers keep, and returns what load balancers must know of every deployment that was released.
  - Where servers disagree, the record of the latest switch is right.
positional: addresses, infos
options:
  _input:
    description: All deployments of the environment, by name.
    type: dict
    required: true
  addresses:
    description: The addresses of the application servers, by their names.
    type: dict
    required: true
  infos:
    description: What M(nectar.backend.deployment_info) said on the application servers that answered.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Send requests to the promoted slots
  nectar.backend.deployment_traffic:
    deployments: "{{ deployments | nectar.backend.promoted_deployments({'app1': '192.0.2.21'}, [state]) }}"
"""

RETURN = r"""
_value:
  description: The deployments, as M(nectar.backend.deployment_traffic) takes them.
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.deployment_plans import promoted_deployments
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError


def read_promoted(
    deployments: Mapping[str, Any], addresses: Mapping[str, str], infos: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the served deployments, or the template's error."""
    try:
        return promoted_deployments(deployments, addresses, infos)
    except SlotError as error:
        raise AnsibleFilterError(f"promoted_deployments: {error}") from error


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"promoted_deployments": read_promoted}
