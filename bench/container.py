# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container of a target's own, made of the lab's image, with the database's packages in it."""

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.harness import BenchError
from nectar_backend.project import find_lab

NETWORK = "nectar-bench"
# The second has the packages installed, for the next run.
IMAGE, BAKED = "localhost/nectar-lab", "localhost/nectar-bench"
# Seconds that one step may take.
LIMIT = 1800
INSTALL = """
mkdir -p /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/bench.conf
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-17 postgresql-17-hypopg pgbouncer >/dev/null
"""


def missing() -> str | None:
    if shutil.which("podman") is None:
        return "podman isn't here; install it (docs/lab.md)"
    if not containers_conf().exists() or not image():
        return "the lab's image isn't here; `make lab` makes it"
    return None


def image() -> str:
    """The newest image of the lab with Debian 13."""
    return next((line for line in images() if line.startswith(f"{IMAGE}:trixie")), "")


def images() -> list[str]:
    return podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()


def containers_conf() -> Path:
    """How the lab has podman run on this machine."""
    return find_lab(os.environ, Path.home()).directory / "containers.conf"


def podman(*words: str, given: str | None = None) -> str:
    environment = {**os.environ, "CONTAINERS_CONF": str(containers_conf())}
    done = subprocess.run(
        ["podman", *words], input=given, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode:
        raise BenchError(f"`podman {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


@contextlib.contextmanager
def container(name: str, *options: str) -> Iterator[None]:
    """A container that does nothing by itself; it has the options of `podman run`, and is gone afterwards."""
    remove(name)
    try:
        podman("network", "create", NETWORK)
        podman("run", "--detach", "--name", name, *options, bake(name), "sleep", "infinity")
        yield
    finally:
        remove(name)


def bake(name: str) -> str:
    """The image with the packages installed, made once for each image of the lab."""
    base = image()
    baked = f"{BAKED}:{base.rpartition(':')[2]}-{hashlib.sha256(INSTALL.encode()).hexdigest()[:12]}"
    if baked not in images():
        podman("run", "--detach", "--name", name, "--network", NETWORK, base, "sleep", "infinity")
        podman("exec", name, "sh", "-ec", INSTALL)
        podman("commit", "--quiet", name, baked)
        podman("rm", "--force", "--time", "1", name)
    return baked


def remove(name: str) -> None:
    """Take away what was made, also what an earlier run left."""
    for words in (("rm", "--force", "--time", "1", "--volumes", name), ("network", "rm", "--force", NETWORK)):
        # Nothing of it may be there, and then podman complains.
        with contextlib.suppress(BenchError):
            podman(*words)
