# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What names a release, what a lock may say, and what a release may hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.releases import (
    Manifest,
    ReleaseError,
    Requirement,
    SourceFile,
    Target,
    check_member,
    check_package,
    compare_manifest,
    is_source,
    make_target,
    manifest_text,
    marker_environment,
    missing_requirements,
    parse_lock,
    parse_manifest,
    release_id,
    releases_to_prune,
    select_requirements,
    split_requirements,
    tree_digest,
)

TARGET = Target("13", "x86_64")
A, B, C = "a" * 64, "b" * 64, "c" * 64


def requirement(name: str, version: str = "1.0", marker: str = "", hashes: tuple[str, ...] = (A,)) -> Requirement:
    """Return a locked requirement."""
    return Requirement(name, version, marker, hashes)


@pytest.mark.parametrize(
    ("path", "belongs"),
    [
        pytest.param("src/orders/app.py", True, id="a module"),
        pytest.param("src/orders/build/plan.py", True, id="a package that is called build"),
        pytest.param(".gitignore", True, id="a file that starts with a dot"),
        pytest.param("src/orders/__pycache__/app.cpython-313.pyc", False, id="compiled"),
        pytest.param("src/orders/app.pyc", False, id="compiled, elsewhere"),
        pytest.param("src/orders.egg-info/PKG-INFO", False, id="written by setuptools"),
        pytest.param("build/lib/orders/app.py", False, id="written by a build"),
        pytest.param("dist/orders-1.0.tar.gz", False, id="the result of a build"),
        pytest.param(".venv/bin/python", False, id="an environment"),
        pytest.param(".mypy_cache/x.json", False, id="a cache"),
    ],
)
def test_source(path: str, belongs: bool) -> None:
    assert is_source(path) is belongs


FILES = [SourceFile("a.py", False, A), SourceFile("run", True, B)]


def test_the_order_of_files_does_not_matter() -> None:
    assert tree_digest(FILES) == tree_digest(reversed(FILES))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(SourceFile("b.py", False, A), id="another path"),
        pytest.param(SourceFile("a.py", True, A), id="another mode"),
        pytest.param(SourceFile("a.py", False, C), id="another content"),
    ],
)
def test_every_part_of_a_file_counts(other: SourceFile) -> None:
    assert tree_digest([other, FILES[1]]) != tree_digest(FILES)


ID = release_id("orders", {"tree": A}, ["lock"], TARGET)


def test_the_same_inputs_have_the_same_name() -> None:
    assert release_id("orders", {"tree": A}, ["lock"], TARGET) == ID
    application, digest = ID.rsplit("-", 1)
    assert (application, len(digest), int(digest, 16) >= 0) == ("orders", 12, True)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(release_id("ledger", {"tree": A}, ["lock"], TARGET), id="another application"),
        pytest.param(release_id("orders", {"tree": B}, ["lock"], TARGET), id="another source"),
        pytest.param(release_id("orders", {"tree": A}, ["lock "], TARGET), id="another lock"),
        pytest.param(release_id("orders", {"tree": A}, ["lock"], replace(TARGET, debian="12")), id="another Debian"),
        pytest.param(
            release_id("orders", {"tree": A}, ["lock"], replace(TARGET, machine="aarch64")), id="another machine"
        ),
    ],
)
def test_every_input_counts(other: str) -> None:
    assert other.rpartition("-")[2] != ID.rpartition("-")[2]


LOCK = f"""\
# made by a tool
Flask_Login==0.6.3 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via orders
psycopg[binary]==3.3.9 ; python_version >= "3.11" --hash=sha256:{C}
"""


def test_lock() -> None:
    assert parse_lock(LOCK) == (
        Requirement("flask-login", "0.6.3", "", (A, B)),
        Requirement("psycopg", "3.3.9", 'python_version >= "3.11"', (C,)),
    )


def test_a_line_for_pip_has_no_marker() -> None:
    assert parse_lock(LOCK)[1].line == f"psycopg==3.3.9 --hash=sha256:{C}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("flask>=3", "'flask>=3' is not of the form", id="not exact"),
        pytest.param("flask==3.0", "flask==3.0 has no --hash", id="no hash"),
        pytest.param("-r other.txt", "'-r other.txt' is not of the form", id="an option"),
        pytest.param("./orders", "'./orders' is not of the form", id="a folder"),
        pytest.param("flask==3.0 --hash=md5:abc", "is not of the form", id="another kind of hash"),
    ],
)
def test_no_lock(text: str, said: str) -> None:
    with pytest.raises(ReleaseError, match=said.replace("(", r"\(")):
        parse_lock(text)


def test_markers_are_judged_for_the_target() -> None:
    environment = marker_environment(Target("12", "x86_64"))
    assert (environment["python_version"], environment["sys_platform"]) == ("3.11", "linux")
    both = [requirement("always"), requirement("sometimes", marker="yes"), requirement("never", marker="no")]
    assert [entry.name for entry in select_requirements(both, lambda marker: marker == "yes")] == [
        "always",
        "sometimes",
    ]


