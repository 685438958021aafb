# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand etcd's lead to another host, for a host that is lost with it makes every lease begin anew before the primary's can end."""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import urllib.request
from typing import Any

# Beside this file lie the few modules that it shares with the collection.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.nectar.backend.plugins.module_utils.etcd_lead import LeadError, plan_heirs

SECONDS = 8.0


class Member:
    """The member of etcd on this host."""

    def __init__(self, url: str, authority: str, certificate: str, key: str) -> None:
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        # What the environment says of proxies is not meant for a server's own services.
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        self.url = url

    def ask(self, verb: str, body: dict[str, Any]) -> Any:
        """Ask its gateway."""
        with self.opener.open(f"{self.url}/v3/{verb}", json.dumps(body).encode(), timeout=SECONDS) as reply:
            return json.load(reply)


def hand_over(member: Member) -> int:
    """Hand the lead over where this member has it; return 1 where nobody takes it."""
    heirs = plan_heirs(member.ask("maintenance/status", {}), member.ask("cluster/member/list", {}))
    for heir in heirs:
        try:
            member.ask("maintenance/transfer-leadership", {"targetID": heir.number})
        except (OSError, ValueError) as error:
            print(f"{heir.name} doesn't take etcd's lead: {error}", file=sys.stderr)
        else:
            print(f"the primary is here, so {heir.name} leads etcd now", flush=True)
            return 0
    return min(len(heirs), 1)


def main() -> int:
    """Look once."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "authority", "certificate", "key"):
        parser.add_argument(f"--{name}", required=True)
    try:
        return hand_over(Member(**vars(parser.parse_args())))
    except (LeadError, OSError, ValueError) as error:
        print(f"etcd-lead: the member of etcd on this host gives no usable answer: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
