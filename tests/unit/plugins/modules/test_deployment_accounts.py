# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users and folders are foreseen without being made; making them takes root, and is for the verify files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import deployment_accounts

DEPLOYMENT = {"name": "production", "user": "nb-no-such-user", "uid": 30001, "application": "orders"}


def foresee(capsys: pytest.CaptureFixture[str], place: Path, **changes: Any) -> dict[str, Any]:
    """Run the module in check mode."""
    arguments = {
        "deployments": [{**DEPLOYMENT, **changes}],
        "applications": {"orders": {"shared_paths": ["uploads"]}},
        "state_directory": str(place / "state"),
        "configuration_directory": str(place / "etc"),
        "_ansible_check_mode": True,
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        deployment_accounts.main()
    return dict(json.loads(capsys.readouterr().out))


def test_a_new_deployment_is_foreseen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = foresee(capsys, tmp_path)
    assert [command[0] for command in result["commands"]] == ["groupadd", "useradd"]
    assert result["folders"][-1] == str(tmp_path / "state/deployments/production/shared/uploads")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = foresee(capsys, tmp_path, uid=0)
    assert "0, which nb-no-such-user needs, belongs to root on this server" in result["msg"]


def test_who_left_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state" / "deployments" / "frank").mkdir(parents=True)
    assert foresee(capsys, tmp_path)["departed"] == ["frank"]
