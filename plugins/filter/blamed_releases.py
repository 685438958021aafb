# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say whose release is to blame for what was seen in a step."""

from __future__ import annotations

DOCUMENTATION = r"""
name: blamed_releases
short_description: Say whose release is to blame for what was seen in a step
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Names the deployments for which a gate said fail, on one load balancer or over the counts of all.
  - A load balancer that couldn't watch, or that nobody heard of, says nothing about a release.
positional: answers, before
extends_documentation_fragment:
  - nectar.backend.watched_steps
"""

EXAMPLES = r"""
- name: Say which releases are bad
  ansible.builtin.debug:
    msg: "{{ watched | nectar.backend.blamed_releases({'lb1': first, 'lb2': second}) }}"
"""

RETURN = r"""
_value:
  description: Their names.
  type: list
  elements: str
  sample: [alice]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import blamed_releases


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"blamed_releases": blamed_releases}
