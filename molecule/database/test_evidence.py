# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was measured decides: an index that helps is found, and a setting that loses is not kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from client import Client
from cluster import Cluster, good
from database_faults import HOSTS
from registry import Registry

# Whose orders are listed by customer, which no index serves.
SLOW = "erin"
CALLS = 60
# Indexes whose first key is the customer, and how often they were used.
USED = """
SELECT coalesce(sum(idx_scan), 0) FROM pg_index JOIN pg_stat_user_indexes USING (indexrelid)
WHERE relname = 'orders' AND indisvalid AND pg_get_indexdef(indexrelid, 1, true) = 'customer_id'
"""
# Seconds in which what was built has to show that it serves.
BAKE = 15


def test_a_setting_that_loses_is_measured_and_not_kept(
    cluster: Cluster, tuning: Future[subprocess.CompletedProcess[str]], report: Path
) -> None:
    said = good(tuning.result())
    told = json.loads(report.read_text())
    (trial,) = told["trials"]
    assert (trial["verdict"], trial["keep"], len(trial["pairs"])) == ("lost", [], 6), said[-3000:]
    print(f"wal_compression=off: {'; '.join(trial['reasons'])}")
    assert (told["kept"], told["state"]) == ({}, "measured")
    assert {cluster.ask("SHOW wal_compression", server=name) for name in HOSTS} == {"lz4"}
    # The evidence is where the tuning was decided.
    kept = json.loads(cluster.lab.inside(cluster.leader, f"cat {told['record']}"))
    assert kept["trials"][0]["pairs"] == trial["pairs"]


@pytest.fixture(scope="module")
def advice(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is advised once the slow listing was asked for some times."""
    # The 200,000 orders that the release brought would count as writes of an hour: docs/queries.md, "What can go wrong".
    cluster.ask("SELECT pg_stat_reset()", SLOW)
    door = cluster.lab.door(SLOW)
    answers = [door.ask(f"/orders?customer={number + 1}") for number in range(CALLS)]
    assert all(answer.ok for answer in answers)
    mean = sum(answer.done - answer.sent for answer in answers) / CALLS
    print(f"the listing took {1000 * mean:.0f} ms in the mean, before")
    path = tmp_path_factory.mktemp("advice") / "advice.json"
    cluster.done("optimise.yml", "-e", f"deployment={SLOW}", "-e", f"optimise_report={path}")
    return dict(json.loads(path.read_text())[SLOW])


def test_a_slow_listing_is_found_and_an_index_advised(advice: dict[str, Any]) -> None:
    (found,) = advice["indexes"]
    assert (found["entry"]["table"], found["entry"]["columns"][0]) == ("orders", "customer_id")
    (query,) = [query for query in found["queries"] if query["calls"] >= CALLS]
    assert query["cost_after"] < query["cost_before"] / 10, query


@pytest.fixture
def unindexed(cluster: Cluster) -> Iterator[None]:
    """The slow one's indexes are afterwards what they were before."""
    names = "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY 1) FROM pg_index WHERE indrelid = 'orders'::regclass"
    before = cluster.ask(names, SLOW).split()
    yield
    for name in set(cluster.ask(names, SLOW).split()) - set(before):
        cluster.ask(f"DROP INDEX {name}", SLOW)


def test_an_advised_index_that_is_declared_is_built_while_requests_go_on(
    cluster: Cluster, advice: dict[str, Any], unindexed: None, tmp_path: Path
) -> None:
    (found,) = advice["indexes"]
    registry = Registry(tmp_path)
    registry.data["members"][SLOW]["indexes"] = [found["entry"]]
    registry.save()
    assert cluster.ask(USED, SLOW) == "0"
    door = cluster.lab.door(SLOW)
    words = ("optimise.yml", "-e", f"deployment={SLOW}", "-e", "apply=true", "-e", f"optimisation_bake={BAKE}")
    with Client(lambda: door.ask("/orders?customer=7"), limit=10_000) as client:
        said = cluster.done(*words, registry=registry.path)
    assert client.failures == []
    uses = int(cluster.ask(USED, SLOW))
    print(
        f"the index was used {uses} times, of {len(client.answers)} requests; {said[said.find('index on orders') :][:200]}"
    )
    assert uses > 0, said[-4000:]
    assert "nothing is lacking" in cluster.done(*words, registry=registry.path)
