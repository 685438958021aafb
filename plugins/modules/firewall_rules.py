#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let something through a server's firewall."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall_rules
short_description: Let something through a server's firewall
version_added: "0.1.0"
description:
  - Writes one file of rules for the firewall that the role P(nectar.backend.firewall#role) sets up, and loads it at once.
  - The file is checked by C(nft) before it lands. Where the whole ruleset won't load with it, the former file comes back.
  - Loading is atomic, there is no moment without rules, and connections go on.
author:
  - Nectar Backend maintainers (@nectar)
options:
  name:
    description: Who wants the rules; names the file.
    type: str
    required: true
  rules:
    description:
      - What to let in. Each entry may have C(port) (a number, a range like C(8000-8010), or a list of them), C(protocol) (V(tcp), V(udp) or V(vrrp);
        V(tcp) by default), C(sources) (addresses and networks of IPv4 and IPv6; none means any) and C(comment).
    type: list
    elements: dict
    required: true
  directory:
    description: Where the files of rules lie.
    type: path
    default: /etc/nftables.d
  main_file:
    description: The whole ruleset, which includes the files of rules. Where it isn't there yet, nothing is loaded.
    type: path
    default: /etc/nftables.conf
attributes:
  check_mode:
    description: Says whether the file would change.
    support: full
  diff_mode:
    description: Shows the file.
    support: full
"""

EXAMPLES = r"""
- name: Let applications reach the database
  nectar.backend.firewall_rules:
    name: postgresql
    rules:
      - {port: 5432, sources: [192.0.2.0/24, "2001:db8::/64"], comment: applications}
"""

RETURN = r"""
path:
  description: The file of rules.
  type: str
  returned: success
  sample: /etc/nftables.d/postgresql.nft
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.firewall import FirewallError, render_rules
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "rules": {"type": "list", "elements": "dict", "required": True},
    "directory": {"type": "path", "default": "/etc/nftables.d"},
    "main_file": {"type": "path", "default": "/etc/nftables.conf"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    path = os.path.join(module.params["directory"], f"{module.params['name']}.nft")
    try:
        wanted = render_rules(module.params["name"], module.params["rules"])
        present = read_text(path)
        if wanted != present and not module.check_mode:
            put_in_force(module, path, wanted, present)
    except (FirewallError, OSError) as error:
        module.fail_json(msg=f"Cannot write {path}: {error}")
    diff = {"before_header": path, "after_header": path, "before": present or "", "after": wanted}
    module.exit_json(changed=wanted != present, path=path, diff=diff)


def put_in_force(module: AnsibleModule, path: str, wanted: str, former: str | None) -> None:
    """Write the file and load the ruleset; bring the former file back if it won't load."""
    nft = module.get_bin_path("nft")
    if nft is None:
        raise FirewallError("nft is missing; run the role nectar.backend.firewall on this host first")
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    replace_text(path, wanted, check=lambda draft: run_nft(module, [nft, "-c", "-f", draft]))
    if not os.path.exists(module.params["main_file"]):
        return
    try:
        run_nft(module, [nft, "-f", module.params["main_file"]])
    except FirewallError:
        if former is None:
            os.unlink(path)
        else:
            replace_text(path, former)
        raise


def run_nft(module: AnsibleModule, command: list[str]) -> None:
    """Run nft, and fail with what it says."""
    code, _out, error = module.run_command(command)
    if code != 0:
        raise FirewallError(f"{' '.join(command)} failed: {error.strip()}")


if __name__ == "__main__":
    main()
