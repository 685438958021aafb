# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A member's kit connects with everything, and one that doesn't is handed to nobody."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KITS = (
    Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    / "nectar"
    / os.environ["NECTAR_LAB"]
    / "kits"
)
ANOTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEhQ5tAtuoUF5Ik66pAsyIIn/ljofCBAgvbmegCD1FYm"


def make_kit(inventory_words: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Make alice's kit as a person would."""
    command = ["ansible-playbook", *inventory_words, "playbooks/kit.yml", "-e", "member=alice", *words]
    plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "false"}
    # Molecule's settings print what failed elsewhere than the rest.
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, **both, text=True, check=False, cwd=ROOT, env=plain, timeout=300)


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def kit(inventory_words: list[str]) -> Path:
    """Return the kit's folder, once it is handed over."""
    made = make_kit(inventory_words)
    assert made.returncode == 0, made.stdout[-4000:]
    return KITS / "alice"


@pytest.fixture
def no_draft() -> Iterator[Path]:
    """Return where a draft stays, and take it away afterwards."""
    yield KITS / "alice.draft"
    shutil.rmtree(KITS / "alice.draft", ignore_errors=True)


def test_a_kit_connects_and_is_its_members_alone(
    kit: Path, inventory_words: list[str], inventory: dict[str, Any]
) -> None:
    assert {path.stat().st_mode & 0o077 for path in kit.iterdir() if path.is_file()} | {kit.stat().st_mode & 0o077} == {
        0
    }
    aliases = [line.split()[1:] for line in (kit / "ssh_config").read_text().splitlines() if line.startswith("Host ")]
    servers = {name for name, entry in inventory["_meta"]["hostvars"].items() if "server" in entry}
    assert servers <= set(aliases[-1])
    again = make_kit(inventory_words, "--check")
    assert "changed=0 " in again.stdout


def test_a_kit_that_does_not_connect_is_kept_back(
    kit: Path, no_draft: Path, inventory_words: list[str], inventory: dict[str, Any]
) -> None:
    before = content(kit)
    servers = [entry["server"] for entry in inventory["_meta"]["hostvars"].values() if "server" in entry]
    servers[-1] = {**servers[-1], "host_keys": [ANOTHER_KEY]}
    wrong = {"connection_kit_servers": servers, "connection_kit_primary_name": "elsewhere.test"}
    refused = make_kit(inventory_words, "-e", json.dumps(wrong))
    assert refused.returncode != 0
    # Long messages may be printed as YAML's quoted text, whose lines end in a backslash and may begin with one.
    told = re.sub(r"\\\s+\\?", " ", refused.stdout)
    told = " ".join(told.split())
    assert "is not handed over" in told, refused.stdout[-8000:]
    assert f"FAILED ssh {servers[-1]['name']} another server answers" in told, refused.stdout[-8000:]
    # Where one server does everything, its key already refuses the way to the database.
    assert "elsewhere.test" in told or len(servers) == 1, refused.stdout[-8000:]
    assert no_draft.is_dir()
    assert content(kit) == before
