# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the registry plans for the hosts under test: the same figures that the playbooks see."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def planned(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the variables of the environment; the hosts' names tell which topology this is."""
    hosts = Path(request.config.getoption("ansible_inventory"))
    servers = yaml.safe_load(hosts.read_text())["all"]["children"]["app_servers"]["hosts"]
    topology = "single" if "one" in servers else "ha"
    command = ["ansible-inventory", "-i", f"inventories/lab/{topology}", "-i", "inventories/lab/members.yml"]
    asked = [*command, "--host", next(iter(servers))]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(shown.stdout))
