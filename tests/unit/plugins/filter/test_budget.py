# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter for other inventories: plain data in, the same budget out."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.filter.budget import FilterModule

SERVERS: dict[str, Any] = {
    "app1": {"groups": ["app_servers"], "memory": 1900},
    "db1": {"groups": ["database_servers"], "memory": 1900, "cores": 4, "wal": 2048},
}
DEPLOYMENTS = {"production": {"application": "orders", "hosts": ["app1"]}}
APPLICATIONS = {"orders": {"processes": {"web": {"type": "web", "memory": 64, "threads": 4}}}}


def plan(servers: dict[str, Any], *arguments: Any) -> dict[str, Any]:
    """Ask the filter as a template would."""
    result: dict[str, Any] = FilterModule().filters()["budget"](servers, DEPLOYMENTS, APPLICATIONS, *arguments)
    return result


def test_plain_data_is_enough() -> None:
    found = plan(SERVERS, {"request_timeout": 60, "system": 200})
    assert found["shares"]["production"]["workers"] == 5
    assert found["figures"]["database"]["max_wal_size"]["setting"] == "512MB"
    assert found["figures"]["timeouts"]["worker"]["value"] == 60
    assert found["figures"]["app_servers"]["app1"]["reserved"]["value"] == 248


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        pytest.param({**SERVERS, "app1": {"groups": ["app_servers"], "memory": 200}}, "288 are needed", id="no room"),
        pytest.param({**SERVERS, "app1": {"memory": 200}}, "'groups' is missing", id="no groups"),
    ],
)
def test_what_can_not_be_planned_is_refused(servers: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        plan(servers)
