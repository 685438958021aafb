# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A git repository's tree at one commit, fetched on the controller by the user's own git and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.given_source import explain_fetch, is_commit
from ansible_collections.nectar.backend.plugins.module_utils.releases import ReleaseError

# No question on a terminal that nobody sees; messages as they are looked for; a server that falls silent is given up.
ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
PATIENCE = ["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"]


@dataclass(frozen=True)
class Checkout:
    """A commit, and the folder that holds its tree."""

    commit: str
    directory: str


Fetcher = Callable[[Mapping[str, str]], Checkout]


def git_fetcher(module: Any, cache: str) -> Fetcher:
    """Return what brings a git source's tree into the cache, with a fetch no deeper than the commit itself."""

    def fetch(source: Mapping[str, str]) -> Checkout:
        git = module.get_bin_path("git")
        if git is None:
            raise ReleaseError(f"git is not installed on this machine, and the source is {source['git']}; install git")
        revision = source["revision"]
        trees = os.path.join(cache, "trees")
        if is_commit(revision) and os.path.isdir(os.path.join(trees, revision)):
            return Checkout(revision, os.path.join(trees, revision))
        repository = os.path.join(cache, "git", _digest(source["git"]))
        commit = _fetch_commit(module, git, repository, source)
        return Checkout(commit, _unpack(module, [git, "--git-dir", repository], commit, trees))

    return fetch


def _fetch_commit(module: Any, git: str, repository: str, source: Mapping[str, str]) -> str:
    if not os.path.isdir(repository):
        _run(module, [git, "init", "--quiet", "--bare", repository])
    command = [git, "--git-dir", repository]
    # A name of its own for each revision: two runs at once don't take each other's.
    name = f"refs/nectar/{_digest(source['revision'])}"
    options = ["--quiet", "--depth=1", "--no-tags", "--force"]
    code, _out, said = module.run_command(
        [*command, *PATIENCE, "fetch", *options, source["git"], f"{source['revision']}:{name}"],
        environ_update=ENVIRONMENT,
    )
    if code:
        raise ReleaseError(explain_fetch(source, said))
    return _run(module, [*command, "rev-parse", "--verify", f"{name}^{{commit}}"]).strip()


def _unpack(module: Any, command: list[str], commit: str, trees: str) -> str:
    """Lay a commit's tree out, whole or not at all."""
    directory = os.path.join(trees, commit)
    if os.path.isdir(directory):
        return directory
    os.makedirs(trees, 0o755, exist_ok=True)
    draft = tempfile.mkdtemp(prefix=".", dir=trees)
    try:
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            _run(module, [*command, "archive", "--format=tar", f"--output={archive.name}", commit])
            with tarfile.open(archive.name) as tree:
                tree.extractall(draft, filter="data")
        os.replace(draft, directory)
    except tarfile.TarError as error:
        raise ReleaseError(f"commit {commit} can't be laid out: {error}") from error
    except OSError:
        # Another run may have been quicker; its tree is the same.
        if not os.path.isdir(directory):
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return directory


def _run(module: Any, command: list[str]) -> str:
    code, out, said = module.run_command(command, environ_update=ENVIRONMENT)
    if code:
        raise ReleaseError(f"git {' '.join(command[1:4])} ended with {code}: {said.strip() or 'no message'}")
    return str(out)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
