# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text files that a reader sees as they were or as they are to be, never in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

# For os.chown: leave the owner as it is.
UNCHANGED = -1


def read_text(path: str) -> str | None:
    """Return the file's text, or nothing where there is no file."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def replace_text(
    path: str,
    text: str,
    mode: int = 0o644,
    owner: tuple[int, int] = (UNCHANGED, UNCHANGED),
    check: Callable[[str], None] | None = None,
) -> None:
    """Write a draft beside the file, let `check` judge it by its path, and put it in the file's place."""
    target = os.path.realpath(path)
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=os.path.dirname(target))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchown(handle, *owner)
            os.fchmod(handle, mode)
            stream.write(text)
            stream.flush()
            os.fsync(handle)
        if check is not None:
            check(draft)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
