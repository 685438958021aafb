# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.patroni import (
    Cluster,
    Member,
    PatroniError,
    find_lacks,
    merge_settings,
    read_cluster,
    select_settings,
)

LEADER = Member("db2", "leader", "running")
QUORUM = Member("db1", "quorum_standby", "streaming")
REPLICA = Member("db1", "replica", "streaming")
STRICT = {"synchronous_mode_strict": True}


def test_read_cluster() -> None:
    reply = {
        "members": [
            {"name": "db2", "role": "leader", "state": "running", "timeline": 1},
            {"name": "db1", "role": "quorum_standby", "state": "streaming", "lag": 0, "pending_restart": True},
        ],
        "scope": "lab",
    }
    cluster = read_cluster(reply)
    assert cluster == Cluster((Member("db1", "quorum_standby", "streaming", True), LEADER))
    assert (cluster.leader, cluster.synchronous, cluster.pending_restart) == ("db2", ("db1",), ("db1",))


@pytest.mark.parametrize("reply", [{}, {"members": [{}]}, {"members": [None]}])
def test_read_cluster_refuses_what_it_does_not_know(reply: dict[str, Any]) -> None:
    with pytest.raises(PatroniError, match="unknown form"):
        read_cluster(reply)


@pytest.mark.parametrize(
    ("members", "expected", "settings", "lacks"),
    [
        pytest.param((LEADER, QUORUM), ("db1", "db2"), STRICT, (), id="all there"),
        pytest.param((LEADER,), (), {}, (), id="one member alone"),
        pytest.param((Member("db1", "master", "running"),), (), {}, (), id="the leader's older name"),
        pytest.param((), (), {}, ("no member leads",), id="empty"),
        pytest.param((Member("db2", "leader", "starting"),), (), {}, ("no member leads",), id="it only starts"),
        pytest.param(
            (LEADER, REPLICA),
            (),
            STRICT,
            ("no standby is synchronous yet, so commits would wait",),
            id="commits would wait",
        ),
        pytest.param((LEADER, REPLICA), (), {}, (), id="commits need not wait"),
        pytest.param((LEADER, QUORUM), ("db3",), STRICT, ("db3 is not in the cluster",), id="one is missing"),
        pytest.param(
            (LEADER, QUORUM, Member("db3", "replica", "creating replica")),
            ("db3",),
            STRICT,
            ("db3 is replica and creating replica",),
            id="one is being copied",
        ),
    ],
)
def test_find_lacks(
    members: tuple[Member, ...], expected: tuple[str, ...], settings: dict[str, Any], lacks: tuple[str, ...]
) -> None:
    assert find_lacks(Cluster(members), expected, settings) == lacks


CURRENT = {"ttl": 30, "postgresql": {"use_slots": True, "parameters": {"work_mem": "4MB", "jit": "off"}}}


@pytest.mark.parametrize(
    ("wanted", "merged", "selected"),
    [
        pytest.param({}, CURRENT, {}, id="nothing asked"),
        pytest.param({"ttl": 30}, CURRENT, {"ttl": 30}, id="as it is"),
        pytest.param({"ttl": 20}, {**CURRENT, "ttl": 20}, {"ttl": 30}, id="another value"),
        pytest.param({"ttl": None}, {"postgresql": CURRENT["postgresql"]}, {"ttl": 30}, id="null takes away"),
        pytest.param({"pause": None}, CURRENT, {}, id="null where there is none"),
        pytest.param(
            {"postgresql": {"parameters": {"work_mem": "8MB"}}},
            {"ttl": 30, "postgresql": {"use_slots": True, "parameters": {"work_mem": "8MB", "jit": "off"}}},
            {"postgresql": {"parameters": {"work_mem": "4MB"}}},
            id="deep, and the neighbours stay",
        ),
        pytest.param(
            {"ttl": {"odd": 1, "gone": None}}, {**CURRENT, "ttl": {"odd": 1}}, {"ttl": 30}, id="a mapping for a value"
        ),
    ],
)
def test_merge_and_select(wanted: dict[str, Any], merged: dict[str, Any], selected: dict[str, Any]) -> None:
    assert merge_settings(CURRENT, wanted) == merged
    assert select_settings(CURRENT, wanted) == selected
