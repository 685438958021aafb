# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host that does everything gates a release too, and takes a bad one back by itself."""

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

from client import Client, Door

testinfra_hosts = ["ansible://app_servers"]

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "nectar" / os.environ["NECTAR_LAB"]
MEMBERS = ROOT / "inventories/lab/members.yml"
LEAK = {"ORDERS_REHEARSE_ERRORS": "80"}
STEPS = [{"hosts": 1, "share": 50, "bake": 15}, {"hosts": "100%", "share": 100, "bake": 1}]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A copy of the lab's registry in which alice is about to release what fails four requests of five."""
    (tmp_path / "group_vars").symlink_to(MEMBERS.parent / "group_vars")
    data = yaml.safe_load(MEMBERS.read_text(encoding="utf-8").replace("../../", f"{ROOT}/"))
    data["members"]["alice"] |= {"environment": LEAK, "rollout": {"steps": STEPS}}
    (tmp_path / "members.yml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return tmp_path / "members.yml"


def serving(host: Any) -> tuple[str, str]:
    """Return the slot that serves and its revision."""
    with host.sudo():
        record = json.loads(host.file("/var/lib/nectar/deployments/alice/record.json").content_string)
    return record["active"], record["slots"][record["active"]]["revision"]


def test_a_bad_release_is_taken_back_by_the_one_host_alone(host: Any, registry: Path) -> None:
    before = serving(host)
    address = host.check_output("ip -brief -4 address show scope global up").split()[2].split("/")[0]
    door = Door("https://alice.nectar.test/", address, 443, str(STATE / "ca/ca.crt"))
    sources = ["inventories/lab/single", str(registry), "examples/alerts/registry.yml"]
    with Client(lambda: door.ask("/orders"), pause=0.05) as client:
        done = subprocess.run(
            [
                "ansible-playbook",
                "playbooks/deploy.yml",
                "-e",
                "deployment=alice",
                *(f"-i{source}" for source in sources),
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode != 0, done.stdout[-5000:]
    said = " ".join(done.stdout.split())
    assert "alice: fallen back to slot" in said and "gate compare says fail" in said, done.stdout[-5000:]
    assert serving(host) == before
    assert {answer.status for answer in client.failures} == {500}
    assert door.ask("/orders").ok
