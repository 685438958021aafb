# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Key pairs that are made once and kept."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import key_pairs

PAIRS = {"ssh/alice": "alice", "hosts/app1/ssh_host_ed25519_key": "app1"}


def run(capsys: pytest.CaptureFixture[str], directory: Path, check: bool = False) -> dict[str, Any]:
    """Run the module as Ansible would, and return its result."""
    arguments = {"directory": str(directory), "pairs": PAIRS, "_ansible_check_mode": check}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        key_pairs.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_four_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "nectar" / "lab"
    foreseen = run(capsys, state, check=True)
    assert (foreseen["changed"], foreseen["made"], foreseen["public_keys"]) == (True, list(PAIRS), {})
    assert not state.exists()

    made = run(capsys, state)
    assert (made["changed"], made["made"]) == (True, list(PAIRS))
    assert {path: line.split()[::2] for path, line in made["public_keys"].items()} == {
        path: ["ssh-ed25519", comment] for path, comment in PAIRS.items()
    }

    for check in (False, True):
        again = run(capsys, state, check=check)
        assert (again["changed"], again["made"], again["public_keys"]) == (False, [], made["public_keys"])


def test_only_the_owner_may_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "lab"
    run(capsys, state)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in (state, state / "ssh", state / "ssh/alice")
    }
    assert modes == {"lab": 0o700, "lab/ssh": 0o700, "lab/ssh/alice": 0o600}


def test_a_lost_public_key_comes_back_from_its_private_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run(capsys, tmp_path)["public_keys"]["ssh/alice"]
    private = (tmp_path / "ssh/alice").read_text()
    (tmp_path / "ssh/alice.pub").unlink()
    after = run(capsys, tmp_path)
    assert (after["made"], after["public_keys"]["ssh/alice"]) == (["ssh/alice"], before)
    assert (tmp_path / "ssh/alice").read_text() == private


def test_a_public_key_without_its_private_key_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run(capsys, tmp_path)["public_keys"]["ssh/alice"]
    (tmp_path / "ssh/alice").unlink()
    after = run(capsys, tmp_path)["public_keys"]["ssh/alice"]
    assert after != before
    assert run(capsys, tmp_path)["changed"] is False


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab").write_text("in the way")
    assert str(tmp_path / "lab") in run(capsys, tmp_path / "lab")["msg"]
