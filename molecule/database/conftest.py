# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database's rehearsals begin in a lab in which every deployment answers, and end in one; what takes long goes on beside the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from client import eventually
from cluster import Cluster
from figures import pytest_terminal_summary  # noqa: F401 (pytest looks for its hooks here)
from lab import Lab

# Little work and few pairs: what is tried makes several times as much log, which shows in each pair.
TRIAL = {
    "proposal": {"wal_compression": "off"},
    "tuning_pairs": 6,
    "tuning_seconds": 1,
    "tuning_scale": 2,
    "tuning_clients": 2,
    # The filesystem of the data has no room for a second copy and its log.
    "tuning_directory": "/var/tmp/nectar-tuning",
}


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def cluster(lab: Lab) -> Cluster:
    return Cluster(lab)


@pytest.fixture(scope="session", autouse=True)
def everything_serves(lab: Lab, cluster: Cluster) -> Iterator[None]:
    assert eventually(lab.all_well, 120)
    yield
    assert eventually(cluster.whole, 180), cluster.members()
    assert eventually(lab.all_well, 120)


@pytest.fixture(scope="session")
def aside() -> Iterator[ThreadPoolExecutor]:
    """Runs that go on beside what a test waits for."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(scope="session")
def backed_up(lab: Lab, cluster: Cluster, aside: ThreadPoolExecutor) -> Iterator[None]:
    """The environment has backups from now on."""
    cluster.back_up(aside)
    yield
    # A primary that is lost takes with it what it had not archived yet; from this backup on each moment can be restored again.
    lab.inside("ops1", "systemctl start --no-block nectar-backup@diff.service")


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tuning tells plan, trial and outcome."""
    return tmp_path_factory.mktemp("tuning") / "tuned.json"


@pytest.fixture(scope="session")
def tuning(cluster: Cluster, aside: ThreadPoolExecutor, report: Path) -> Future[subprocess.CompletedProcess[str]]:
    """A tuning that loses. Its trial runs beside a standby, and what else is done meanwhile is done elsewhere; it is over before an index is built."""
    words = ["-e", json.dumps(TRIAL), "-e", f"tune_report={report}"]
    return aside.submit(cluster.play, "tune.yml", *words)
