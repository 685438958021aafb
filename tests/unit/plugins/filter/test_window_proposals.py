# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Windows from what several load balancers counted."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.filter.window_proposals import FilterModule, window_proposals


def counts(quiet: int) -> dict[str, int]:
    """Three days of an hour in which little came, from midnight on 2 January 1970."""
    return {str(24 + hour): 1 if hour % 24 == quiet else 9 for hour in range(72)}


def test_counts_of_all_load_balancers_add_up() -> None:
    one, other = {"alice": counts(3), "bob": counts(3)}, {"alice": {str(24 + 3): 1000}}
    found = window_proposals([one, other], "UTC", 1)
    assert found["bob"]["window"] == {"cron": "0 3 * * *", "duration": "1h", "zone": "UTC"}
    assert found["alice"]["window"] == {"cron": "0 0 * * *", "duration": "1h", "zone": "UTC"}
    assert " of 1624 requests" in found["alice"]["reason"]


def test_only_those_named_and_also_those_without_requests() -> None:
    found = window_proposals([{"alice": counts(3), "bob": counts(3)}], names=["bob", "carol"])
    assert list(found) == ["bob", "carol"]
    assert found["carol"]["window"] is None


@pytest.mark.parametrize(("zone", "hours", "said"), [("Mars", 2, "no time zone"), ("UTC", 30, "a window of 30 hours")])
def test_what_is_refused(zone: str, hours: int, said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        FilterModule().filters()["window_proposals"]([{"alice": counts(3)}], zone, hours)
