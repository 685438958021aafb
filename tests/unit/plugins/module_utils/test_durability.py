# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.durability import find_weakened, losing_parameters


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        pytest.param({}, [], id="nothing said"),
        pytest.param({"synchronous_commit": "on", "fsync": True, "full_page_writes": "yes"}, [], id="all safe"),
        pytest.param({"synchronous_commit": "remote_apply"}, [], id="stronger"),
        pytest.param({"synchronous_commit": None}, [], id="taken away"),
        pytest.param(
            {"synchronous_commit": "Local"}, ["synchronous_commit is local, expected on or remote_apply"], id="weaker"
        ),
        pytest.param(
            {"synchronous_commit": "remote_write"},
            ["synchronous_commit is remote_write, expected on or remote_apply"],
            id="a standby's memory is no disk",
        ),
        pytest.param({"fsync": False}, ["fsync is off, expected on"], id="a truth value of YAML"),
        pytest.param({"full_page_writes": 0}, ["full_page_writes is off, expected on"], id="a number"),
        pytest.param(
            {"fsync": "'off'", "synchronous_commit": "off"},
            ["synchronous_commit is off, expected on or remote_apply", "fsync is off, expected on"],
            id="all at once",
        ),
    ],
)
def test_losing_parameters(parameters: dict[str, Any], says: list[str]) -> None:
    assert losing_parameters(parameters) == says


@pytest.mark.parametrize(
    ("role", "database", "value", "says"),
    [
        pytest.param("alice", "", "off", ("the role alice has synchronous_commit off",), id="a role"),
        pytest.param("", "alice", "local", ("the database alice has synchronous_commit local",), id="a database"),
        pytest.param(
            "alice",
            "bob",
            "remote_write",
            ("the role alice in the database bob has synchronous_commit remote_write",),
            id="a role in a database",
        ),
        pytest.param("", "", "off", ("every role has synchronous_commit off",), id="all of them"),
        pytest.param("alice", "", "true", (), id="as safe as can be"),
        pytest.param("alice", "", "remote_apply", (), id="safer"),
    ],
)
def test_find_weakened(role: str, database: str, value: str, says: tuple[str, ...]) -> None:
    assert find_weakened([{"role": role, "database": database, "value": value}]) == says
