# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Name the secrets that can't be used."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret_problems
short_description: Name the secrets that are missing or no secrets at all
version_added: "0.1.0"
description:
  - Looks at the secrets of an environment and names each one that is missing, empty, too short, a sample such as C(changeme), or the same as another.
  - Never says a value.
author: Nectar Backend maintainers (@nectar)
options:
  _input:
    description: The secrets, as nested mappings of names to texts.
    type: raw
    required: true
  required:
    description:
      - The names that must be there.
      - Either nested mappings, whose leaves are the least number of characters (V(null) for 32), or a list of dotted names.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Refuse secrets that are missing or samples
  ansible.builtin.assert:
    that: __site_secret_problems | length == 0
    fail_msg: >-
      environment_secrets: {{ __site_secret_problems | join('; ') }}.
      Put real values there with: ansible-vault edit {{ inventory_dir }}/group_vars/all/vault.yml
  vars:
    __site_secret_problems: "{{ environment_secrets | nectar.backend.secret_problems(environment_secrets_required) }}"
"""

RETURN = r"""
_value:
  description: One sentence for each problem, starting with the secret's dotted name.
  type: list
  elements: str
  sample: ["postgresql.superuser_password is a sample, not a secret"]
"""

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.environment_secrets import SecretsError, find_problems


def secret_problems(secrets: object, required: object) -> list[str]:
    """Name the required secrets that can't be used."""
    try:
        return [str(problem) for problem in find_problems(secrets, required)]
    except SecretsError as error:
        raise AnsibleFilterError(f"secret_problems: {error}") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"secret_problems": secret_problems}
