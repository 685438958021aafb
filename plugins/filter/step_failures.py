# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which deployments a step of a deploy failed for."""

from __future__ import annotations

DOCUMENTATION = r"""
name: step_failures
short_description: Say which deployments a step of a deploy failed for
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Takes the results of a module of slots or traffic from all hosts, and returns why deployments failed, by their names.
positional: answers, asked
options:
  _input:
    description: The deployments of the step, as M(nectar.backend.deployment_plan) plans them.
    type: list
    elements: dict
    required: true
  answers:
    description: The registered results, by host.
    type: dict
    required: true
  asked:
    description: Who owes an answer. All hosts of a deployment, those that it opens in this step, the one host that migrates, or any of those that were asked.
    type: str
    choices: [hosts, opens, migrate_host, any]
    default: hosts
"""

EXAMPLES = r"""
- name: See what failed
  ansible.builtin.debug:
    msg: "{{ steps | nectar.backend.step_failures({'app1': started_on_app1}) }}"
"""

RETURN = r"""
_value:
  description: Errors by deployment.
  type: dict
  sample: {production: "app1: the migration failed"}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.deployment_plans import step_failures


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"step_failures": step_failures}
