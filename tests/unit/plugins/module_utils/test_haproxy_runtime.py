# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy's answers, as version 3.0 gives them, and the commands that follow."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.haproxy_runtime import (
    Runtime,
    Worker,
    find_lacking,
    parse_counters,
    parse_down,
    parse_servers,
    parse_sessions,
    parse_slots,
    parse_workers,
    plan_commands,
)
from ansible_collections.nectar.backend.plugins.module_utils.traffic import Server

PROCESSES = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
1493            master          11 [failed: 0]  0d00h59m46s     3.0.11-1+deb13u5
# workers
9603            worker          0               0d00h00m02s     3.0.11-1+deb13u5
# old workers
9517            worker          1               0d00h00m26s     3.0.11-1+deb13u5
# programs

"""
SERVERS = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change
6 be_alice 1 app1-blue 10.89.77.21 0 1 0 100 25
6 be_alice 2 app1-green 10.89.77.21 2 4 100 0 25
6 be_alice 3 app2-blue 10.89.77.22 2 8 90 100 25

"""
STATISTICS = """\
# pxname,svname,qcur,wretr,wredis,status,
be_alice,app1-blue,0,2,1,UP,
be_alice,app1-green,0,0,0,MAINT,
be_alice,app2-green,0,0,0,DOWN 1/2,

"""
READY, IDLE = Server(100, "ready"), Server(0, "maint")


def test_workers() -> None:
    assert parse_workers(PROCESSES) == [Worker(9603, True), Worker(9517, False)]


def test_servers() -> None:
    assert parse_servers(SERVERS) == {
        "be_alice": {"app1-blue": IDLE, "app1-green": READY, "app2-blue": Server(90, "drain")}
    }
    assert parse_servers("Can't find the target PID matching the prefix '@!1'\n") is None


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("0x7f71e9d5d580 a.test blue\n0x7f71e9d5d600 b.test green\n\n", {"a.test": "blue", "b.test": "green"}),
        ("\n", {}),
        ("Unknown map identifier. Please use #<id> or <file>.\n", None),
    ],
)
def test_slots(text: str, slots: dict[str, str] | None) -> None:
    assert parse_slots(text) == slots


def test_counters() -> None:
    assert parse_counters(STATISTICS) == {
        "app1-blue": {"wretr": 2, "wredis": 1},
        "app1-green": {"wretr": 0, "wredis": 0},
        "app2-green": {"wretr": 0, "wredis": 0},
    }
    assert parse_down(STATISTICS) == {"app2-green"}
    assert parse_counters("\n") == {}


def test_what_gains_comes_before_what_loses() -> None:
    wanted = Runtime({"be_a": {"h-blue": IDLE, "h-green": READY}}, {"a.test": "green", "b.test": "blue"})
    found = Runtime({"be_a": {"h-blue": READY, "h-green": IDLE}}, {"a.test": "blue"})
    assert plan_commands(wanted, found, "/m") == [
        "set server be_a/h-green weight 100",
        "set server be_a/h-green state ready",
        "set map /m a.test green",
        "add map /m b.test blue",
        "set server be_a/h-blue weight 0",
        "set server be_a/h-blue state maint",
    ]
    assert plan_commands(wanted, wanted, "/m") == []


def test_what_a_worker_does_not_know_takes_a_reload() -> None:
    wanted = Runtime({"be_a": {"h-blue": READY}}, {"a.test": "blue"})
    assert find_lacking(wanted, Runtime({}, None)) == ["be_a/h-blue", "slots.map"]
    assert plan_commands(wanted, Runtime({}, None), "/m") == []
    assert find_lacking(wanted, wanted) == []


def test_requests_in_hand() -> None:
    text = (
        "# pxname,svname,qcur,scur,status,\nhttps,FRONTEND,,9,OPEN,\nbe_alice,app1-blue,0,3,UP,\n"
        "be_alice,app2-blue,0,,no check,\nbe_alice,BACKEND,0,3,UP,\n\n"
    )
    assert parse_sessions(text) == {"be_alice": {"app1-blue": 3, "app2-blue": 0}}
    assert parse_sessions("") == {}
