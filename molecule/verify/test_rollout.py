# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every deployment was released, and all application servers agree on it."""

from __future__ import annotations

import json
from typing import Any

testinfra_hosts = ["ansible://app_servers"]

STATE = "/var/lib/nectar/deployments"


def test_every_deployment_has_a_promoted_slot_that_runs(host: Any) -> None:
    with host.sudo():
        names = sorted(host.file(STATE).listdir())
        assert names
        for name in names:
            record = json.loads(host.file(f"{STATE}/{name}/record.json").content_string)
            content = record["slots"][record["active"]]
            assert host.service(f"nectar-{name}-{record['active']}-identity.service").is_running, name
            assert host.file(f"/opt/nectar/releases/{content['release']}/manifest.json").exists, name


def test_idle_slots_are_stopped(host: Any) -> None:
    with host.sudo():
        for name in host.file(STATE).listdir():
            record = json.loads(host.file(f"{STATE}/{name}/record.json").content_string)
            idle = "green" if record["active"] == "blue" else "blue"
            assert host.run(f"systemctl is-active --quiet nectar-{name}-{idle}.target").rc != 0, name
