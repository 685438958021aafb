#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare a host's memory with what is planned for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_memory
short_description: Compare a host's memory with what is planned for it
version_added: "0.1.0"
description:
  - Reads what the kernel counts and what the cgroup of a container allows; the least of these is what the host may use.
  - Fails where that is less than O(required). Changes nothing.
options:
  required:
    description: The megabytes (MiB) that are planned for the host.
    type: int
    required: true
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Compare the host's memory with what is planned for it
  nectar.backend.host_memory:
    required: 1900
"""

RETURN = r"""
memory:
  description: The megabytes (MiB) that the host may use.
  type: int
  returned: success
  sample: 1967
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.host_memory import (
    FILES,
    HostMemoryError,
    check_memory,
    read_memory,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text

ARGUMENT_SPEC: dict[str, Any] = {"required": {"type": "int", "required": True}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        memory = check_memory(read_memory({path: read_text(path) for path in FILES}), module.params["required"])
    except (HostMemoryError, OSError) as error:
        module.fail_json(msg=f"This host can't hold its part: {error}")
    module.exit_json(changed=False, memory=memory)


if __name__ == "__main__":
    main()
