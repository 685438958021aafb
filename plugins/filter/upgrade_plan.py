# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan a rolling minor upgrade."""

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_plan
short_description: Plan a rolling minor upgrade
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Says what happens to which component of which server, in which order, what is refused, and where nobody stands in for a server meanwhile.
  - Load balancers come first, the one that holds the address last; then application servers, then etcd, its leader last, then the database, of
    which the member that leads has its turn after a switchover. What doesn't work comes before what does.
positional: groups
options:
  _input:
    description: By server what M(nectar.backend.upgrade_facts) said.
    type: dict
    required: true
  groups:
    description: The inventory's groups.
    type: dict
    required: true
  components:
    description: The components to look at, with commas between; empty for all.
    type: str
    default: ""
  restart:
    description: Whether to restart what is up to date, too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ (facts | nectar.backend.upgrade_plan(groups, components='haproxy')).lines }}"
"""

RETURN = r"""
_value:
  description:
    - The C(rows) and C(lines) of a table; the turns C(before) and C(after) a C(switchover), each with its C(server), C(components), C(packages) and
      the C(others) that must serve meanwhile; C(refusals), and C(outages), what nobody stands in for.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils.upgrade_plan import UpgradeError, plan_upgrade


def upgrade_plan(facts: Any, groups: Any, components: str = "", restart: bool = False) -> dict[str, Any]:
    """Return the plan."""
    try:
        return plan_upgrade(facts, groups, components, restart)
    except UpgradeError as error:
        raise AnsibleFilterError(f"upgrade_plan: {error}") from error


class FilterModule:
    """Makes the rule usable in templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"upgrade_plan": upgrade_plan}
