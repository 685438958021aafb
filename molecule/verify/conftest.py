# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the registry plans for the hosts under test: the same figures that the playbooks see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

ROOT = Path(__file__).resolve().parents[2]
# Where the tests find what the collection knows.
sys.path.append(str(ROOT / ".ansible/collections"))


def sources(hosts: Path) -> list[str]:
    """Return the inventory's sources: those of Molecule's scenario, or the lab's, whose hosts' names tell the topology."""
    if settings := os.environ.get("MOLECULE_FILE"):
        words = yaml.safe_load(Path(settings).read_text())["ansible"]["executor"]["args"]["ansible_playbook"]
        return [word.removeprefix("--inventory=") for word in words if word.startswith("--inventory=")]
    servers = yaml.safe_load(hosts.read_text())["all"]["children"]["app_servers"]["hosts"]
    return [f"inventories/lab/{'single' if 'one' in servers else 'ha'}", "inventories/lab/members.yml"]


@pytest.fixture(scope="session")
def inventory_words(request: pytest.FixtureRequest) -> list[str]:
    """Return what names the inventory to Ansible's programs."""
    return [f"--inventory={source}" for source in sources(Path(request.config.getoption("ansible_inventory")))]


@pytest.fixture(scope="session")
def inventory(inventory_words: list[str]) -> dict[str, Any]:
    """Return the environment's groups, and every host's variables."""
    command = ["ansible-inventory", *inventory_words, "--list"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(shown.stdout))


@pytest.fixture(scope="session")
def planned(inventory: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of the environment, as an application server sees them."""
    return dict(inventory["_meta"]["hostvars"][inventory["app_servers"]["hosts"][0]])
