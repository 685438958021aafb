#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read what a server has of the components that upgrade by hand."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_facts
short_description: Read what a server has of the components that upgrade by hand
version_added: "0.1.0"
description:
  - Tells of HAProxy, keepalived, PgBouncer, etcd, Patroni and PostgreSQL, as far as they are installed, which versions are installed and which
    the archives have, and whether what runs is older than what is installed.
  - Also tells whether this server holds a virtual address, leads etcd, or leads the database. It only reads.
options:
  virtual_addresses:
    description: Addresses that one of the load balancers holds at any time.
    type: list
    elements: str
    default: []
  address:
    description: Address that this server's etcd and Patroni are asked on; empty where it has neither.
    type: str
    default: ""
  etcd_port:
    description: Port that etcd serves clients on.
    type: int
    default: 2379
  patroni_port:
    description: Port of Patroni's REST API.
    type: int
    default: 8008
  ca_file:
    description: Path of the CA certificate that their certificates are checked with.
    type: path
    default: /etc/nectar/tls/ca.crt
  etcd_cert_file:
    description: Path of the certificate to show to etcd.
    type: path
    default: /etc/nectar/tls/etcd.crt
  etcd_key_file:
    description: Path of the key that belongs to O(etcd_cert_file).
    type: path
    default: /etc/nectar/tls/etcd.key
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
- name: See what is installed, and what there is
  nectar.backend.upgrade_facts:
    address: "{{ server.advertise if 'database_servers' in group_names else '' }}"
  register: upgrade_facts
"""

RETURN = r"""
components:
  description: The components that are installed, each with its C(packages), its own first, and C(stale), why it needs a restart, empty where it doesn't.
  type: dict
  returned: success
  sample:
    haproxy:
      packages: [{name: haproxy, installed: 3.0.11-1+deb13u4, candidate: 3.0.11-1+deb13u5, newer: true, whole: true}]
      stale: ""
holds:
  description: Whether this server holds a virtual address.
  type: bool
  returned: success
  sample: false
works:
  description: Whether this server's member of the database does its part.
  type: bool
  returned: success
  sample: true
leads:
  description: Whether it leads.
  type: bool
  returned: success
  sample: false
etcd_works:
  description: Whether this server's member of etcd knows a leader.
  type: bool
  returned: success
  sample: true
leads_etcd:
  description: Whether it leads etcd.
  type: bool
  returned: success
  sample: false
lists_age:
  description: Seconds since the package lists were fetched, or null where there are none.
  type: int
  returned: success
  sample: 3600
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import upgrade_facts
from ansible_collections.nectar.backend.plugins.module_utils.host_state import (
    DPKG_STATUS,
    PACKAGE_LISTS,
    package_lists_age,
)
from ansible_collections.nectar.backend.plugins.module_utils.json_https import Caller, HttpsError, endpoint
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text
from ansible_collections.nectar.backend.plugins.module_utils.upgrade_facts import COMPONENTS, Component, Process

ARGUMENT_SPEC: dict[str, Any] = {
    "virtual_addresses": {"type": "list", "elements": "str", "default": []},
    "address": {"type": "str", "default": ""},
    "etcd_port": {"type": "int", "default": 2379},
    "patroni_port": {"type": "int", "default": 8008},
    "ca_file": {"type": "path", "default": "/etc/nectar/tls/ca.crt"},
    "etcd_cert_file": {"type": "path", "default": "/etc/nectar/tls/etcd.crt"},
    "etcd_key_file": {"type": "path", "default": "/etc/nectar/tls/etcd.key", "no_log": False},
}
PACKAGE_FILES = "/var/lib/dpkg/info"
LOCALE = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        etcd_works, leads_etcd = ask_etcd(module.params)
        works, leads = ask_patroni(module.params)
        module.exit_json(
            changed=False,
            components=read_components(module),
            holds=holds_address(module),
            works=works,
            leads=leads,
            etcd_works=etcd_works,
            leads_etcd=leads_etcd,
            lists_age=package_lists_age({path: changed_at(path) for path in PACKAGE_LISTS}, time.time()),
        )
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; upgrade_facts must be able to read it, as root")


def run(module: AnsibleModule, command: Sequence[str]) -> str:
    """Run a command that only reads."""
    _code, out, _errors = module.run_command(list(command), environ_update=LOCALE, check_rc=True)
    return str(out)


