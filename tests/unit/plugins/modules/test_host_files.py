# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Folders and files come about in one call, whole or not at all."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import host_files


class Host:
    """A place for files, and the module as Ansible would run it."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self.capsys = place, capsys
        self.folder, self.file = place / "new" / "folder", place / "new" / "folder" / "file"

    def have(self, content: str = "one\n", check: bool = False, **extra: Any) -> dict[str, Any]:
        """Have the folder and the file in it."""
        arguments = {
            "folders": [{"path": str(self.folder), "mode": "0750"}],
            "files": [{"path": str(self.file), "mode": "0640", "content": content, **extra}],
            "_ansible_check_mode": check,
            "_ansible_diff": True,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            host_files.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def mode(self, path: Path) -> int:
        """Return a path's permissions."""
        return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, capsys)


def test_four_runs(host: Host) -> None:
    both = [str(host.folder), str(host.file)]
    foreseen = host.have(check=True)
    assert (foreseen["changed_paths"], list(host.place.iterdir())) == (both, [])

    done = host.have()
    assert (done["changed_paths"], done["made_paths"], done["diff"]) == (both, both, foreseen["diff"])
    assert (host.file.read_text(), host.mode(host.folder), host.mode(host.file)) == ("one\n", 0o750, 0o640)

    assert host.have()["changed"] is False
    assert host.have(check=True)["changed"] is False


def test_only_what_differs_changes(host: Host) -> None:
    host.have()
    host.folder.chmod(0o700)
    assert host.have()["changed_paths"] == [str(host.folder)]
    done = host.have("two\n")
    assert (done["changed_paths"], done["made_paths"]) == ([str(host.file)], [])
    assert (host.mode(host.folder), host.file.read_text()) == (0o750, "two\n")


def test_a_file_that_is_only_begun_keeps_its_content(host: Host) -> None:
    assert host.have(begin=True)["changed"] is True
    assert host.have("two\n", begin=True)["changed"] is False
    assert host.file.read_text() == "one\n"


def test_a_refused_draft_leaves_the_file(host: Host) -> None:
    host.have()
    done = host.have("two\n", validate="grep -q one %s")
    assert (done["failed"], host.file.read_text()) == (True, "one\n")
    assert done["msg"] == f"{host.file}: refused by grep, and left as it was: ."
    assert host.have("one two\n", validate="grep -q one %s")["changed"] is True
    assert [path.name for path in host.folder.iterdir()] == ["file"]


def test_an_owner_still_to_be_made_is_foreseen(host: Host) -> None:
    assert host.have(check=True, owner="nobody-yet")["changed"] is True
    done = host.have(owner="nobody-yet")
    assert done["msg"].startswith(f"{host.file}: owner or group:")
    assert done["changed_paths"] == [str(host.folder)]


def test_a_folder_where_a_file_is_to_be_is_refused(host: Host) -> None:
    host.file.mkdir(parents=True)
    assert "expected a file, and found something else" in host.have()["msg"]
