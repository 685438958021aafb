# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host's folders and files are to be, and in what they differ from what is there."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class HostFilesError(ValueError):
    """Folders or files that make no sense, or that can't be had on this host."""


@dataclass(frozen=True)
class Entry:
    """A folder, or a file with its content, as it is to be; what is None is left as it is."""

    path: str
    mode: int
    owner: str | None = None
    group: str | None = None
    # None says that this is a folder.
    content: str | None = None
    # The command that judges a draft of the file, with %s for its path.
    validate: str | None = None
    # A file that is only begun: what is there already stays as it is.
    begin: bool = False


@dataclass(frozen=True)
class Found:
    """What is at a path now; the content of a file alone, and names of users and groups as the host tells them."""

    mode: int
    owner: str
    group: str
    content: str | None = None


def read_entries(folders: Sequence[Mapping[str, Any]], files: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Say what is wanted, folders first; refuse all that makes no sense at once."""
    given = [("folders", folder) for folder in folders] + [("files", file) for file in files]
    problems = [problem for kind, values in given for problem in find_problems(kind, values)]
    counts = Counter(values["path"] for _kind, values in given)
    problems += [f"{path}: named {count} times; name it once" for path, count in counts.items() if count > 1]
    if problems:
        raise HostFilesError("; ".join(problems))
    return [Entry(**{**values, "mode": int(values["mode"], 8)}) for _kind, values in given]


def find_problems(kind: str, values: Mapping[str, Any]) -> list[str]:
    """Name what can't be meant in one entry."""
    path = values["path"]
    problems = []
    if not path.startswith("/") or os.path.normpath(path) != path:
        problems.append(f"{kind}: {path}: expected an absolute path without ., .. or a slash at its end")
    if not re.fullmatch(r"0?[0-7]{3,4}", values["mode"]):
        problems.append(
            f"{kind}: {path}: mode: found {values['mode']!r}, expected octal digits in quotes, such as '0644'"
        )
    if "%s" not in (values.get("validate") or "%s"):
        problems.append(f"{kind}: {path}: validate: {values['validate']!r} has no %s, where the draft's path goes")
    return problems


def find_differences(wanted: Entry, found: Found | None) -> list[str]:
    """Say in what a path differs from what is wanted: its content, mode, owner or group, or all of it."""
    if found is None:
        return ["missing"]
    differences = []
    if wanted.content is not None and not wanted.begin and wanted.content != found.content:
        differences.append("content")
    if wanted.mode != found.mode:
        differences.append("mode")
    differences += [name for name in ("owner", "group") if getattr(wanted, name) not in (None, getattr(found, name))]
    return differences


def show_difference(wanted: Entry, found: Found | None, differences: Sequence[str]) -> dict[str, str]:
    """Show one path before and after, as Ansible's diff does."""
    before, after = describe(found), describe(wanted)
    if wanted.content is None or not {"missing", "content"} & set(differences):
        lines = {name: (before.get(name, "absent"), after[name]) for name in after if name in differences or not found}
        texts = ["".join(f"{name}: {pair[side]}\n" for name, pair in lines.items()) for side in (0, 1)]
    else:
        texts = [found.content or "" if found else "", wanted.content]
    return {"before_header": wanted.path, "after_header": wanted.path, "before": texts[0], "after": texts[1]}


def describe(state: Entry | Found | None) -> dict[str, str]:
    """Name the mode, and the owner and group where they matter."""
    if state is None:
        return {}
    named = {"mode": f"{state.mode:04o}", "owner": state.owner, "group": state.group}
    return {name: value for name, value in named.items() if value is not None}
