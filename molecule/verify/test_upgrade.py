# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server was converged to is what runs there; looking for upgrades says so, and changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ("loadbalancers", "app_servers", "database_servers")
COMPONENTS = ("haproxy", "pgbouncer", "etcd", "patroni", "postgresql")


def test_upgrades_are_planned_and_nothing_changes(inventory: dict[str, Any], inventory_words: list[str]) -> None:
    # One server of each kind is looked at: what runs on the others is no different.
    servers = ",".join(dict.fromkeys(inventory[group]["hosts"][0] for group in GROUPS))
    command = [
        "ansible-playbook",
        *inventory_words,
        "playbooks/upgrade_minor.yml",
        "--check",
        "-e",
        f"servers={servers}",
    ]
    plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "false"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=plain, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}
    # The archives may have got something new since.
    found = {name: re.findall(rf"\s{name}\s+\S+\s+\S+\s+\S+\s+(nothing|upgrade)\b", done.stdout) for name in COMPONENTS}
    assert all(found.values()), done.stdout[-3000:]
    is_new = "upgrade" in [word for words in found.values() for word in words]
    assert is_new or "nothing to do" in done.stdout
