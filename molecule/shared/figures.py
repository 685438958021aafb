# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tests measured and printed is shown at the end, also of those that passed: no test asserts a time."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Hook of pytest; a conftest.py that imports it has it."""
    passed = terminalreporter.getreports("passed")
    if printed := [report for report in passed if report.when == "call" and report.capstdout.strip()]:
        terminalreporter.section("figures", sep="-")
    for report in printed:
        terminalreporter.line(f"{report.location[2]}: {report.capstdout.strip()}")
