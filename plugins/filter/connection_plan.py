# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Derive what is to be proven in an environment, and from where."""

from __future__ import annotations

DOCUMENTATION = r"""
name: connection_plan
short_description: Derive what is to be proven in an environment, and from where
version_added: "0.1.0"
description:
  - From what the registry knows, lists by viewpoint (C(controller) and the servers by name) the endpoints that M(nectar.backend.resolve_address)
    is to resolve there, and the paths that must be open or shut.
  - Holds passwords, as that module needs them.
author: Nectar Backend maintainers (@nectar)
positional: names, members, hosts
options:
  _input:
    description: The environment, with C(servers), C(groups), C(deployments), C(secrets), C(ports) and so on.
    type: dict
    required: true
  names:
    description: Deployments that are looked at; without these and O(members), all.
    type: list
    elements: str
    default: []
  members:
    description: Members whose deployments are looked at.
    type: list
    elements: str
    default: []
  hosts:
    description: Servers that are looked at and looked from; left out, all.
    type: list
    elements: str
  needs:
    description: What is to be known. C(all), or what a play needs before it starts, C(ssh) or C(deploy).
    type: str
    default: all
  has_authority:
    description: Whether the controller has the environment's authority, by which a load balancer is known.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Resolve what the controller needs
  nectar.backend.resolve_address:
    endpoints: "{{ (environment_facts | nectar.backend.connection_plan).endpoints.controller }}"
"""

RETURN = r"""
_value:
  description: By viewpoint the C(endpoints) and the C(logins) to databases; and the C(paths), each with C(viewpoint), C(endpoint), C(service),
    C(target) and C(must).
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.environment_endpoints import (
    make_environment,
    plan_connections,
    plan_proof,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError


def connection_plan(
    known: Mapping[str, Any],
    names: Sequence[str] = (),
    members: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
    needs: str = "all",
    *,
    has_authority: bool = True,
) -> dict[str, Any]:
    """Derive what is to be proven."""
    try:
        environment = make_environment(known, names, members, hosts)
    except SlotError as error:
        raise AnsibleFilterError(f"connection_plan: {error}") from error
    if needs == "all":
        return plan_connections(environment)
    return plan_proof(environment, needs, has_authority=has_authority)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"connection_plan": connection_plan}
