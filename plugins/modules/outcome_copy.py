#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leave a copy of how rollouts ended beside what they released."""

from __future__ import annotations

DOCUMENTATION = r"""
module: outcome_copy
short_description: Leave a copy of how rollouts ended beside what they released
version_added: "0.1.0"
description:
  - Writes on an application server what etcd remembers of each deployment, its last good revision, those that were marked bad, and how the last
    rollouts ended. It is for reading where etcd doesn't answer; M(nectar.backend.deployment_info) returns it.
  - Where etcd was silent when a rollout ended, the server's own copy is carried on. Where it refused to write, since the lease was lost, the copy
    says all the same what was seen.
  - A deployment that this server has no record of gets none.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.deployment_host
options:
  deployments:
    description:
      - What P(nectar.backend.rollout_outcomes#filter) returned, C(name), C(finished), and C(good) or C(bad) of each.
    type: list
    elements: dict
    required: true
  known:
    description: What M(nectar.backend.rollout_state) returned as C(results) when it had written that.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the copies.
    support: full
"""

EXAMPLES = r"""
- name: Leave a copy beside the releases
  nectar.backend.outcome_copy:
    deployments: "{{ outcomes }}"
    known: "{{ written.results }}"
"""

RETURN = r"""
copies:
  description: The copies, by deployment.
  type: dict
  returned: success
  sample:
    production:
      at: "2026-01-31T10:00:00Z"
      bad: {ba9876543210: {reason: 5 % errors against 0 %, release: orders-0123456789ab, since: "2026-01-30T10:00:00Z"}}
      deployment: production
      good: {release: orders-ba9876543210, revision: "0123456789ab", since: "2026-01-29T10:00:00Z"}
      rollouts: [{ended: "2026-01-31T10:00:00Z", result: promoted}]
"""

import json
import os
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.outcome_copies import updated_copy
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import (
    DEPLOYMENTS_ARGUMENT,
    HOST_ARGUMENTS,
    layout_from,
    read_outcomes,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text

ARGUMENT_SPEC: dict[str, Any] = {
    **HOST_ARGUMENTS,
    "deployments": DEPLOYMENTS_ARGUMENT,
    "known": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    layout, known = layout_from(module.params), module.params["known"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    copies: dict[str, Any] = {}
    diffs: list[dict[str, str]] = []
    try:
        for ended in module.params["deployments"]:
            name = ended["name"]
            if not os.path.exists(layout.record(name)):
                continue
            path = layout.outcomes(name)
            copies[name] = updated_copy(read_outcomes(layout, name), ended, known.get(name) or {}, now)
            text = json.dumps(copies[name], indent=2, sort_keys=True) + "\n"
            diffs.append({"before_header": path, "after_header": path, "before": read_text(path) or "", "after": text})
            if not module.check_mode:
                replace_text(path, text)
    except (OSError, KeyError) as error:
        module.fail_json(msg=f"Cannot leave a copy in {layout.state}: {error}")
    module.exit_json(changed=bool(copies), copies=copies, diff=diffs)


if __name__ == "__main__":
    main()
