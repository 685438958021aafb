# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say an environment's names as DNS records."""

from __future__ import annotations

DOCUMENTATION = r"""
name: environment_records
short_description: Say an environment's names as DNS records
version_added: "0.1.0"
description:
  - Every server has its addresses under its own name, and every deployment has the addresses of the load balancers, or the virtual ones,
    under the name at which it is served, with a record of type SRV that also tells the port.
  - A deployment that is served under a name outside of the domain is left out.
author: Nectar Backend maintainers (@nectar)
options:
  _input:
    description: The deployments; each has a C(server_name).
    type: list
    elements: dict
    required: true
  domain:
    description: The domain that the zone is for.
    type: str
    required: true
  servers:
    description: The servers; each has C(name), C(bind) and C(advertise).
    type: list
    elements: dict
    required: true
  balancers:
    description: The servers among them that serve HTTPS.
    type: list
    elements: dict
    required: true
  virtual_addresses:
    description: Addresses that take the place of those of O(balancers), where there are any.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the records
  ansible.builtin.debug:
    msg: "{{ deployments.values() | nectar.backend.environment_records(domain, servers, servers, virtual_addresses) }}"
"""

RETURN = r"""
_value:
  description: The records, each with C(name) relative to the domain, C(type) and C(value).
  type: list
  elements: dict
  sample:
    - {name: app1, type: A, value: 192.0.2.21}
    - {name: _https._tcp.alice, type: SRV, value: 0 0 443 alice.example.org.}
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.zones import environment_records as derive
from ansible_collections.nectar.backend.plugins.module_utils.zones import server_addresses


def environment_records(
    deployments: Iterable[Mapping[str, Any]],
    domain: str,
    servers: Sequence[Mapping[str, Any]],
    balancers: Sequence[Mapping[str, Any]],
    virtual_addresses: Sequence[str] = (),
) -> list[dict[str, str]]:
    """Say an environment's names as DNS records."""
    try:
        door = list(virtual_addresses) or [address for server in balancers for address in server_addresses(server)]
        return derive(domain, servers, deployments, door)
    except (KeyError, ValueError) as error:
        raise AnsibleFilterError(f"environment_records: {error!r} in a server or a deployment; see its help") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"environment_records": environment_records}
