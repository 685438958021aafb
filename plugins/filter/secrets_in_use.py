# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say whose former secrets are still needed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secrets_in_use
short_description: Say whose former secrets are still needed
version_added: "0.1.0"
description:
  - Judges what M(nectar.backend.slot_secrets) found on the application servers. A server that didn't answer may run anything.
author: Nectar Backend maintainers (@nectar)
positional: deployments, looks
options:
  _input:
    description: Names of the deployments whose secrets are replaced.
    type: list
    elements: str
    required: true
  deployments:
    description: All deployments, by name, each with its C(hosts).
    type: dict
    required: true
  looks:
    description: What the module returned as C(results), by server.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See whose former secrets are still needed
  ansible.builtin.debug:
    msg: "{{ ['alice'] | nectar.backend.secrets_in_use(deployments, {'app1': look.results}) }}"
"""

RETURN = r"""
_value:
  description: Why, by deployment; those that need them no more are left out.
  type: dict
  sample: {alice: app2 did not answer}
"""

from collections.abc import Callable

from ansible_collections.nectar.backend.plugins.module_utils.rotation_plan import secrets_in_use


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"secrets_in_use": secrets_in_use}
