# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say who logs in to the deployments' databases."""

from __future__ import annotations

DOCUMENTATION = r"""
name: database_logins
short_description: Say who logs in to the deployments' databases
version_added: "0.1.0"
description:
  - A deployment's role has two logins, its own name and that with V(-2), which take turns each time that the password is replaced.
  - Its secrets have C(database_password), C(second_login) where it is that one's turn, and, as long as something may use
    what was before, C(previous) with both as they were.
author: Nectar Backend maintainers (@nectar)
positional: secrets, settled
options:
  _input:
    description: The deployments, by name.
    type: dict
    required: true
  secrets:
    description: The deployments' secrets, by name.
    type: dict
    required: true
  settled:
    description: Names of deployments whose former login is to be valid no more.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show who logs in
  ansible.builtin.debug:
    msg: "{{ (deployments | nectar.backend.database_logins(environment_secrets.deployments)).alice.login }}"
"""

RETURN = r"""
_value:
  description: By deployment its database, role, login and password; the former login and password are empty where one login is valid.
  type: dict
  sample:
    alice: {database: alice, role: alice, login: alice-2, password: new, former_login: alice, former_password: old}
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils import rotation_plan


def database_logins(
    deployments: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, Mapping[str, Any]],
    settled: Collection[str] = (),
) -> dict[str, dict[str, str]]:
    """Say who logs in, by deployment."""
    try:
        return rotation_plan.database_logins(deployments, secrets, settled)
    except rotation_plan.RotationError as error:
        raise AnsibleFilterError(f"database_logins: {error}") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"database_logins": database_logins}
