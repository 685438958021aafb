# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Name the secrets that deployments need."""

from __future__ import annotations

DOCUMENTATION = r"""
name: required_secrets
short_description: Name the secrets that deployments need
version_added: "0.1.0"
description:
  - Every deployment needs the password of its database role, and what its application lists under C(secrets).
  - The result fits the option O(nectar.backend.environment_secrets#module:required) below the name C(deployments).
author: Nectar Backend maintainers (@nectar)
options:
  _input:
    description: The deployments, by name; each names its C(application).
    type: dict
    required: true
  applications:
    description: The applications, by name; each may list C(secrets).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what the deployments need
  ansible.builtin.debug:
    msg: "{{ deployments | nectar.backend.required_secrets(applications) }}"
"""

RETURN = r"""
_value:
  description: For each deployment, the names of its secrets and the least number of characters of each.
  type: dict
  sample: {production: {admin_password: 32, database_password: 32}}
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.environment_secrets import (
    SecretsError,
    required_by_deployments,
)


def required_secrets(deployments: dict[str, Any], applications: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Name the secrets that each deployment needs."""
    try:
        return required_by_deployments(deployments, applications)
    except SecretsError as error:
        raise AnsibleFilterError(f"required_secrets: {error}") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"required_secrets": required_secrets}
