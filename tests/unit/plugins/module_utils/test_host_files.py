# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In what folders and files differ from what they are to be, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.host_files import (
    Entry,
    Found,
    HostFilesError,
    find_differences,
    read_entries,
    show_difference,
)

FILE = Entry("/etc/a", 0o640, "root", "orders", "text\n")
FOLDER = Entry("/etc/b", 0o755)


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        pytest.param(FILE, None, ["missing"], id="a file that isn't there"),
        pytest.param(FILE, Found(0o640, "root", "orders", "text\n"), [], id="a file as it is to be"),
        pytest.param(FILE, Found(0o600, "bin", "bin", "x"), ["content", "mode", "owner", "group"], id="all of it"),
        pytest.param(FOLDER, Found(0o755, "bin", "bin"), [], id="an owner that nobody asked for"),
        pytest.param(FOLDER, Found(0o700, "bin", "bin"), ["mode"], id="a folder's mode"),
        pytest.param(Entry("/c", 0o644, content="", begin=True), Found(0o644, "a", "a", "x"), [], id="begun before"),
        pytest.param(Entry("/c", 0o644, content=""), Found(0o644, "a", "a", "x"), ["content"], id="to be empty"),
    ],
)
def test_differences(wanted: Entry, found: Found | None, expected: list[str]) -> None:
    assert find_differences(wanted, found) == expected


@pytest.mark.parametrize(
    ("wanted", "found", "before", "after"),
    [
        pytest.param(FILE, None, "", "text\n", id="new file"),
        pytest.param(FILE, Found(0o640, "root", "orders", "old\n"), "old\n", "text\n", id="other content"),
        pytest.param(FILE, Found(0o600, "root", "orders", "text\n"), "mode: 0600\n", "mode: 0640\n", id="other mode"),
        pytest.param(FOLDER, None, "mode: absent\n", "mode: 0755\n", id="new folder"),
    ],
)
def test_a_difference_is_shown(wanted: Entry, found: Found | None, before: str, after: str) -> None:
    shown = show_difference(wanted, found, find_differences(wanted, found))
    assert (shown["before"], shown["after"]) == (before, after)
    assert shown["after_header"] == wanted.path


def test_folders_come_first() -> None:
    entries = read_entries([{"path": "/b", "mode": "0755"}], [{"path": "/b/a", "mode": "644", "content": ""}])
    assert entries == [Entry("/b", 0o755), Entry("/b/a", 0o644, content="")]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param({"path": "etc/a", "mode": "0644"}, "files: etc/a: expected an absolute path", id="relative"),
        pytest.param({"path": "/etc/a/", "mode": "0644"}, "files: /etc/a/: expected an absolute path", id="slash"),
        pytest.param({"path": "/a", "mode": "420"}, None, id="three digits are octal too"),
        pytest.param({"path": "/a", "mode": "u=rw"}, "files: /a: mode: found 'u=rw', expected octal", id="symbolic"),
        pytest.param({"path": "/a", "mode": "0644", "validate": "true"}, "validate: 'true' has no %s", id="no draft"),
        pytest.param({"path": "/b", "mode": "0644"}, "/b: named 2 times", id="twice"),
    ],
)
def test_refusals(file: dict[str, Any], expected: str | None) -> None:
    folders = [{"path": "/b", "mode": "0755"}]
    if expected is None:
        assert len(read_entries(folders, [{**file, "content": ""}])) == 2
        return
    with pytest.raises(HostFilesError) as refusal:
        read_entries(folders, [{**file, "content": ""}])
    assert expected in str(refusal.value)


def test_all_refusals_come_at_once() -> None:
    with pytest.raises(HostFilesError) as refusal:
        read_entries([{"path": "a", "mode": "x"}], [{"path": "b", "mode": "0644", "content": ""}])
    assert len(str(refusal.value).split("; ")) == 3
