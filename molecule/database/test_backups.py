# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A backup is proven, and what was deleted comes back from it as it was, row by row; what can't come back is refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from client import eventually
from cluster import SCRATCH, SCRATCH_SERVER, Cluster, moment

# Who keeps the repository.
KEEPER, REPOSITORY = "ops1", "/var/lib/pgbackrest"
# The database whose rows are lost.
DATABASE = "alice"
# Every row of the table, as one word.
DIGEST = "SELECT md5(string_agg(t::text, ',' ORDER BY i)) FROM rehearsal t"
REFUSALS = {
    ("-e", "target=2020-01-01T00:00:00+00:00"): "lies before the first backup ended",
    ("-e", "backup=20200101-000000F"): "expected one of",
    ("-e", "into=live", "-e", "confirm=yes"): "was expected. What lives now would be replaced",
}


@pytest.fixture(scope="module")
def table(cluster: Cluster) -> Iterator[None]:
    """10,000 rows, from before the newest backup."""
    cluster.ask("DROP TABLE IF EXISTS rehearsal", DATABASE)
    cluster.ask("CREATE TABLE rehearsal AS SELECT i, md5(i::text) AS text FROM generate_series(1, 10000) i", DATABASE)
    yield
    cluster.ask("DROP TABLE IF EXISTS rehearsal", DATABASE)


@pytest.fixture(scope="module")
def newest(cluster: Cluster, backed_up: None, tuning: Future[subprocess.CompletedProcess[str]], table: None) -> str:
    """The label of a backup that was just made; a drill that is to prove it has begun, and a trial of settings elsewhere."""
    said = cluster.done("backup.yml")
    label = re.findall(r"(\d{8}-\d{6}F_\d{8}-\d{6}I) +incr", said)[-1]
    cluster.lab.inside(cluster.leader, "systemctl start --no-block nectar-backup-drill.service")
    return str(label)


@pytest.fixture(scope="module")
def scratch(cluster: Cluster) -> Iterator[None]:
    """Room for a restored cluster, which is removed again."""
    yield
    cluster.done("restore.yml", "-e", "state=absent")
    assert cluster.lab.inside(SCRATCH_SERVER, f"ls -d {SCRATCH} || true") == ""


def test_what_cannot_be_restored_is_refused_before_anything_changes(
    cluster: Cluster, newest: str, aside: ThreadPoolExecutor
) -> None:
    before = cluster.ask(DIGEST, DATABASE)
    said = list(aside.map(lambda words: cluster.refused("restore.yml", *words), REFUSALS))
    for expected, found in zip(REFUSALS.values(), said, strict=True):
        assert expected in found, found[-3000:]
    assert cluster.ask(DIGEST, DATABASE) == before
    assert cluster.lab.inside(SCRATCH_SERVER, f"ls -d {SCRATCH} || true") == ""


def test_the_whole_cluster_comes_back_as_of_a_moment_beside_the_living_one(
    cluster: Cluster, newest: str, scratch: None
) -> None:
    before, then = cluster.ask(DIGEST, DATABASE), moment()
    cluster.ask("DELETE FROM rehearsal WHERE i % 3 = 0; UPDATE rehearsal SET text = 'x' WHERE i % 5 = 0", DATABASE)
    after = cluster.ask(DIGEST, DATABASE)
    said = cluster.done("restore.yml", "-e", f"target={then}")
    assert f"{newest} was restored" in said, said[-3000:]
    assert cluster.restored(DIGEST, DATABASE) == before
    assert cluster.ask(DIGEST, DATABASE) == after != before
    assert cluster.restored("SHOW listen_addresses", "postgres") == ""
    assert cluster.restored("SHOW archive_mode", "postgres") == "off"


def test_the_drill_proves_the_newest_backup(cluster: Cluster, newest: str) -> None:
    leader = cluster.leader
    assert eventually(lambda: cluster.proof(leader)["label"] == newest, 600, pause=1), cluster.proof(leader)
    proof = cluster.proof(leader)
    print(f"{newest}: restored in {proof['restore_seconds']} s, proven after {proof['seconds']} s")
    assert proof["rows"] > 200_000


def test_an_archive_that_falls_behind_is_an_alert(cluster: Cluster, backed_up: None, table: None) -> None:
    leader = cluster.leader
    watch = "systemctl start nectar-archive-watch.service 2>&1 || echo failed"
    cluster.lab.inside(KEEPER, f"chmod 0 {REPOSITORY}/archive")
    try:
        # Half of the ceiling, 256 MiB, is eight segments.
        switches = "FOR _segment IN 1..9 LOOP PERFORM pg_logical_emit_message(false, '', ''); PERFORM pg_switch_wal(); END LOOP"
        cluster.ask(f"DO $$ BEGIN {switches}; END $$", server=leader)
        assert "failed" in cluster.lab.inside(leader, watch)
        alerts = cluster.lab.inside(leader, "journalctl --unit nectar-archive-watch --priority alert --output cat -n 1")
        assert "wait for the archive, whose ceiling is 256 MiB; it is half reached" in alerts
    finally:
        cluster.lab.inside(KEEPER, f"chmod 0750 {REPOSITORY}/archive")
    # After three failures PostgreSQL waits for a minute, or for the next segment.
    cluster.ask("SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()", server=leader)
    assert eventually(lambda: cluster.is_archived(leader), 120)
    assert "failed" not in cluster.lab.inside(leader, watch)
