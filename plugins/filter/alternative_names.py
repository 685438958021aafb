# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Spell a certificate's names in one way."""

from __future__ import annotations

DOCUMENTATION = r"""
name: alternative_names
short_description: Spell a certificate's names in one way
version_added: "0.1.0"
description:
  - Sorts the names, drops doubles, and writes host names in lower case and addresses as short as they go, so that lists of names can be compared.
author: Nectar Backend maintainers (@nectar)
options:
  _input:
    description: The names, each as C(DNS:<host name>) or C(IP:<address>).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the names as a certificate says them
  ansible.builtin.debug:
    msg: "{{ ['DNS:DB1', 'IP:2001:DB8:0:0:0:0:0:7'] | nectar.backend.alternative_names }}"
"""

RETURN = r"""
_value:
  description: The names.
  type: list
  elements: str
  sample: ["DNS:db1", "IP:2001:db8::7"]
"""

from collections.abc import Callable, Sequence

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.certificates import CertificateError, parse_names


def alternative_names(names: Sequence[str]) -> list[str]:
    """Spell the names in one way."""
    try:
        return list(parse_names(names))
    except CertificateError as error:
        raise AnsibleFilterError(f"alternative_names: {error}") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"alternative_names": alternative_names}
