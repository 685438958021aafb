# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module on this very machine: it reads, never changes, and refuses what isn't there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import host_memory


def run(capsys: pytest.CaptureFixture[str], required: int, check: bool = False) -> dict[str, Any]:
    """Run the module as Ansible would."""
    with patch_module_args({"required": required, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        host_memory.main()
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("check", [True, False])
def test_what_is_there_is_told(check: bool, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, 1, check)
    assert (result["changed"], result["memory"] > 1) == (False, True)


@pytest.mark.parametrize("check", [True, False])
def test_what_is_not_there_is_refused(check: bool, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, 1 << 40, check)
    assert result["failed"] is True
    assert f"{1 << 40} MiB are planned" in result["msg"]
