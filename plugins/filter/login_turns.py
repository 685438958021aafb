# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Name the two logins of a role, whose turn it is first."""

from __future__ import annotations

DOCUMENTATION = r"""
name: login_turns
short_description: Name the two logins of a role, whose turn it is first
version_added: "0.1.0"
description:
  - A role has two logins, its own name and that with V(-2), which take turns each time that the password is replaced.
author: Nectar Backend maintainers (@nectar)
positional: second
options:
  _input:
    description: Name of the role.
    type: str
    required: true
  second:
    description: Whether it is the second login's turn.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show by which login standbys stream
  ansible.builtin.debug:
    msg: "{{ 'replicator' | nectar.backend.login_turns(environment_secrets.postgresql.second_login) | first }}"
"""

RETURN = r"""
_value:
  description: The login whose turn it is, and the other.
  type: list
  elements: str
  sample: [replicator-2, replicator]
"""

from collections.abc import Callable

from ansible_collections.nectar.backend.plugins.module_utils.databases import logins_of


def login_turns(role: str, second: bool = False) -> list[str]:
    """Name whose turn it is, and the other."""
    first, other = logins_of(role)
    return [other, first] if second else [first, other]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"login_turns": login_turns}
