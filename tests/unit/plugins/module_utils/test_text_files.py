# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files are replaced as a whole, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text


def refuse(draft: str) -> None:
    """Find fault with any draft."""
    raise ValueError(Path(draft).read_text())


def test_no_file_is_nothing(tmp_path: Path) -> None:
    assert read_text(str(tmp_path / "none")) is None


@pytest.mark.parametrize("mode", [pytest.param(0o644, id="for everyone"), pytest.param(0o600, id="for its owner")])
def test_a_file_is_made_and_replaced(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    replace_text(str(path), "one", mode)
    replace_text(str(path), "two", mode)
    assert (read_text(str(path)), stat.S_IMODE(path.stat().st_mode)) == ("two", mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_draft_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    with pytest.raises(ValueError, match="two"):
        replace_text(str(path), "two", check=refuse)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    replace_text(str(link), "one")
    assert (link.is_symlink(), target.read_text()) == (True, "one")
