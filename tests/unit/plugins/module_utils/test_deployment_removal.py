# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes with a deployment, and what stays because another one needs it."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.deployment_removal import (
    Present,
    Removal,
    RemovalError,
    plan_removal,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import Content, Record


def record(name: str, *releases: str) -> Record:
    slots = dict(zip(("blue", "green"), (Content(release, "r") for release in releases), strict=False))
    return Record(name, "blue", 1, None, slots)


UNITS = [
    "nectar-grace-blue.target",
    "nectar-grace-migrate.service",
    "nectar-alice-blue.target",
    "nectar-identity.service",
]
IDS = {"nb-grace": 30007, "nb-alice": 30001}


@pytest.mark.parametrize(
    ("records", "releases"),
    [
        pytest.param({"grace": record("grace", "orders-1"), "alice": record("alice", "orders-1")}, (), id="shared"),
        pytest.param(
            {"grace": record("grace", "orders-1", "orders-2"), "alice": record("alice", "orders-2")},
            ("orders-1",),
            id="its own",
        ),
        pytest.param({"grace": record("grace", "gone-1")}, (), id="not installed any more"),
        pytest.param({"alice": record("alice", "orders-1")}, (), id="without a record"),
    ],
)
def test_what_goes(records: dict[str, Record], releases: tuple[str, ...]) -> None:
    present = Present(UNITS, records, ["orders-1", "orders-2"], IDS, IDS)
    assert plan_removal("grace", "nb-grace", 30007, present) == Removal(tuple(UNITS[:2]), releases, True, True)


def test_nothing_is_there() -> None:
    assert plan_removal("grace", "nb-grace", 30007, Present([], {}, [], {}, {})) == Removal((), (), False, False)


def test_units_of_a_longer_name_stay() -> None:
    present = Present(["nectar-my-green-app-web.service"], {"my-green-app": record("my-green-app")}, [], {}, {})
    assert plan_removal(
        "my", "nb-my", 30009, Present([*present.units, "nectar-my-green-app-blue.target"], {}, [], {}, {})
    ).units == ("nectar-my-green-app-web.service",)


def test_a_user_of_another_id_is_refused() -> None:
    with pytest.raises(RemovalError, match="user nb-grace has the id 1000 here instead of 30007"):
        plan_removal("grace", "nb-grace", 30007, Present([], {}, [], {"nb-grace": 1000}, {}))
