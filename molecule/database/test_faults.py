# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever befalls the primary, no acknowledged commit is lost, no two servers acknowledge, and all comes back by itself.

The loss of a whole host is tried in the scenario `default`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from client import Answer, Client, eventually
from cluster import Cluster
from database_faults import FAULTS, Fault, suffer
from ledger import Ledger

KINDS = (
    "etcd killed on its leader",
    "postmaster killed",
    "Patroni killed",
    "host cut off",
    "host frozen past its lease",
    "disk of the log full",
)
# Seconds: the lease of 20 is over, and whoever could take the lead has it.
PAST_THE_LEASE = 24


@pytest.fixture(scope="module")
def ledger(cluster: Cluster, backed_up: None) -> Iterator[Ledger]:
    """Numbered orders through the application, and witnesses, all the while."""
    cluster.watch()
    with Ledger(cluster.lab.door("production").ask, writers=2, pause=0.1) as ledger:
        assert eventually(lambda: len(ledger.entries) > 5, 30)
        yield ledger
    cluster.watch_no_more()


@pytest.mark.parametrize("fault", [pytest.param(FAULTS[name], id=name) for name in KINDS])
def test_a_fault_loses_nothing_that_was_acknowledged(cluster: Cluster, ledger: Ledger, fault: Fault) -> None:
    refused = len(ledger.refused)
    outcome = suffer(cluster, ledger, replace(fault, wait=min(fault.wait, PAST_THE_LEASE)))
    asked = time.monotonic()
    lost = ledger.lost(cluster.kept(ledger), asked)
    witnessed, rivals = cluster.rivals()
    print(
        f"{fault.name} on {outcome.host}: {outcome.silence:.1f} s without an acknowledged order; "
        f"{len(ledger.entries)} acknowledged so far, {len(ledger.refused) - refused} refused now, {witnessed} by witnesses"
    )
    assert outcome.whole, cluster.members()
    assert lost == []
    assert witnessed > 0 and rivals == []
    assert outcome.silence < 60, "nobody took over"


def test_while_no_standby_answers_orders_are_refused_reads_go_on_and_an_alert_tells(
    cluster: Cluster, ledger: Ledger
) -> None:
    assert eventually(cluster.whole, 180), cluster.members()
    primary, door = cluster.leader, cluster.lab.door("production")
    standbys = cluster.standbys(primary)
    began = cluster.lab.inside(primary, "date +%s").strip()

    def read() -> Answer:
        return door.ask("/orders?limit=1")

    def writes() -> int:
        return door.ask("/readyz?writes").status

    with Client(read) as reader:
        try:
            for host in standbys:
                cluster.lab.inside(host, "pkill --signal STOP --full '[p]ostgres: .*walreceiver'")
            refused = eventually(lambda: writes() == 503, 12, pause=0.2)
            answer = door.ask("/orders", post={"customer": 1, "quantity": 1, "total_cents": 1})
            # Under ten seconds, after which the primary would take the standbys for gone.
            time.sleep(1)
        finally:
            for host in standbys:
                cluster.lab.inside(host, "pkill --signal CONT --full '[p]ostgres: .*walreceiver'")
    assert refused and (answer.status, answer.done - answer.sent < 2) == (503, True), answer
    assert "for a standby" in json.loads(answer.body)["description"]
    assert reader.failures == [] and len(reader.answers) > 10
    assert eventually(lambda: writes() == 200, 20)
    told = eventually(lambda: alerts(cluster, primary, began) if "again" in alerts(cluster, primary, began) else "", 20)
    assert [line.split()[0] for line in told.splitlines()][-1:] == ["commits"], told
    assert told.count("for a standby, at the longest") == 1


def alerts(cluster: Cluster, host: str, since: str) -> str:
    """What was said there of commits that wait."""
    return cluster.lab.inside(
        host, f"journalctl --priority alert --output cat --since @{since} --unit nectar-write-watch"
    )
