# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases as trees and archives on a host's disk."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Mapping

from ansible_collections.nectar.backend.plugins.module_utils.releases import (
    MANIFEST,
    Manifest,
    ReleaseError,
    check_member,
    compare_manifest,
    manifest_text,
    parse_manifest,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text

BLOCK = 1 << 20
# Fast rather than small: an archive crosses the network once.
COMPRESSION = 3


def file_sha256(path: str) -> str:
    """Return a file's digest."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def tree_paths(directory: str) -> Iterator[str]:
    """Yield everything below a folder, folders before what they hold, in one order."""
    for folder, folders, names in os.walk(directory):
        folders.sort()
        here = os.path.relpath(folder, directory)
        for name in sorted([*folders, *names]):
            yield os.path.normpath(os.path.join(here, name))


def describe_tree(directory: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the digests of the files of a tree, and the aims of its links."""
    files, links = {}, {}
    for path in tree_paths(directory):
        full = os.path.join(directory, path)
        if os.path.islink(full):
            links[path] = os.readlink(full)
        elif os.path.isfile(full):
            files[path] = file_sha256(full)
    return files, links


def write_manifest(directory: str, release: str, inputs: Mapping[str, object]) -> None:
    """Say in the tree what it holds and what it was made of."""
    files, links = describe_tree(directory)
    replace_text(os.path.join(directory, MANIFEST), manifest_text(Manifest(release, files, links, inputs)))


def check_tree(directory: str) -> Manifest:
    """Refuse a tree that isn't what its manifest says."""
    text = read_text(os.path.join(directory, MANIFEST))
    if text is None:
        raise ReleaseError(f"{directory} has no {MANIFEST}; it isn't a release")
    manifest = parse_manifest(text)
    compare_manifest(manifest, *describe_tree(directory))
    return manifest


def pack_tree(directory: str, path: str) -> None:
    """Write an archive that is the same for the same tree: no dates, no owners, nothing writable."""
    draft = f"{path}.part"
    with (
        open(draft, "wb") as raw,
        gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in tree_paths(directory):
            archive.add(os.path.join(directory, name), name, recursive=False, filter=_without_circumstances)
    os.replace(draft, path)


def _without_circumstances(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    executable = member.isdir() or member.mode & stat.S_IXUSR
    member.mode = 0o555 if executable else 0o444
    return member


def unpack_tree(path: str, directory: str, folder_mode: int = 0o755) -> None:
    """Unpack an archive of files, folders and links below a folder; anything else is refused."""
    os.makedirs(directory)
    folders = [directory]
    with tarfile.open(path) as archive:
        for member in archive:
            check_member(member.name, member.linkname if member.issym() else "")
            target = os.path.join(directory, member.name)
            if member.isdir():
                os.mkdir(target)
                folders.append(target)
            elif member.issym():
                os.symlink(member.linkname, target)
            else:
                _unpack_file(archive, member, target)
    for folder in folders:
        os.chmod(folder, folder_mode)


def _unpack_file(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    content = archive.extractfile(member)
    if content is None:
        raise ReleaseError(f"archive member {member.name} is neither file, folder nor link")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "xb") as stream:
        shutil.copyfileobj(content, stream, BLOCK)
        os.fchmod(stream.fileno(), member.mode & 0o755)