def read_components(module: AnsibleModule) -> dict[str, Any]:
    """Ask dpkg, apt, systemd and the kernel, each once for all."""
    present = upgrade_facts.present_packages(read_text(DPKG_STATUS) or "")
    chosen = {component: upgrade_facts.choose_packages(component, present) for component in COMPONENTS}
    chosen = {component: names for component, names in chosen.items() if names[0]}
    wanted = sorted({name for own, companions in chosen.values() for name in (own, *companions)})
    if not wanted:
        return {}
    policy = upgrade_facts.parse_policy(run(module, ["apt-cache", "policy", *wanted]))
    packages = {name: describe(module, policy[name], present[name]) for name in wanted if name in policy}
    units = sorted({component.unit for component in chosen})
    running = upgrade_facts.parse_units(run(module, ["systemctl", "show", "--property=Id,ActiveState,MainPID", *units]))
    return {
        component.name: {
            "packages": [packages[name] for name in (own, *companions) if name in packages],
            "stale": upgrade_facts.why_stale(component, find_process(component, running), unpacked_at(own)),
        }
        for component, (own, companions) in chosen.items()
    }


def describe(module: AnsibleModule, package: upgrade_facts.Package, whole: bool) -> dict[str, Any]:
    """Tell of a package whether a newer one is to be had."""
    newer = False
    if package.candidate and package.candidate != package.installed:
        command = ["dpkg", "--compare-versions", package.candidate, "gt", package.installed]
        newer = module.run_command(command)[0] == 0
    return {
        "name": package.name,
        "installed": package.installed,
        "candidate": package.candidate,
        "newer": newer,
        "whole": whole,
    }


def find_process(component: Component, running: Mapping[str, int]) -> Process | None:
    """Look at what runs of a component; a unit may run without it."""
    main_process = running.get(component.unit)
    if main_process is None:
        return None
    if component.name == "postgresql":
        main_process = upgrade_facts.pick_postmaster(component, unit_processes(component.unit))
    return None if main_process is None else read_process(main_process)


def unit_processes(unit: str) -> dict[int, tuple[str, int]]:
    """The unit's processes, each with its program and its parent."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            groups = read_text(f"/proc/{name}/cgroup") or ""
            if any(line.endswith(f"/{unit}") for line in groups.splitlines()):
                found[int(name)] = (os.readlink(f"/proc/{name}/exe"), int(stat_fields(int(name))[1]))
        except (OSError, IndexError):
            # It ended meanwhile.
            continue
    return found


def stat_fields(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on: its name before that may hold anything."""
    return (read_text(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()


def read_process(pid: int) -> Process | None:
    """Read a process's program, and when it began by the clock of today."""
    try:
        ticks = int(stat_fields(pid)[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return Process(os.readlink(f"/proc/{pid}/exe"), time.time() - age)
    except (OSError, IndexError):
        return None


def unpacked_at(package: str) -> float | None:
    """Say when dpkg wrote down which files the package has, which it does once they are in place."""
    return changed_at(os.path.join(PACKAGE_FILES, f"{package}.list"))


def changed_at(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None


def holds_address(module: AnsibleModule) -> bool:
    """Say whether one of the virtual addresses is on an interface here."""
    wanted = set(module.params["virtual_addresses"])
    if not wanted:
        return False
    interfaces = json.loads(run(module, ["ip", "-json", "address"]))
    return any(entry.get("local") in wanted for interface in interfaces for entry in interface.get("addr_info", ()))


def ask_etcd(params: Mapping[str, Any]) -> tuple[bool, bool]:
    """Ask this server's member of etcd; one that doesn't answer doesn't work."""
    if not params["address"]:
        return False, False
    caller = Caller(params["ca_file"], params["etcd_cert_file"], params["etcd_key_file"])
    url = f"{endpoint(params['address'], params['etcd_port'])}/v3/maintenance/status"
    try:
        return upgrade_facts.read_etcd(caller.ask("POST", url, {}))
    except HttpsError:
        return False, False


def ask_patroni(params: Mapping[str, Any]) -> tuple[bool, bool]:
    """Ask this server's Patroni; one that doesn't answer doesn't work."""
    if not params["address"]:
        return False, False
    try:
        url = f"{endpoint(params['address'], params['patroni_port'])}/patroni"
        return upgrade_facts.read_patroni(Caller(params["ca_file"]).ask("GET", url))
    except HttpsError:
        return False, False


if __name__ == "__main__":
    main()
