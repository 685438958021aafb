# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases on a disk: packed the same every time, unpacked as they were, refused when they differ."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.given_source import replace_source
from ansible_collections.nectar.backend.plugins.module_utils.release_files import (
    check_tree,
    file_sha256,
    pack_tree,
    unpack_tree,
    write_manifest,
)
from ansible_collections.nectar.backend.plugins.module_utils.release_git import Checkout
from ansible_collections.nectar.backend.plugins.module_utils.release_source import (
    describe_release,
    is_whole,
    source_paths,
)
from ansible_collections.nectar.backend.plugins.module_utils.releases import ReleaseError, Target


def no_git(directory: str) -> list[str]:
    """Know of no repository."""
    return []


def no_fetch(source: Mapping[str, str]) -> Checkout:
    """Fetch nothing."""
    raise AssertionError(f"nothing should be fetched of {source}")


def make_tree(place: Path) -> Path:
    """Make a small release."""
    tree = place / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "lib").mkdir()
    (tree / "lib" / "app.py").write_text("print()\n")
    (tree / "bin" / "run").write_text("#!/bin/sh\n")
    (tree / "bin" / "run").chmod(0o755)
    (tree / "lib64").symlink_to("lib")
    write_manifest(str(tree), "orders-1", {"recipe": 1})
    return tree


def test_a_release_survives_the_journey(tmp_path: Path) -> None:
    pack_tree(str(make_tree(tmp_path)), str(tmp_path / "a.tar.gz"))
    unpack_tree(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"), folder_mode=0o555)
    assert check_tree(str(tmp_path / "out")).release == "orders-1"
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*") if not path.is_symlink()
    }
    assert (modes["run"], modes["app.py"], modes["bin"]) == (0o555, 0o444, 0o555)
    for folder in (tmp_path / "out", tmp_path / "out" / "bin", tmp_path / "out" / "lib"):
        folder.chmod(0o755)


