# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users and folders of deployments, and numbers that somebody else has."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.deployment_accounts import (
    DeploymentAccountsError,
    Folder,
    departed,
    plan_folders,
    plan_users,
)

PRODUCTION = {"name": "production", "user": "nb-production", "uid": 30001, "application": "orders"}
SHARED = {"production": "/state/deployments/production/shared"}


@pytest.mark.parametrize(
    ("users", "groups", "commands"),
    [
        pytest.param({}, {}, ["groupadd", "useradd"], id="nothing there"),
        pytest.param({}, {"nb-production": 30001}, ["useradd"], id="the group is there"),
        pytest.param({"nb-production": 30001}, {"nb-production": 30001}, [], id="all there"),
    ],
)
def test_users(users: dict[str, int], groups: dict[str, int], commands: list[str]) -> None:
    assert [command[0] for command in plan_users([PRODUCTION], users, groups, SHARED)] == commands


@pytest.mark.parametrize(
    ("users", "groups", "said"),
    [
        pytest.param(
            {"nb-production": 999},
            {},
            "user nb-production has uid 999 on this server instead of 30001",
            id="another uid",
        ),
        pytest.param(
            {"eve": 30001}, {}, "uid 30001, which nb-production needs, belongs to eve", id="a uid that is taken"
        ),
        pytest.param(
            {}, {"eve": 30001}, "gid 30001, which nb-production needs, belongs to eve", id="a gid that is taken"
        ),
    ],
)
def test_numbers_never_change(users: dict[str, int], groups: dict[str, int], said: str) -> None:
    with pytest.raises(DeploymentAccountsError, match=said):
        plan_users([PRODUCTION], users, groups, SHARED)


def test_folders() -> None:
    folders = plan_folders([PRODUCTION], {"orders": {"shared_paths": ["uploads/big"]}}, "/state", "/etc/nectar", SHARED)
    shared = SHARED["production"]
    assert folders[3:] == (
        Folder("/state/deployments/production", 0o755, "root", "root"),
        Folder("/etc/nectar/production", 0o750, "root", "nb-production"),
        Folder(shared, 0o750, "nb-production", "nb-production"),
        Folder(f"{shared}/uploads", 0o750, "nb-production", "nb-production"),
        Folder(f"{shared}/uploads/big", 0o750, "nb-production", "nb-production"),
    )


def test_who_left_is_named() -> None:
    assert departed(["production", "frank"], [PRODUCTION]) == ("frank",)
