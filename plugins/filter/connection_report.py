# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which address each endpoint has, and what collides, is out of date or open that must not be."""

from __future__ import annotations

DOCUMENTATION = r"""
name: connection_report
short_description: Say which address each endpoint has, and what is wrong
version_added: "0.1.0"
description:
  - Takes what M(nectar.backend.resolve_address) found from each viewpoint and what interfaces servers have, and compares it with the registry.
author: Nectar Backend maintainers (@nectar)
positional: results, facts, names, members, hosts, when
options:
  _input:
    description: The environment, as P(nectar.backend.connection_plan#filter) takes it.
    type: dict
    required: true
  results:
    description: By viewpoint the results of the calls that were made there; where none has C(endpoints), nobody could look.
    type: dict
    required: true
  facts:
    description: By server Ansible's facts about its interfaces.
    type: dict
    required: true
  names:
    description: Deployments that were looked at.
    type: list
    elements: str
    default: []
  members:
    description: Members whose deployments were looked at.
    type: list
    elements: str
    default: []
  hosts:
    description: Servers that were looked at.
    type: list
    elements: str
  when:
    description: The time to write on it.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Print the table
  ansible.builtin.debug:
    msg: "{{ (environment_facts | nectar.backend.connection_report(results, facts)).lines | join('\n') }}"
"""

RETURN = r"""
_value:
  description: C(ok), C(problems) in words, the C(lines) of the report, its C(data), and the matrix as C(html).
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.address_report import merge_results, report
from ansible_collections.nectar.backend.plugins.module_utils.environment_endpoints import (
    make_environment,
    plan_connections,
)


def connection_report(
    known: Mapping[str, Any],
    results: Mapping[str, Iterable[Mapping[str, Any]]],
    facts: Mapping[str, Mapping[str, Any]],
    names: Sequence[str] = (),
    members: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
    when: str = "",
) -> dict[str, Any]:
    """Compare what was found with what is known."""
    environment = make_environment(known, names, members, hosts)
    paths = plan_connections(environment)["paths"]
    return report(environment, paths, merge_results(results), facts, when)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"connection_report": connection_report}
