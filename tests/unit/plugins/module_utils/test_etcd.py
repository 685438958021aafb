# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.etcd import (
    EtcdError,
    Join,
    Member,
    check_membership,
    initial_cluster,
    plan_join,
    read_members,
)

DB1 = Member("11", "db1", ("https://192.0.2.1:2380",))
DB2 = Member("22", "db2", ("https://192.0.2.2:2380",))
DB3 = Member("33", "db3", ("https://192.0.2.3:2380",))
DB3_URL = DB3.peer_urls[0]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param((DB1, DB2), Join(remove=(), add=True), id="taken out already"),
        pytest.param((DB1, DB2, DB3), Join(remove=("33",), add=True), id="the lost one goes first"),
        pytest.param(
            (DB1, DB2, Member("34", "", (DB3_URL,))), Join(remove=(), add=False), id="added by a run that was cut off"
        ),
        pytest.param(
            (DB1, DB2, Member("33", "db3", ("https://192.0.2.9:2380",))),
            Join(remove=("33",), add=True),
            id="its address changed",
        ),
        pytest.param(
            (DB1, DB2, Member("33", "old", (DB3_URL,))), Join(remove=("33",), add=True), id="its name changed"
        ),
        pytest.param(
            (DB1, DB2, Member("33", "db3", ("https://192.0.2.9:2380",)), Member("34", "", (DB3_URL,))),
            Join(remove=("33",), add=False),
            id="added, but the lost one is still there",
        ),
    ],
)
def test_plan_join(listed: tuple[Member, ...], expected: Join) -> None:
    assert plan_join("db3", DB3_URL, listed) == expected


def test_initial_cluster_names_everyone_and_the_one_that_joins() -> None:
    expected = "db1=https://192.0.2.1:2380,db2=https://192.0.2.2:2380,db3=https://192.0.2.3:2380"
    assert initial_cluster("db3", DB3_URL, (DB2, DB1)) == expected
    assert initial_cluster("db3", DB3_URL, (DB2, DB1, Member("34", "", (DB3_URL,)))) == expected


def test_initial_cluster_refuses_another_member_that_never_started() -> None:
    with pytest.raises(EtcdError, match="etcdctl member remove 1f"):
        initial_cluster("db3", DB3_URL, (DB1, Member("31", "", ("https://192.0.2.2:2380",))))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param({"db1": "192.0.2.1"}, "db3 is not among db1", id="not a member"),
        pytest.param({}, "db3 is not among them", id="no members"),
        pytest.param({"db2": "192.0.2.2", "db3": "192.0.2.3"}, "2 members bear no more losses than 1", id="even"),
        pytest.param(
            {"db1": "192.0.2.3", "db2": "192.0.2.2", "db3": "192.0.2.3"}, "share an address", id="one address twice"
        ),
    ],
)
def test_check_membership_refuses(members: dict[str, str], message: str) -> None:
    with pytest.raises(EtcdError, match=message):
        check_membership("db3", members)


def test_read_members() -> None:
    reply: dict[str, Any] = {
        "members": [{"ID": "11", "name": "db1", "peerURLs": ["https://192.0.2.1:2380"]}, {"ID": 7, "peerURLs": ["x"]}]
    }
    assert read_members(reply) == (DB1, Member("7", "", ("x",)))


@pytest.mark.parametrize("reply", [{}, {"members": [{}]}, {"members": [{"ID": 1, "peerURLs": None}]}])
def test_read_members_refuses_what_it_does_not_know(reply: dict[str, Any]) -> None:
    with pytest.raises(EtcdError, match="unknown form"):
        read_members(reply)
