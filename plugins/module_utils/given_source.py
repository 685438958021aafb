# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a release comes from, in words that a person types: a folder, git's URL and revision, a wheel, or a package and its version."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ansible_collections.nectar.backend.plugins.module_utils.releases import ReleaseError

GIT = "git+"
WHEEL = ".whl"
SCHEMES = ("https", "ssh", "file", "http", "git")
DEFAULT_LOCK = "requirements.txt"
FORMS = "a folder, git+URL@revision, a file that ends in .whl, or package==version"

PACKAGE = re.compile(
    r"(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]+\])?)\s*==\s*(?P<version>[A-Za-z0-9][A-Za-z0-9.+!_-]*)"
)
WHEEL_NAME = re.compile(r"[^-/]+-[^-/]+(-\d[^-/]*)?-[^-/]+-[^-/]+-[^-/]+\.whl")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# A name with a password, or a token, before a host.
LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a source: the field, what was found and expected, and what to do."""

    field: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}; expected {self.expected}. {self.remedy}"


def parse_release(text: str, folder: str) -> dict[str, str]:
    """Read a source as the registry would spell it; paths begin at `folder`."""
    given = text.strip()
    if given.startswith(GIT):
        return _parse_git(given)
    if given.endswith(WHEEL):
        return {"wheel": _absolute(given, folder)}
    if found := PACKAGE.fullmatch(given):
        return {"package": found["package"].replace(" ", ""), "version": found["version"]}
    if "://" in given or re.match(r"[^/]+@[^/]+:", given):
        where = without_login(given)
        raise ReleaseError(f"release is {where}; expected {FORMS}. Write it as git+https://HOST/PATH@REVISION")
    if "==" in given and not given.startswith((".", "/", "~")):
        raise ReleaseError(
            f"release is {given}; expected {FORMS}. A package is written as name==1.2, or name[extra]==1.2"
        )
    return {"directory": _absolute(given, folder)}


def _parse_git(text: str) -> dict[str, str]:
    url, _hash, fragment = text.removeprefix(GIT).partition("#")
    parts = urlsplit(url)
    path, sign, revision = parts.path.rpartition("@")
    source = {"git": parts._replace(path=path if sign else parts.path).geturl(), "revision": revision if sign else ""}
    # urlsplit takes file:///path for file:/path, and git wants both slashes.
    if parts.scheme == "file" and not source["git"].startswith("file://"):
        source["git"] = source["git"].replace("file:", "file://", 1)
    subdirectory = parse_qs(fragment).get("subdirectory", [""])[0]
    if fragment and not subdirectory:
        raise ReleaseError(
            f"release is {without_login(text)}; expected nothing after # but subdirectory=FOLDER. Write it as "
            "git+URL@REVISION#subdirectory=FOLDER, or leave it out"
        )
    source |= {"subdirectory": subdirectory} if subdirectory else {}
    if flaws := git_flaws(source):
        raise ReleaseError("\n".join(f"release is {without_login(text)}: {flaw}" for flaw in flaws))
    return source


def git_flaws(source: Mapping[str, str]) -> list[Flaw]:
    """Say what is wrong with a git source, never showing a login."""
    flaws = []
    parts = urlsplit(source["git"])
    shown = without_login(source["git"])
    if parts.scheme not in SCHEMES or not parts.path.strip("/") or (parts.scheme != "file" and not parts.hostname):
        flaws.append(
            Flaw(
                "git",
                f"git is {shown}",
                f"a URL with one of {', '.join(SCHEMES)}",
                "Write it as https://HOST/PATH, ssh://git@HOST/PATH or file:///PATH",
            )
        )
    elif parts.password or (parts.username and parts.scheme != "ssh"):
        flaws.append(
            Flaw(
                "git",
                f"git is {shown} with a login before the host",
                "a URL without one, for it would be shown and kept",
                "Leave it to git's own credential helper, or use ssh",
            )
        )
    revision = source.get("revision", "")
    if not REVISION.fullmatch(revision) or ".." in revision:
        found = f"revision is {revision}" if revision else "revision is missing"
        flaws.append(Flaw("revision", found, "a branch, a tag or a full commit", "Write it as URL@v1.2"))
    inner = source.get("subdirectory", ".")
    if inner.startswith("/") or posixpath.normpath(inner).split("/")[0] == "..":
        flaws.append(
            Flaw("subdirectory", f"subdirectory is {inner}", "a folder inside the repository", "Leave out / and ..")
        )
    return flaws


def without_login(text: str) -> str:
    """Return a text with URLs in it without their logins."""
    return LOGIN.sub("", text)


def is_commit(revision: str) -> bool:
    """Say whether a revision names one commit, whole, and can never mean another."""
    return COMMIT.fullmatch(revision) is not None


def replace_source(application: Mapping[str, Any], source: Mapping[str, str], lock: str) -> dict[str, Any]:
    """Return the application with another source; without a named `lock` the one in the source counts, else its own."""
    wanted = {} if lock else {"own_lock": lock_name(application)}
    return {**application, "source": dict(source), "lock": lock or application.get("lock"), "given": True, **wanted}


def lock_name(application: Mapping[str, Any]) -> str:
    """Return where a source of the application holds its lock, seen from its folder, if it holds one."""
    lock, directory = application.get("lock"), application["source"].get("directory")
    if not lock:
        return DEFAULT_LOCK
    is_inside = directory and lock.startswith(f"{directory.rstrip('/')}/")
    return os.path.relpath(lock, directory) if is_inside else os.path.basename(lock)


def describe_origin(source: Mapping[str, str]) -> str:
    """Say where a release comes from, for a person."""
    if "git" in source:
        inner = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
        commit = f" (commit {source['commit'][:12]})" if "commit" in source else ""
        return f"{GIT}{without_login(source['git'])}@{source['revision']}{inner}{commit}"
    if "package" in source:
        return f"{source['package']}=={source['version']}"
    return source.get("wheel") or source["directory"]


def explain_fetch(source: Mapping[str, str], said: str) -> str:
    """Say why git couldn't fetch a revision, and what to do."""
    url, lines = without_login(source["git"]), [line for line in without_login(said).splitlines() if line.strip()]
    if re.search(r"couldn't find remote ref|not our ref|no such remote ref|unadvertised object", said):
        return (
            f"revision {source['revision']} is no branch, tag or full commit of {url}; "
            f"see what there is with: git ls-remote {url}"
        )
    last = " ".join(lines[-3:]) or "git said nothing"
    return (
        f"git can't reach {url} from this machine: {last}. Check the address, the network and your access with: "
        f"git ls-remote {url}"
    )


def _absolute(path: str, folder: str) -> str:
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))
