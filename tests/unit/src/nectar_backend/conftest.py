# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ansible-runner said in real runs; recorded/results.yml.txt is the playbook of one of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Events = list[dict[str, Any]]
RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def recorded() -> Callable[[str], Events]:
    def load(name: str) -> Events:
        events: Events = json.loads((RECORDED / f"{name}.json").read_text())
        return events

    return load
