# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the database must have before a change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_database import (
    DatabaseFacts,
    Replica,
    Transaction,
    check,
    judge,
    left_out,
    read_answer,
)
from ansible_collections.nectar.backend.plugins.module_utils.gates import GateError

MEBIBYTE = 1024 * 1024
WELL = DatabaseFacts(
    standby=False,
    replicas=(Replica("db2", "streaming", 0.0), Replica("db3", "streaming", 2.0 * MEBIBYTE)),
    expected_replicas=2,
    transaction=Transaction(3.04, 71, "alice", "alice"),
    free={"/data": 41.2, "/wal": 60.0},
)


@pytest.mark.parametrize(
    ("spec", "facts", "verdict", "said"),
    [
        pytest.param(
            {},
            WELL,
            "pass",
            "2 replicas are at most 2 MiB behind; the longest transaction is open for 3 s; 41 % are free on /data",
            id="all well",
        ),
        pytest.param(
            {},
            DatabaseFacts(False, free={"/": 50}),
            "pass",
            "there is no replica; no transaction is open",
            id="one server",
        ),
        pytest.param({}, DatabaseFacts(True), "hold", "the server that was asked is a standby", id="a standby"),
        pytest.param({"lag": "1M"}, WELL, "hold", "db3 is 2 MiB behind, over 1M", id="one is late"),
        pytest.param({}, replace(WELL, expected_replicas=3), "hold", "2 of 3 replicas stream", id="one is missing"),
        pytest.param(
            {},
            replace(WELL, replicas=(Replica("db2", "catchup", 0.0),)),
            "hold",
            "0 of 2 replicas stream",
            id="catching up",
        ),
        pytest.param(
            {},
            replace(WELL, replicas=(*WELL.replicas, Replica("pg_basebackup", "backup", None))),
            "pass",
            "2 replicas",
            id="a base backup is no replica",
        ),
        pytest.param(
            {"lag": False}, replace(WELL, expected_replicas=9), "pass", "the longest", id="lag isn't looked at"
        ),
        pytest.param(
            {"transaction": 3},
            WELL,
            "hold",
            "a transaction of alice in alice (pid 71) is open for 3 s, over 3",
            id="a long transaction",
        ),
        pytest.param({"transaction": False}, WELL, "pass", "2 replicas", id="transactions aren't looked at"),
        pytest.param({"disk": 45}, WELL, "hold", "41 % are free on /data, under 45 %", id="little disk"),
        pytest.param({}, replace(WELL, free=None), "hold", "the free disk isn't known", id="disk unknown"),
        pytest.param({"disk": False}, replace(WELL, free=None), "pass", "2 replicas", id="disk isn't looked at"),
        pytest.param({}, replace(WELL, backups=True), "hold", "no backup is proven", id="a declared source is silent"),
        pytest.param(
            {}, replace(WELL, backups=True, backup_age=3600.0), "pass", "backup is 1.0 h old", id="a fresh backup"
        ),
        pytest.param(
            {"backup": 1},
            replace(WELL, backups=True, backup_age=3700.0),
            "hold",
            "1.0 h old, over 1 h",
            id="an old one",
        ),
        pytest.param(
            {"backup": False}, replace(WELL, backups=True), "pass", "2 replicas", id="backups aren't looked at"
        ),
        pytest.param(
            {"lag": "1M", "disk": 45},
            WELL,
            "hold",
            "db3 is 2 MiB behind, over 1M; 41 % are free",
            id="all lacks at once",
        ),
        pytest.param(
            {"lag": False, "transaction": False, "disk": False}, WELL, "pass", "nothing is looked at", id="nothing"
        ),
    ],
)
def test_judge(spec: dict[str, Any], facts: DatabaseFacts, verdict: str, said: str) -> None:
    found = judge(spec, facts)
    assert found.verdict == verdict
    assert said in found.reason


def test_evidence_has_the_figures() -> None:
    assert judge({}, WELL).evidence == {
        "replica_lag_mib": {"db2": 0.0, "db3": 2.0},
        "expected_replicas": 2,
        "longest_transaction_seconds": 3.0,
        "pid": 71,
        "user": "alice",
        "free_percent": {"/data": 41.2, "/wal": 60.0},
    }


@pytest.mark.parametrize(
    ("spec", "backups", "told"),
    [({}, False, 1), ({}, True, 0), ({"backup": False}, False, 0), ({"backup": 5}, False, 1)],
)
def test_what_is_left_out_is_told(spec: dict[str, Any], backups: bool, told: int) -> None:
    assert len(left_out(spec, backups)) == told


def test_read_answer() -> None:
    reply = {
        "standby": False,
        "directory": "/data",
        "replicas": [{"name": "db2", "state": "streaming", "lag": 16}, {"name": "x", "state": None, "lag": None}],
        "transaction": {"seconds": 1.5, "pid": 7, "database": "alice", "user": "bob"},
    }
    assert read_answer(reply) == (
        False,
        (Replica("db2", "streaming", 16), Replica("x", "unknown", None)),
        Transaction(1.5, 7, "alice", "bob"),
    )
    assert read_answer({"standby": True, "replicas": [], "transaction": None}) == (True, (), None)


@pytest.mark.parametrize("reply", [{}, {"standby": False, "replicas": [{}], "transaction": None}])
def test_an_unknown_answer_is_refused(reply: dict[str, Any]) -> None:
    with pytest.raises(GateError, match="unknown form"):
        read_answer(reply)


@pytest.mark.parametrize(
    ("spec", "problems"),
    [
        ({}, 0),
        ({"lag": "16M", "transaction": 30, "disk": 20, "backup": 24}, 0),
        ({"lag": False, "transaction": False, "disk": False, "backup": False}, 0),
        ({"lag": 16}, 1),
        ({"transaction": 0}, 1),
        ({"disk": 100}, 1),
        ({"backup": True}, 1),
        ({"lags": "1M"}, 1),
    ],
)
def test_check(spec: dict[str, Any], problems: int) -> None:
    assert len(check(spec, "database")) == problems