def test_an_archive_does_not_depend_on_when_it_was_made(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    pack_tree(str(tree), str(tmp_path / "a.tar.gz"))
    os.utime(tree / "lib" / "app.py", (0, 0))
    pack_tree(str(tree), str(tmp_path / "b.tar.gz"))
    assert file_sha256(str(tmp_path / "a.tar.gz")) == file_sha256(str(tmp_path / "b.tar.gz"))


def test_a_changed_tree_is_refused(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    (tree / "lib" / "app.py").write_text("print('x')\n")
    with pytest.raises(ReleaseError, match=r"differs from its manifest in lib/app\.py"):
        check_tree(str(tree))


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(tarfile.TarInfo("../outside"), id="outside"),
        pytest.param(tarfile.TarInfo("/etc/nectar"), id="absolute"),
    ],
)
def test_an_archive_can_not_write_elsewhere(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(member, BytesIO())
    with pytest.raises(ReleaseError, match="leads outside the release"):
        unpack_tree(str(tmp_path / "evil.tar"), str(tmp_path / "out"))


def test_devices_are_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("null")
    member.type = tarfile.CHRTYPE
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(member)
    with pytest.raises(ReleaseError, match="neither file, folder nor link"):
        unpack_tree(str(tmp_path / "evil.tar"), str(tmp_path / "out"))


def test_a_fetch_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    pack_tree(str(make_tree(tmp_path)), str(tmp_path / "a.tar.gz"))
    assert is_whole(str(tmp_path / "a.tar.gz"))
    (tmp_path / "b.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:-20])
    assert not is_whole(str(tmp_path / "b.tar.gz"))
    assert not is_whole(str(tmp_path / "c.tar.gz"))


def make_project(place: Path) -> dict[str, object]:
    """Make a project with a lock and some junk."""
    (place / "__pycache__").mkdir()
    (place / "__pycache__" / "app.pyc").write_text("junk")
    (place / "pyproject.toml").write_text("[project]\nname = 'app'\n")
    (place / "app.py").write_text("print()\n")
    (place / "requirements.txt").write_text(f"flask==3.0 --hash=sha256:{'a' * 64}\n")
    return {"source": {"directory": str(place)}, "lock": str(place / "requirements.txt")}


def test_junk_does_not_rename_a_release(tmp_path: Path) -> None:
    application, target = make_project(tmp_path), Target("13", "x86_64")
    first = describe_release("app", application, target, no_git, no_fetch).release
    (tmp_path / "__pycache__" / "more.pyc").write_text("more junk")
    assert describe_release("app", application, target, no_git, no_fetch).release == first
    (tmp_path / "app.py").write_text("print(1)\n")
    assert describe_release("app", application, target, no_git, no_fetch).release != first
    assert source_paths(str(tmp_path), no_git) == ["app.py", "pyproject.toml", "requirements.txt"]


def test_what_git_ignores_does_not_count(tmp_path: Path) -> None:
    make_project(tmp_path)
    (tmp_path / "secret.key").write_text("x")
    assert source_paths(str(tmp_path), lambda directory: ["app.py", "gone.py", "__pycache__/app.pyc"]) == ["app.py"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"lock": None}, "application app: lock is missing", id="no lock"),
        pytest.param({"lock": "/nowhere.txt"}, "application app: lock /nowhere.txt doesn't exist", id="no such lock"),
        pytest.param(
            {"source": {"directory": "/nowhere"}}, "source /nowhere is no folder that exists", id="no such source"
        ),
        pytest.param({"source": {"directory": "/dev"}}, "source /dev has no pyproject.toml", id="no project"),
        pytest.param(
            {"source": {"wheel": "/nowhere/app.whl"}}, "app.whl is not named as a wheel is", id="wheel's name"
        ),
        pytest.param(
            {"source": {"wheel": "/nowhere/app-1.0-py3-none-any.whl"}},
            "doesn't exist or is no wheel",
            id="no such wheel",
        ),
        pytest.param({"source": {"package": "ara", "version": "1"}}, "package ara is not in the lock", id="not locked"),
        pytest.param(
            {"source": {"package": "flask", "version": "4"}, "given": True},
            "the lock holds flask==3.0.*or name a lock that holds it: -e lock=FILE",
            id="given, and locked at another version",
        ),
        pytest.param(
            {"source": {"directory": "/nowhere"}, "given": True},
            r"no folder that exists; correct the path; expected a folder, git\+URL@revision",
            id="given, and not there",
        ),
    ],
)
def test_a_release_that_can_not_be(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        describe_release("app", {**make_project(tmp_path), **changes}, Target("13", "x86_64"), no_git, no_fetch)


def test_a_wheel_is_named_after_what_is_in_it(tmp_path: Path) -> None:
    application, wheel = make_project(tmp_path), tmp_path / "app-1.0-py3-none-any.whl"
    names = []
    for text in ("one", "two"):
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("app.py", text)
        given = replace_source(application, {"wheel": str(wheel)}, "")
        names.append(describe_release("app", given, Target("13", "x86_64"), no_git, no_fetch))
    assert names[0].release != names[1].release
    assert names[0].lock == application["lock"]


@pytest.mark.parametrize(
    ("holds", "lock", "expected"),
    [
        pytest.param(True, "", "given/requirements.txt", id="its own"),
        pytest.param(False, "", "requirements.txt", id="the application's, where it has none"),
        pytest.param(True, "other.txt", "other.txt", id="the one that was named"),
    ],
)
def test_which_lock_goes_with_a_given_folder(tmp_path: Path, holds: bool, lock: str, expected: str) -> None:
    application, given = make_project(tmp_path), tmp_path / "given"
    given.mkdir()
    for path in [given / "pyproject.toml", tmp_path / "other.txt", *([given / "requirements.txt"] if holds else [])]:
        path.write_text("" if path.suffix == ".toml" else f"flask==3.1 --hash=sha256:{'b' * 64}\n")
    replaced = replace_source(application, {"directory": str(given)}, str(tmp_path / lock) if lock else "")
    found = describe_release("app", replaced, Target("13", "x86_64"), no_git, no_fetch)
    assert found.lock == str(tmp_path / expected)


def test_a_commit_names_its_release(tmp_path: Path) -> None:
    application = make_project(tmp_path)
    source = {"git": "file:///app.git", "revision": "v1"}

    def release(commit: str, **more: str) -> str:
        given = {**application, "source": {**source, **more}}
        fetched = Checkout(commit, str(tmp_path))
        return describe_release("app", given, Target("13", "x86_64"), no_git, lambda source: fetched).release

    assert release("a" * 40) == release("a" * 40, revision="v2") != release("b" * 40)
    with pytest.raises(ReleaseError, match="has no folder web; correct subdirectory"):
        release("a" * 40, subdirectory="web")
