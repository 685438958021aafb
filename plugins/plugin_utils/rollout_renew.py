# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renew a lease of etcd for each line on stdin, and say what still hangs on it. The keeper sends this text to a database server.

It stands alone, on the server's own Python: `python3 -I -c TEXT SETTINGS`.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import urllib.request
from typing import Any


class Renewer:
    """One lease, and the members of etcd that are asked about it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        context = ssl.create_default_context(cafile=settings["ca_file"])
        context.load_cert_chain(settings["cert_file"], settings["key_file"])
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self.opener = urllib.request.build_opener(*handlers)

    def renew(self) -> dict[str, Any]:
        """Return for how many seconds the lease lives on, and the deployments that it holds."""
        lease = self.settings["lease"]
        renewed = self.ask("lease/keepalive", {"ID": lease})
        keys = {base64.b64encode(key.encode()).decode(): name for name, key in self.settings["keys"].items()}
        found = self.ask("kv/txn", {"success": [{"request_range": {"key": key}} for key in keys]})
        entries = [entry for answer in found["responses"] for entry in answer["response_range"].get("kvs", [])]
        held = sorted(keys[entry["key"]] for entry in entries if entry.get("lease") == lease)
        return {"ttl": int(renewed.get("result", renewed).get("TTL", 0)), "held": held}

    def ask(self, verb: str, body: dict[str, Any]) -> Any:
        """Return the first answer of a member."""
        reasons = []
        for url in self.settings["urls"]:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/v3/{verb}", json.dumps(body).encode(), headers)
            try:
                with self.opener.open(request, timeout=self.settings["timeout"]) as reply:
                    return json.load(reply)
            except (OSError, ValueError) as error:
                reasons.append(f"{url}: {error}")
        raise OSError("; ".join(reasons))


def main() -> None:
    renewer = Renewer(json.loads(sys.argv[1]))
    for _line in sys.stdin:
        try:
            answer = renewer.renew()
        except (OSError, ValueError, LookupError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
