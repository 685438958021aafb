# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say firewall rules in nftables' words."""

from __future__ import annotations

DOCUMENTATION = r"""
name: firewall_statements
short_description: Say firewall rules in nftables' words
version_added: "0.1.0"
description:
  - Takes rules as the module M(nectar.backend.firewall_rules) does, for use in a template.
author: Nectar Backend maintainers (@nectar)
options:
  _input:
    description: The rules.
    type: list
    elements: dict
    required: true
  name:
    description: Who wants the rules; names them in errors and where a rule has no comment.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show a rule
  ansible.builtin.debug:
    msg: "{{ [{'port': 22, 'sources': ['192.0.2.0/24']}] | nectar.backend.firewall_statements('ssh') }}"
"""

RETURN = r"""
_value:
  description: One statement for each rule and family of sources.
  type: list
  elements: str
  sample: ['ip saddr { 192.0.2.0/24 } tcp dport { 22 } accept comment "ssh"']
"""

from collections.abc import Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.firewall import FirewallError, parse_rules


def firewall_statements(rules: Sequence[Mapping[str, object]], name: str) -> list[str]:
    """Say the rules in nftables' words."""
    try:
        return [statement for rule in parse_rules(name, rules) for statement in rule.statements]
    except FirewallError as error:
        raise AnsibleFilterError(f"firewall_statements: {error}") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"firewall_statements": firewall_statements}
