# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab in which rollouts are measured, and the deployment that they are rollouts of."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.harness import ROOT, BenchError
from nectar_backend.errors import NectarError
from nectar_backend.inventory import read_inventory
from nectar_backend.project import INVENTORIES, Lab, find_lab, require_topology
from nectar_backend.status import list_targets

TOPOLOGY = "ha"
DEPLOYMENT, APPLICATION = "staging", "orders"
DEPLOY, ROLLBACK = "playbooks/deploy.yml", "playbooks/rollback.yml"
# Of ten requests, eight go through the virtual address, and one straight to each load balancer: each must obey.
THROUGH_VIRTUAL = 8


@dataclass(frozen=True)
class Place:
    """The lab, and how the deployment is reached in it."""

    lab: Lab
    sources: tuple[str, ...]
    balancers: tuple[str, ...]
    servers: tuple[str, ...]
    doors: tuple[str, ...]
    name: str
    port: int

    def on(self, host: str, command: str, limit: float = 60) -> str:
        """Run a command as root on a host; return what it printed."""
        words = ["ssh", "-F", str(self.lab.ssh_config), host, f"sudo {command}"]
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BenchError(f"{host} doesn't answer: {error}; `make status` says whether the lab is well.") from error
        if done.returncode:
            raise BenchError(f"{host}: `{command}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def current_lab() -> Lab:
    return find_lab(os.environ, Path.home())


def missing() -> str | None:
    try:
        topology = require_topology(current_lab())
    except NectarError as error:
        return str(error)
    if topology != TOPOLOGY:
        return f"the lab's topology is {topology}, expected {TOPOLOGY}, which has two servers: `make lab-down`, then `make lab TOPOLOGY={TOPOLOGY}`."
    return None


def find_place(lab: Lab) -> Place:
    sources = INVENTORIES[TOPOLOGY]
    try:
        inventory = read_inventory(ROOT, sources)
        (target,) = [item for item in list_targets(inventory, lab.ca_file) if item.deployment == DEPLOYMENT]
    except NectarError as error:
        raise BenchError(str(error)) from error
    balancers = tuple(inventory["loadbalancers"]["hosts"])
    own = [str(inventory["_meta"]["hostvars"][host]["server"]["connect"][0]) for host in balancers]
    return Place(
        lab=lab,
        sources=tuple(sources),
        balancers=balancers,
        servers=tuple(inventory["app_servers"]["hosts"]),
        doors=(*[target.address] * THROUGH_VIRTUAL, *own),
        name=target.server_name,
        port=target.port,
    )
