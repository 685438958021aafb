# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a release is made of, read from the controller's disk."""

from __future__ import annotations

import gzip
import os
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.given_source import FORMS, WHEEL_NAME, lock_name
from ansible_collections.nectar.backend.plugins.module_utils.release_files import BLOCK, file_sha256
from ansible_collections.nectar.backend.plugins.module_utils.release_git import Fetcher
from ansible_collections.nectar.backend.plugins.module_utils.releases import (
    ReleaseError,
    Requirement,
    SourceFile,
    Target,
    check_package,
    is_source,
    parse_lock,
    release_id,
    tree_digest,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text

# Names the files of a source folder from its root; no names mean that it can't tell.
Lister = Callable[[str], list[str]]


@dataclass(frozen=True)
class Inputs:
    """A release by its name, and where its source and its lock lie."""

    release: str
    source: Mapping[str, str]
    lock: str


def describe_release(
    name: str, application: Mapping[str, Any], target: Target, lister: Lister, fetcher: Fetcher
) -> Inputs:
    """Name the release that an application's source would become; `fetcher` brings what lies in a git repository."""
    try:
        source = find_source(application["source"], fetcher)
    except ReleaseError as error:
        forms = f"; expected {FORMS}" if application.get("given") else ""
        raise ReleaseError(f"application {name}: {error}{forms}") from error
    lock_path = find_lock(application, source)
    if not lock_path:
        raise ReleaseError(
            f"application {name}: lock is missing; name a file of hashed requirements, as uv pip compile --generate-hashes writes it"
        )
    lock = read_text(lock_path)
    if lock is None:
        raise ReleaseError(
            f"application {name}: lock {lock_path} doesn't exist; make it with: uv pip compile --generate-hashes -o {lock_path}"
        )
    try:
        described = _describe_source(source, parse_lock(lock), lister)
    except (ReleaseError, OSError) as error:
        # What a person gave for one run is seldom in the application's own lock.
        way = "; or name a lock that holds it: -e lock=FILE" if application.get("given") and "package" in source else ""
        raise ReleaseError(f"application {name}, lock {lock_path}: {error}{way}") from error
    return Inputs(release_id(name, described, [lock], target), source, lock_path)


def find_source(source: Mapping[str, str], fetcher: Fetcher) -> dict[str, str]:
    """Return a source that is there; one in a git repository with its commit, and the folder that holds it."""
    if "git" in source:
        checkout = fetcher(source)
        directory = os.path.join(checkout.directory, source.get("subdirectory", "")).rstrip("/")
        source = {**source, "commit": checkout.commit, "directory": directory}
        if not os.path.isdir(directory):
            raise ReleaseError(
                f"source {source['git']}@{source['revision']} has no folder {source['subdirectory']}; correct subdirectory"
            )
    elif "directory" in source and not os.path.isdir(source["directory"]):
        raise ReleaseError(f"source {source['directory']} is no folder that exists; correct the path")
    elif "wheel" in source and not WHEEL_NAME.fullmatch(os.path.basename(source["wheel"])):
        raise ReleaseError(
            f"source {source['wheel']} is not named as a wheel is, name-version-python-abi-platform.whl; "
            "name the file that a build wrote, as it was written"
        )
    elif "wheel" in source and not zipfile.is_zipfile(source["wheel"]):
        raise ReleaseError(
            f"source {source['wheel']} doesn't exist or is no wheel; build it with: python -m build --wheel"
        )
    return dict(source)


def find_lock(application: Mapping[str, Any], source: Mapping[str, str]) -> str | None:
    """Return the lock that counts: a git source's own, or a given folder's, where it has one, else the application's."""
    own = application.get("own_lock") or (lock_name(application) if "git" in source else "")
    inside = os.path.join(source["directory"], own) if own and "directory" in source else ""
    return inside if inside and os.path.exists(inside) else application.get("lock")


def _describe_source(
    source: Mapping[str, str], requirements: tuple[Requirement, ...], lister: Lister
) -> dict[str, str]:
    if "commit" in source:
        check_project(source["directory"])
        return {key: source[key] for key in ("commit", "subdirectory") if key in source}
    if "directory" in source:
        return {"tree": directory_digest(source["directory"], lister)}
    if "wheel" in source:
        return {"wheel": os.path.basename(source["wheel"]), "sha256": file_sha256(source["wheel"])}
    check_package(source["package"], source["version"], requirements)
    return {"package": source["package"], "version": source["version"]}


def check_project(directory: str) -> None:
    """Refuse a folder that nothing can be built from."""
    if not os.path.exists(os.path.join(directory, "pyproject.toml")):
        raise ReleaseError(f"source {directory} has no pyproject.toml; name the folder of a Python project")


def directory_digest(directory: str, lister: Lister) -> str:
    """Return the digest of a source tree."""
    check_project(directory)
    return tree_digest(
        SourceFile(path, os.access(os.path.join(directory, path), os.X_OK), file_sha256(os.path.join(directory, path)))
        for path in source_paths(directory, lister)
    )


def source_paths(directory: str, lister: Lister) -> list[str]:
    """Return the files of a source tree, without what git ignores and what tools leave behind."""
    listed = lister(directory)
    paths = listed or list(_walk(directory))
    return sorted(path for path in paths if is_source(path) and os.path.isfile(os.path.join(directory, path)))


def list_all(directory: str) -> list[str]:
    """Leave nothing out: what is in a commit is there on purpose."""
    return list(_walk(directory))


def git_lister(module: Any) -> Lister:
    """Return what asks git which files of a folder it doesn't ignore; nothing where there is no git, or no repository."""
    git = module.get_bin_path("git")

    def list_paths(directory: str) -> list[str]:
        if git is None:
            return []
        command = [git, "-C", directory, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        code, out, _error = module.run_command(command)
        return [] if code else [path for path in out.split("\0") if path]

    return list_paths


def _walk(directory: str) -> Iterator[str]:
    for folder, _folders, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), directory)


def read_project(directory: str) -> dict[str, Any]:
    """Return a project's pyproject.toml."""
    path = os.path.join(directory, "pyproject.toml")
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except tomllib.TOMLDecodeError as error:
        raise ReleaseError(f"{path} can't be read: {error}") from error


def cache_directory(environ: Mapping[str, str]) -> str:
    """Return where this collection keeps what it can make again."""
    return os.path.join(environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "nectar")


def archive_path(cache: str, release: str) -> str:
    """Return where a built release lies on the controller."""
    return os.path.join(cache, "releases", f"{release}.tar.gz")


def is_whole(path: str) -> bool:
    """Say whether an archive is there from its first byte to its last: a fetch may have been cut short."""
    try:
        with gzip.open(path) as stream:
            while stream.read(BLOCK):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True
