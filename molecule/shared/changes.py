# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of a playbook changed, or would change, as it printed it."""

from __future__ import annotations

import re

Changes = set[tuple[str, str, str]]

_LINE = re.compile(
    r"^(?:(?P<kind>PLAY|TASK|RUNNING HANDLER) \[(?P<name>.*)\] \*+|changed: \[(?P<host>[^\s\]]+).*)$", re.MULTILINE
)


def read_changes(shown: str) -> Changes:
    """Return play, task and host of each line that says `changed`."""
    found, play, task = set(), "", ""
    for line in _LINE.finditer(shown):
        if line["host"]:
            found.add((play, task, line["host"]))
        elif line["kind"] == "PLAY":
            play, task = line["name"], ""
        else:
            task = line["name"]
    return found
