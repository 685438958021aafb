# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rollouts begin in a lab in which every deployment answers, and end in one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from client import eventually
from figures import pytest_terminal_summary  # noqa: F401 (pytest looks for its hooks here)
from lab import Lab
from releases import Releases


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session", autouse=True)
def everything_serves(lab: Lab) -> Iterator[None]:
    assert eventually(lab.all_well, 120)
    yield
    assert eventually(lab.all_well, 120)


@pytest.fixture
def alice(lab: Lab, tmp_path: Path) -> Releases:
    return Releases(lab, "alice", tmp_path)


@pytest.fixture
def carol(lab: Lab, tmp_path: Path) -> Releases:
    (tmp_path / "carol").mkdir()
    return Releases(lab, "carol", tmp_path / "carol")


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Runs that go on beside what a test waits for."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
