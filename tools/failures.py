# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say in a few lines what failed in a run of Molecule: `tools/failures.py tests.xml log`; the first need not be there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

WIDTH, MOST = 400, 12


def main() -> None:
    """Show failed tests with what they said; without any the last tasks that failed, or else why no test began."""
    report, log = map(Path, sys.argv[1:])
    lines = failed_tests(ElementTree.parse(report).getroot()) if report.exists() else []
    text = log.read_text(errors="replace")
    print("\n".join((lines or failed_tasks(text) or errors(text))[-MOST:]))


def failed_tests(report: ElementTree.Element) -> list[str]:
    """One line for each test, its message's first and last words in it, and then the tasks of a playbook that failed in it."""
    return [
        line
        for case in report.iter("testcase")
        for problem in (*case.iter("failure"), *case.iter("error"))
        for line in (
            f"  {case.get('classname')}::{case.get('name')}: {shorten(explained(problem))}",
            *(f"    {line}" for line in failed_tasks(explained(problem))),
        )
    ]


def explained(problem: ElementTree.Element) -> str:
    """What pytest says of a failure: its message is cut where it is long, the report's lines that begin with E are not."""
    lines = [line[1:].strip() for line in (problem.text or "").splitlines() if line.startswith("E ")]
    return "\n".join(lines) or problem.get("message") or ""


def failed_tasks(log: str) -> list[str]:
    """The lines at which Ansible gave up on a host, and what follows each."""
    lines = plain(log)
    return [
        shorten(" ".join(lines[n : n + 8])) for n, line in enumerate(lines) if re.match(r"(fatal|failed): \[", line)
    ]


def errors(log: str) -> list[str]:
    """What pytest printed of the errors that kept it from collecting tests, or the last lines where it printed none."""
    lines = [line for line in plain(log) if line]
    return [f"  {shorten(line)}" for line in lines if re.match(r"(E  |ERROR |ImportError )", line)] or lines


def plain(log: str) -> list[str]:
    """The lines of a log of Molecule without colours and frames."""
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).strip(" │") for line in log.splitlines()]


def shorten(text: str) -> str:
    """On one line, the middle left out where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH // 2]} … {text[-WIDTH // 2 :]}"


if __name__ == "__main__":
    main()
