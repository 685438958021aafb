# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every endpoint of the environment is proven from where it is used, and every path is as it must be."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def connect(inventory_words: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Ask as a person would."""
    command = ["ansible-playbook", *inventory_words, "playbooks/connect.yml", *words]
    plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "false"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=plain, timeout=300)


@pytest.fixture(scope="module")
def seen(inventory_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the report of one run, with what it printed and the page beside it."""
    path = tmp_path_factory.mktemp("connect") / "report.json"
    made = connect(inventory_words, "-e", f"connect_file={path}")
    assert made.returncode == 0, made.stdout[-6000:]
    return {**json.loads(path.read_text()), "printed": made.stdout, "page": path.with_suffix(".html").read_text()}


def test_every_endpoint_is_proven_where_it_is_used(seen: dict[str, Any], inventory: dict[str, Any]) -> None:
    servers = {name for name, entry in inventory["_meta"]["hostvars"].items() if "server" in entry}
    proven = {
        (viewpoint, item["name"])
        for viewpoint, items in seen["viewpoints"].items()
        for item in items
        if item["verdict"] == "proven"
    }
    assert {("controller", f"ssh/{name}") for name in servers} <= proven
    for name, entry in inventory["_meta"]["hostvars"][min(servers)]["deployments"].items():
        assert ("controller", f"{name}/https") in proven
        assert {(host, f"{name}/{way}") for host in entry["hosts"] for way in ("pooler", "primary")} <= proven


def test_every_path_is_open_or_shut_as_it_must_be(seen: dict[str, Any]) -> None:
    assert {path["must"] for path in seen["paths"]} == {True, False}
    assert [path for path in seen["paths"] if not path["ok"]] == []
    assert '<td class="good"' in seen["page"] and '<td class="bad"' not in seen["page"]


def test_the_table_names_what_was_chosen_and_what_to_do_next(seen: dict[str, Any]) -> None:
    assert "why" in seen["printed"]
    assert "What to do next" in seen["printed"]
    assert [finding for finding in seen["findings"] if not finding["note"]] == []
