# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lead is handed over on purpose, under writes, and none that was acknowledged is lost."""

from __future__ import annotations

import time

from client import eventually
from cluster import Cluster, on_one_line
from ledger import Ledger

# Seconds of notice: on a busy machine poolers are told too late, or a transaction stays open, and then nothing happens.
NOTICES = (8, 30, 90)


def test_the_lead_is_handed_over_under_writes(cluster: Cluster) -> None:
    assert eventually(cluster.whole, 120)
    foreseen, leader = cluster.done("switchover.yml", "--check"), cluster.leader
    assert f"{leader} hands the lead to " in foreseen
    with Ledger(cluster.lab.door("production").ask, writers=2, pause=0.1) as ledger:
        for notice in NOTICES:
            assert eventually(lambda: len(ledger.entries) > 5, 30)
            before, refused, began = cluster.leader, len(ledger.refused), time.monotonic()
            done = cluster.play("switchover.yml", "-e", f"notice={notice}")
            said = on_one_line(done)
            if done.returncode == 0:
                break
            assert "The lead was not handed over" in said or f"The lead stays with {before}" in said, said[-3000:]
            assert cluster.leader == before
        pause = ledger.silence(began, time.monotonic())
        assert eventually(lambda: ledger.acknowledged(time.monotonic() - 2), 30), "no commit is acknowledged afterwards"
    summary = said[said.find(f"{cluster.leader} leads now") :][:200]
    print(f"{len(ledger.refused) - refused} requests failed, longest pause {pause:.2f} s; {summary}")
    assert done.returncode == 0, said[-3000:]
    assert cluster.leader != before and f"{cluster.leader} leads now" in said
    assert ledger.lost(cluster.kept(ledger)) == []
    # Otherwise moves of the lead in a row fill the disk: each timeline has a segment of the same number.
    assert eventually(lambda: (numbers := cluster.segments())[0] < numbers[1], 60), cluster.segments()