def test_only_what_the_cache_lacks_is_missing() -> None:
    both = [requirement("here", hashes=(A, B)), requirement("away", hashes=(C,))]
    assert [entry.name for entry in missing_requirements(both, {B})] == ["away"]


PROJECT = {"build-system": {"requires": ["setuptools>=77"]}, "project": {"dependencies": ["flask>=3"]}}


@pytest.mark.parametrize(
    ("project", "installed"),
    [
        pytest.param(PROJECT, ["flask"], id="what only builds is left out"),
        pytest.param({}, ["flask"], id="setuptools builds where nothing is said"),
        pytest.param(
            {**PROJECT, "project": {"dependencies": ["Setuptools"]}}, ["flask", "setuptools"], id="what runs too stays"
        ),
    ],
)
def test_split(project: dict[str, object], installed: list[str]) -> None:
    kept, _building = split_requirements([requirement("flask"), requirement("setuptools")], project)
    assert [entry.name for entry in kept] == installed


def test_what_builds_must_be_locked() -> None:
    with pytest.raises(ReleaseError, match="requires hatchling, which the lock doesn't hold"):
        split_requirements([requirement("flask")], {"build-system": {"requires": ["hatchling"]}})


@pytest.mark.parametrize(
    ("package", "version", "said"),
    [
        pytest.param("ara[server]", "1.8.0", None, id="as locked"),
        pytest.param("ara[server]", "1.7.0", "version is 1.7.0, and the lock holds ara==1.8.0", id="another version"),
        pytest.param("flask", "3.0", "package flask is not in the lock", id="not locked"),
    ],
)
def test_package(package: str, version: str, said: str | None) -> None:
    locked = [requirement("ara", "1.8.0")]
    if said is None:
        check_package(package, version, locked)
        return
    with pytest.raises(ReleaseError, match=said):
        check_package(package, version, locked)


def test_target() -> None:
    target = make_target("12", "aarch64")
    assert (target.python, target.suite, target.abi) == ("3.11", "bookworm", "cp311")
    assert target.platforms[0] == "manylinux_2_36_aarch64"
    assert "manylinux2014_aarch64" in target.platforms
    with pytest.raises(ReleaseError, match="Debian 11 is not supported; releases are built for Debian 12 and 13"):
        make_target("11", "x86_64")


MANIFEST_OF_TWO = Manifest("orders-1", {"bin/run": A}, {"lib64": "lib"}, {"recipe": 1})


def test_manifest_comes_back() -> None:
    assert parse_manifest(manifest_text(MANIFEST_OF_TWO)) == MANIFEST_OF_TWO


@pytest.mark.parametrize(
    ("files", "links", "wrong"),
    [
        pytest.param({"bin/run": A, "manifest.json": C}, {"lib64": "lib"}, None, id="as it should be"),
        pytest.param({"bin/run": B}, {"lib64": "lib"}, "bin/run", id="another content"),
        pytest.param({}, {"lib64": "lib"}, "bin/run", id="a file is missing"),
        pytest.param({"bin/run": A, "bin/more": A}, {"lib64": "lib"}, "bin/more", id="a file too many"),
        pytest.param({"bin/run": A}, {"lib64": "/tmp"}, "lib64", id="a link leads elsewhere"),
    ],
)
def test_manifest(files: dict[str, str], links: dict[str, str], wrong: str | None) -> None:
    if wrong is None:
        compare_manifest(MANIFEST_OF_TWO, files, links)
        return
    with pytest.raises(ReleaseError, match=f"orders-1 differs from its manifest in {wrong}"):
        compare_manifest(MANIFEST_OF_TWO, files, links)


@pytest.mark.parametrize(
    ("path", "aim", "fits"),
    [
        pytest.param("lib/python3.13/site.py", "", True, id="a file"),
        pytest.param("lib64", "lib", True, id="a link inside"),
        pytest.param("bin/python3", "/usr/bin/python3", True, id="the system's Python"),
        pytest.param("bin/sh", "/bin/sh", False, id="another program of the system"),
        pytest.param("../etc/passwd", "", False, id="outside"),
        pytest.param("/etc/passwd", "", False, id="absolute"),
        pytest.param("bin/up", "../../etc", False, id="a link outside"),
    ],
)
def test_members_stay_inside(path: str, aim: str, fits: bool) -> None:
    if fits:
        check_member(path, aim)
        return
    with pytest.raises(ReleaseError, match="leads outside the release"):
        check_member(path, aim)


@pytest.mark.parametrize(
    ("present", "used", "keep", "pruned"),
    [
        pytest.param(["a-3", "a-2", "a-1"], [], 2, ("a-1",), id="the oldest goes"),
        pytest.param(["a-3", "a-2", "a-1"], ["a-1"], 2, (), id="what a slot holds stays"),
        pytest.param(["a-3", "b-2", "a-1", "b-0"], [], 1, ("a-1", "b-0"), id="each application for itself"),
        pytest.param(["two-words-2", "two-words-1"], [], 2, (), id="a name with hyphens"),
    ],
)
def test_prune(present: list[str], used: list[str], keep: int, pruned: tuple[str, ...]) -> None:
    assert releases_to_prune(present, used, keep) == pruned
