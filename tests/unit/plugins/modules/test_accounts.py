# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module reads and foresees; making accounts takes root, and is tried in the scenarios."""

from __future__ import annotations

import base64
import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import accounts

BLOB = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519" + bytes(36)).decode()
ALICE = {"name": "alice-of-the-tests", "keys": [f"ssh-ed25519 {BLOB} alice"]}


def run(capsys: pytest.CaptureFixture[str], directory: Path, members: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the module in check mode, as Ansible would."""
    arguments = {
        "members": members,
        "member_group": "staff-of-the-tests",
        "admin_group": "admins-of-the-tests",
        "keys_directory": str(directory),
        "_ansible_check_mode": True,
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        accounts.main()
    return dict(json.loads(capsys.readouterr().out))


def test_check_mode_says_what_would_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "keys"
    result = run(capsys, directory, [ALICE])
    assert result["changed"] is True
    assert [command[0] for command in result["commands"]] == ["groupadd", "groupadd", "useradd"]
    assert result["diff"][1]["after"] == f"{ALICE['keys'][0]}\n"
    assert not directory.exists()


def test_present_accounts_are_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    account = accounts.read_accounts()[getpass.getuser()]
    assert account.uid == os.getuid()
    assert run(capsys, tmp_path, [])["unlisted"] == []


def test_a_member_who_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = run(capsys, tmp_path, [{**ALICE, "name": "root"}])
    assert result["msg"].startswith("Cannot make the members' accounts: root: the system has an account of this name")
