# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each loss begins with a lab in which every deployment answers, and ends with one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from client import eventually
from figures import pytest_terminal_summary  # noqa: F401 (pytest looks for its hooks here)
from lab import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def everything_served(lab: Lab) -> None:
    assert eventually(lab.all_well, 120)


@pytest.fixture(autouse=True)
def everything_serves(lab: Lab, everything_served: None) -> Iterator[None]:
    """Asked after each: what one test leaves is what the next begins with."""
    yield
    assert eventually(lab.all_well, 120)
