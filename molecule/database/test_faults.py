# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever befalls the primary, no acknowledged commit is lost, no two servers acknowledge, and all comes back by itself.

The loss of a whole host is tried in the scenario `default`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from client import eventually
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
