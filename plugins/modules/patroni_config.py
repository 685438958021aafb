#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Set the settings that all members of a Patroni cluster share."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_config
short_description: Set the settings that all members of a Patroni cluster share
version_added: "0.1.0"
description:
  - Compares O(settings) with what Patroni's C(/config) holds, and patches the keys that differ. Other keys are left alone.
  - Members take the settings over by themselves. Those that need a restart of PostgreSQL wait for one; this module
    never restarts anything.
  - Where Patroni doesn't answer in check mode, the module ends without a change and says so.
extends_documentation_fragment:
  - nectar.backend.patroni_members
  - nectar.backend.patroni_api
options:
  settings:
    description: The settings, nested as in Patroni's own configuration; V(null) takes a key away.
    type: dict
    required: true
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Whether it predicts without changing anything.
    support: full
  diff_mode:
    description: Whether it shows what changes.
    support: full
"""

EXAMPLES = r"""
- name: Let a lost leader be replaced after 20 s
  nectar.backend.patroni_config:
    servers: [10.0.0.1, 10.0.0.2, 10.0.0.3]
    ca_file: /etc/nectar/tls/ca.crt
    cert_file: /etc/nectar/tls/postgresql.crt
    key_file: /etc/nectar/tls/postgresql.key
    username: patroni
    password: "{{ postgresql_api_password }}"
    settings:
      ttl: 20
      postgresql:
        parameters:
          work_mem: 8MB
"""

RETURN = r"""
settings:
  description: All settings as they are now, or would be.
  type: dict
  returned: when Patroni answers
  sample: {ttl: 20, loop_wait: 2}
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import patroni
from ansible_collections.nectar.backend.plugins.module_utils.json_https import (
    Caller,
    HttpsError,
    endpoint,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "settings": {"type": "dict", "required": True},
    **patroni.API_ARGUMENTS,
}


def main() -> None:
    """Read, compare, and patch what differs."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_together=patroni.API_TOGETHER
    )
    params = module.params
    urls = [f"{endpoint(server, params['port'])}/config" for server in params["servers"]]
    caller = Caller(**{name: params[name] for name in patroni.CALLER})
    try:
        current = caller.ask_any("GET", urls)
    except HttpsError as error:
        if module.check_mode:
            module.exit_json(changed=False, msg=f"Patroni does not answer, so its settings can't be foreseen: {error}")
        module.fail_json(msg=f"Cannot read the cluster's settings: {error}")
    after = patroni.merge_settings(current, params["settings"])
    changed = after != current
    try:
        if changed and not module.check_mode:
            after = caller.ask_any("PATCH", urls, params["settings"])
    except HttpsError as error:
        module.fail_json(msg=f"Cannot patch the cluster's settings: {error}")
    module.exit_json(changed=changed, settings=after, diff=show_diff(current, after, params["settings"]))


def show_diff(before: dict[str, Any], after: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
    """Show the keys that the settings speak of, before and after."""
    texts = [
        json.dumps(patroni.select_settings(side, wanted), indent=2, sort_keys=True) + "\n" for side in (before, after)
    ]
    return {"before": texts[0], "after": texts[1]}


if __name__ == "__main__":
    main()
