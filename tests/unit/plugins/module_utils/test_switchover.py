# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_database import Replica
from ansible_collections.nectar.backend.plugins.module_utils.gates import HOLD, PASS, Verdict
from ansible_collections.nectar.backend.plugins.module_utils.patroni import Cluster, Member
from ansible_collections.nectar.backend.plugins.module_utils.switchover import (
    Switchover,
    SwitchoverError,
    plan_switchover,
    read_answer,
)

LEADER = Member("db2", "leader", "running")
BOTH = Cluster((Member("db1", "quorum_standby", "streaming"), LEADER, Member("db3", "quorum_standby", "streaming")))
ONE = Cluster((Member("db1", "quorum_standby", "streaming"), LEADER, Member("db3", "replica", "starting")))
ALONE = Cluster((LEADER,))
QUORUM = {"synchronous_mode": "quorum"}
AHEAD = (Replica("db1", "streaming", 4096), Replica("db3", "streaming", 0))
GOOD = Verdict("database", PASS, "2 replicas are at most 0 MiB behind")
BAD = Verdict("database", HOLD, "1 of 2 replicas stream")


@pytest.mark.parametrize(
    ("cluster", "settings", "replicas", "verdict", "wanted", "planned"),
    [
        pytest.param(BOTH, QUORUM, AHEAD, GOOD, "", Switchover("db2", ("db3", "db1")), id="the one that is least behind"),
        pytest.param(
            BOTH, QUORUM, (Replica("db3", "streaming", 0), Replica("db1", "streaming", 0)), GOOD, "",
            Switchover("db2", ("db1", "db3")), id="by name where both are as far",
        ),
        pytest.param(BOTH, QUORUM, AHEAD, GOOD, "db1", Switchover("db2", ("db1",), (), "db1"), id="the one that was named"),
        pytest.param(ONE, QUORUM, AHEAD, BAD, "", Switchover("db2", ("db1",), (BAD.reason,), "db1"), id="only one holds all"),
        pytest.param(
            BOTH, QUORUM, (Replica("db1", "streaming", 9), Replica("db3", "catchup", 0)), BAD, "",
            Switchover("db2", ("db1",), (BAD.reason,), "db1"), id="the other one catches up",
        ),
        pytest.param(
            Cluster((Member("db1", "replica", "running"), LEADER)), {}, AHEAD, GOOD, "",
            Switchover("db2", ("db1",), (), "db1"),
            id="commits wait for nobody, so any standby will do",
        ),
    ],
)  # fmt: skip
def test_plan_switchover(
    cluster: Cluster,
    settings: dict[str, Any],
    replicas: tuple[Replica, ...],
    verdict: Verdict,
    wanted: str,
    planned: Switchover,
) -> None:
    assert plan_switchover(cluster, settings, replicas, verdict, wanted) == planned


def test_patroni_is_told_a_candidate_only_where_it_must_be() -> None:
    assert plan_switchover(BOTH, QUORUM, AHEAD, GOOD).order == {"leader": "db2"}
    assert plan_switchover(BOTH, QUORUM, AHEAD, GOOD, "db1").order == {"leader": "db2", "candidate": "db1"}
    # It hands the lead over to nobody else then.
    assert plan_switchover(BOTH, {**QUORUM, "pause": True}, AHEAD, GOOD).order == {"leader": "db2", "candidate": "db3"}


def test_who_leads_is_read_from_the_answer() -> None:
    assert read_answer('Successfully switched over to "db2"') == "db2"
    assert read_answer('Switched over to "db3" instead of "db2"') == "db3"
    with pytest.raises(SwitchoverError, match="Switchover status unknown"):
        read_answer("Switchover status unknown")


def test_a_paused_patroni_is_a_doubt_beside_the_gates() -> None:
    doubts = plan_switchover(BOTH, {**QUORUM, "pause": True}, AHEAD, BAD).doubts
    assert (len(doubts), "paused" in doubts[0], doubts[1]) == (2, True, BAD.reason)


@pytest.mark.parametrize(
    ("cluster", "wanted", "message"),
    [
        pytest.param(Cluster(()), "", "no member leads now", id="nobody leads"),
        pytest.param(ALONE, "", "no standby of db2", id="nobody to take it"),
        pytest.param(BOTH, "db2", "candidate: db2 leads already", id="it leads already"),
        pytest.param(BOTH, "db9", "candidate: db9 can't take over; expected one of db3, db1", id="unknown"),
        pytest.param(ONE, "db3", "candidate: db3 can't take over; expected one of db1", id="it lacks commits"),
    ],
)
def test_plan_switchover_refuses(cluster: Cluster, wanted: str, message: str) -> None:
    with pytest.raises(SwitchoverError, match=message):
        plan_switchover(cluster, QUORUM, AHEAD, GOOD, wanted)
