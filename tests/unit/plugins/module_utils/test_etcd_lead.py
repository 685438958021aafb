# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.etcd_lead import Heir, LeadError, plan_heirs

# Numbers of members take 64 bits, so the gateway writes them as texts.
DB1, DB2, DB3 = ({"ID": f"1719800000000000000{number}", "name": f"db{number}"} for number in (1, 2, 3))


def status(own: dict[str, Any], leader: dict[str, Any] | None) -> dict[str, Any]:
    """Answer as a member does; one that knows no leader leaves it out."""
    return {"header": {"member_id": own["ID"]}, **({"leader": leader["ID"]} if leader else {})}


@pytest.mark.parametrize(
    ("said", "members", "heirs"),
    [
        pytest.param(
            status(DB2, DB2), [DB3, DB2, DB1], (Heir("db1", DB1["ID"]), Heir("db3", DB3["ID"])), id="it leads"
        ),
        pytest.param(status(DB2, DB1), [DB1, DB2, DB3], (), id="another leads"),
        pytest.param(status(DB2, None), [DB1, DB2, DB3], (), id="nobody leads"),
        pytest.param(status(DB1, DB1), [DB1], (), id="it is alone"),
        pytest.param(
            status(DB1, DB1),
            [DB1, {"ID": DB2["ID"]}, {**DB3, "isLearner": True}],
            (),
            id="one never started, another has no vote",
        ),
    ],
)
def test_plan_heirs(said: dict[str, Any], members: list[dict[str, Any]], heirs: tuple[Heir, ...]) -> None:
    assert plan_heirs(said, {"members": members}) == heirs


@pytest.mark.parametrize(
    ("said", "listing"),
    [({}, {"members": []}), (status(DB1, DB1), {}), (status(DB1, DB1), {"members": [{}]}), ({"header": None}, {})],
)
def test_plan_heirs_refuses_what_it_does_not_know(said: dict[str, Any], listing: dict[str, Any]) -> None:
    with pytest.raises(LeadError, match="unknown form"):
        plan_heirs(said, listing)
