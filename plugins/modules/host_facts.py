#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gather what the roles need to know of a host, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Gather what the roles need to know of a host, in one call
version_added: "0.1.0"
description:
  - Gathers a few of the facts that M(ansible.builtin.setup) does, and beside them what is installed and what runs.
    A task that finds there what it wants needn't ask the host again.
  - In place of M(ansible.builtin.setup) where C(ansible_facts_modules) names it, as the project's playbooks do.
options:
  gather_subset:
    description: Which facts to gather, in the words of M(ansible.builtin.setup).
    type: list
    elements: str
    default: ["!all", "!min", distribution, network, virtual]
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
notes:
  - What is installed and what runs changes from run to run. The project's playbooks take no notice of it where facts are
    kept between runs, and ask the host anew.
"""

EXAMPLES = r"""
- name: Prepare every server
  hosts: all
  become: true
  vars:
    ansible_facts_modules: [nectar.backend.host_facts]
  tasks:
    - name: Install the package
      ansible.builtin.apt:
        name: haproxy
      when: "'haproxy' not in ansible_facts['nectar'].packages"
"""

RETURN = r"""
ansible_facts:
  description: The facts of O(gather_subset), and what is told here.
  type: dict
  returned: success
  contains:
    nectar:
      description: What the host has.
      type: dict
      returned: success
      contains:
        packages:
          description: The packages that are installed in full.
          type: list
          elements: str
          sample: [haproxy, nftables]
        package_lists_age:
          description: Seconds since the lists of packages were fetched, or null where there are none.
          type: int
          sample: 3600
        services:
          description: The services that run and are enabled.
          type: list
          elements: str
          sample: [haproxy.service, nftables.service]
        memory:
          description: The megabytes (MiB) that the host may use, as M(nectar.backend.host_memory) tells them; null where that can't be read.
          type: int
          sample: 1967
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts import ansible_collector, default_collectors
from ansible.module_utils.facts.namespace import PrefixFactNamespace
from ansible_collections.nectar.backend.plugins.module_utils.host_memory import FILES, HostMemoryError, read_memory
from ansible_collections.nectar.backend.plugins.module_utils.host_state import (
    DPKG_STATUS,
    PACKAGE_LISTS,
    SHOW_SERVICES,
    installed_packages,
    package_lists_age,
    running_services,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text

ARGUMENT_SPEC: dict[str, Any] = {
    "gather_subset": {
        "type": "list",
        "elements": "str",
        "default": ["!all", "!min", "distribution", "network", "virtual"],
    }
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        state = read_state(module)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; host_facts must be able to read it")
    module.exit_json(changed=False, ansible_facts={**read_facts(module), "nectar": state})


def read_facts(module: AnsibleModule) -> dict[str, Any]:
    """Gather as ansible.builtin.setup does."""
    collector = ansible_collector.get_ansible_collector(
        all_collector_classes=default_collectors.collectors,
        namespace=PrefixFactNamespace(namespace_name="ansible", prefix="ansible_"),
        gather_subset=module.params["gather_subset"],
        minimal_gather_subset=frozenset(),
    )
    return dict(collector.collect(module=module))


def read_state(module: AnsibleModule) -> dict[str, Any]:
    """Read what is installed, what runs, and how much memory there is."""
    _code, shown, _error = module.run_command(list(SHOW_SERVICES))
    return {
        "packages": installed_packages(read_text(DPKG_STATUS) or ""),
        "package_lists_age": package_lists_age({path: changed_at(path) for path in PACKAGE_LISTS}, time.time()),
        "services": running_services(shown),
        "memory": usable_memory(),
    }


def changed_at(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None


def usable_memory() -> int | None:
    try:
        return min(read_memory({path: read_text(path) for path in FILES}).values())
    except HostMemoryError:
        return None


if __name__ == "__main__":
    main()
