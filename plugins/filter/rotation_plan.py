# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which secrets are replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rotation_plan
short_description: Say which secrets are replaced
version_added: "0.1.0"
description:
  - Names the secrets that are renewed, and the deployments and parts of the environment whose former secrets are still known, for whom a
    rotation goes on.
  - Never says a value.
author: Nectar Backend maintainers (@nectar)
positional: applications, secrets, names, kinds, in_file, environment
options:
  _input:
    description: All deployments, by name.
    type: dict
    required: true
  applications:
    description: All applications, by name; each may list C(secrets).
    type: dict
    required: true
  secrets:
    description: The deployments' secrets, by name.
    type: dict
    required: true
  names:
    description: Whose secrets are meant; V(all) alone means everyone's.
    type: list
    elements: str
    required: true
  kinds:
    description: Which secrets are meant, V(database), V(application), V(environment) and V(certificates); none means the first two.
    type: list
    elements: str
    default: []
  in_file:
    description: Whether M(nectar.backend.environment_secrets) keeps the secrets; where a vault does, a person renews them.
    type: bool
    default: true
  environment:
    description: The environment's own secrets, by their parts.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Say what would be rotated
  ansible.builtin.debug:
    msg: "{{ (deployments | nectar.backend.rotation_plan(applications, environment_secrets.deployments, ['alice'])).lines }}"
"""

RETURN = r"""
_value:
  description:
    - C(names) of the deployments and C(parts) of the environment's own secrets concerned, C(renew) for O(nectar.backend.environment_secrets#module:renew),
      C(lines) for people.
  type: dict
  sample:
    names: [alice]
    parts: []
    renew: {deployments.alice.database_password: null, deployments.alice.second_login: true}
    lines: ["alice: database_password is renewed, and the login alice-2 takes over from alice"]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.rotation_plan import RotationError, plan_rotation


def rotation_plan(
    deployments: Mapping[str, Mapping[str, Any]],
    applications: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    kinds: Sequence[str] = (),
    in_file: bool = True,
    environment: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say which secrets are replaced."""
    try:
        return plan_rotation(deployments, applications, secrets, names, kinds, in_file, environment)
    except RotationError as error:
        raise AnsibleFilterError(f"Nothing is rotated. {error}") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"rotation_plan": rotation_plan}
