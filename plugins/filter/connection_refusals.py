# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say why a play must not start."""

from __future__ import annotations

DOCUMENTATION = r"""
name: connection_refusals
short_description: Say why a play must not start
version_added: "0.1.0"
description:
  - Judges what M(nectar.backend.resolve_address) found by what a play needs.
  - Any play refuses a virtual address that is somebody else's.
author: Nectar Backend maintainers (@nectar)
positional: needs
options:
  _input:
    description: By viewpoint the results of the calls that were made there.
    type: dict
    required: true
  needs:
    description:
      - With C(ssh), every server must be proven.
      - With C(deploy), nobody else may answer at a server or a door, and the primary must be proven; a dead server stops nothing, nor does a
        deployment that isn't served yet.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Stop where a server isn't proven
  ansible.builtin.assert:
    that: "({'controller': [found]} | nectar.backend.connection_refusals('ssh')) == []"
"""

RETURN = r"""
_value:
  description: A line for each reason; none where the play may start.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.address_report import merge_results, refusals


def connection_refusals(results: Mapping[str, Iterable[Mapping[str, Any]]], needs: str) -> list[str]:
    """Say why a play must not start."""
    return refusals(needs, merge_results(results))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"connection_refusals": connection_refusals}
