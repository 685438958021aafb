# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that renews a lease on a database server, as it is sent there; etcd is a small server on the loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.nectar.backend.plugins.plugin_utils import rollout_renew
from ansible_collections.nectar.backend.tests.unit.plugins.modules.etcd_world import Etcd

KEYS = {"alice": "/nectar/lab/lease/alice", "staging": "/nectar/lab/lease/staging"}


def test_it_renews_and_says_what_is_held(json_server: Any) -> None:
    etcd = Etcd(leases={99: 27})
    json_server.answer = etcd.answer
    etcd.write(KEYS["alice"], {}, 99)
    etcd.write(KEYS["staging"], {}, 98)
    settings = {
        "lease": "99",
        "keys": KEYS,
        "urls": ["https://127.0.0.1:1", f"https://127.0.0.1:{json_server.port}"],
        "ca_file": json_server.cert_file,
        "cert_file": json_server.cert_file,
        "key_file": json_server.key_file,
        "timeout": 5,
    }
    text = Path(str(rollout_renew.__file__)).read_text()
    with subprocess.Popen(
        [sys.executable, "-I", "-c", text, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def renew() -> Any:
            print("{}", file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        assert renew() == {"ttl": 27, "held": ["alice"]}
        etcd.expire(99)
        assert renew() == {"ttl": 0, "held": []}
        etcd.silent = True
        assert "Service Unavailable" in renew()["error"]
        etcd.silent = False
        assert renew() == {"ttl": 0, "held": []}
