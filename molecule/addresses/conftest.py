# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults begin in a lab in which every deployment answers, and end in one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from client import eventually
from environment import ELSEWHERE, NOBODY, Environment
from faults import names
from figures import pytest_terminal_summary  # noqa: F401 (pytest looks for its hooks here)
from lab import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def environment(lab: Lab) -> Environment:
    return Environment(lab)


@pytest.fixture(scope="session", autouse=True)
def everything_serves(lab: Lab) -> Iterator[None]:
    assert eventually(lab.all_well, 120)
    yield
    assert eventually(lab.all_well, 120)


@pytest.fixture(scope="session")
def wrong_names(lab: Lab, environment: Environment) -> Iterator[None]:
    """DNS has a stale record for bob, a name with two faces, and a zone that it can't get; until the end, for it takes two plays."""
    spare, front = environment.spare, {"name": "front", "type": "A"}
    outside = [{**front, "value": spare(ELSEWHERE), "replace": True}]
    with names(
        lab,
        name_server_extra_records=[
            {"name": "bob", "type": "A", "value": spare(NOBODY), "replace": True},
            {**front, "value": environment.virtual_address},
        ],
        name_server_views=[{"name": "outside", "clients": [environment.controller], "records": outside}],
        name_server_zones=[{"name": "broken.test", "primaries": [spare(NOBODY)]}],
    ):
        yield
