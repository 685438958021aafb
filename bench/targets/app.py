# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The example's one-query request as it is served, against gunicorn's sync workers with the same release and pooler."""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import ROOT, BenchError, Figure, Run, Target, median, median_ratio
from nectar_backend.errors import NectarError
from nectar_backend.inventory import read_inventory, shared_variables
from nectar_backend.project import INVENTORIES, Lab, find_lab, require_topology

DEPLOYMENT = "staging"
WORKERS = 2
CONNECTIONS = 16
SECONDS, WARM_UP = 5, 1
# Beyond its own seconds, what a server may take to start and to stop, and SSH to come in.
SPARE = 60
SCRIPT = ROOT / "bench/load.py"
CHOSEN, PEER = "as served", "gunicorn sync"
# The number of workers comes from WEB_CONCURRENCY, as it does for the example itself.
PEER_COMMAND = "gunicorn --worker-class sync --preload --no-control-socket --bind {address}:{port} orders.wsgi:app"
GOAL = 2.5
HOW = (
    f"GET /orders/<id> on {CONNECTIONS} connections for {SECONDS} s, on the first application server of the lab: the "
    f"release, environment and pooler of {DEPLOYMENT}, {WORKERS} workers each, in transient units on loopback that take turns; "
    "the load comes from the same host and shares its cores"
)


@dataclass(frozen=True)
class Load:
    """What one server did in one round."""

    requests: float
    seconds: float
    cpu_seconds: float
    megabytes: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cost(self) -> float:
        """Milliseconds of a processor that the server itself took for a request."""
        return 1000 * self.cpu_seconds / self.requests


def current_lab() -> Lab:
    return find_lab(os.environ, Path.home())


def missing() -> str | None:
    try:
        require_topology(current_lab())
    except NectarError as error:
        return str(error)
    return None


def measure(run: Run) -> list[Figure]:
    lab = current_lab()
    try:
        inventory = read_inventory(ROOT, INVENTORIES[require_topology(lab)])
        variables = shared_variables(inventory)
    except NectarError as error:
        raise BenchError(str(error)) from error
    host = inventory["app_servers"]["hosts"][0]
    run.say(f"on {host}: {PEER} and {CHOSEN} take turns, {run.rounds} rounds")
    answer = ask(lab, host, plan(variables, run.rounds), limit=2 * run.rounds * (SECONDS + WARM_UP + SPARE))
    return compare({way: [Load(**sample) for sample in samples] for way, samples in answer.items()})


def plan(variables: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """What load.py is told; the chosen server is what the registry says, and nothing that is written here."""
    deployment = variables["deployments"][DEPLOYMENT]
    application = variables["applications"][deployment["application"]]
    return {
        "deployment": DEPLOYMENT,
        "ways": {PEER: shlex.split(PEER_COMMAND), CHOSEN: shlex.split(application["processes"]["web"]["command"])},
        "values": {**deployment.get("share", {}), "workers": WORKERS},
        "environment": {"WEB_CONCURRENCY": str(WORKERS)},
        "rounds": rounds,
        "path": "/orders/{identity}",
        "identities": 500,
        "connections": CONNECTIONS,
        "seconds": SECONDS,
        "warm_up": WARM_UP,
    }


def ask(lab: Lab, host: str, told: Mapping[str, Any], limit: float) -> dict[str, list[dict[str, float]]]:
    """Run load.py there; it leaves nothing behind."""
    command = ["ssh", "-F", str(lab.ssh_config), host, f"sudo python3 -I - {shlex.quote(json.dumps(told))}"]
    try:
        with SCRIPT.open(encoding="utf-8") as script:
            done = subprocess.run(command, stdin=script, capture_output=True, text=True, timeout=limit, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{host} can't be measured: {error}; `make status` says whether the lab answers.") from error
    if done.returncode:
        raise BenchError(f"{host} can't be measured:\n{done.stderr.strip()}")
    answer: dict[str, list[dict[str, float]]] = json.loads(done.stdout)
    return answer


def compare(loads: Mapping[str, list[Load]]) -> list[Figure]:
    chosen, peer = loads[CHOSEN], loads[PEER]
    times = median_ratio([item.rate for item in chosen], [item.rate for item in peer])
    return [
        Figure(
            figure=f"one-query request, times {PEER}", value=times, unit="x", goal=GOAL, better="higher",
            how=f"{HOW}; median of the rounds' ratios",
        ),
        Figure(
            figure="one-query request, rate", value=median(item.rate for item in chosen), unit="/s", better="higher",
            peer=PEER, peer_value=median(item.rate for item in peer), how=HOW,
        ),
        Figure(
            figure="one-query request, server's CPU", value=median(item.cost for item in chosen), unit="ms", better="lower",
            peer=PEER, peer_value=median(item.cost for item in peer), how=f"{HOW}; without database, pooler and load",
        ),
        Figure(
            figure="server's memory", value=median(item.megabytes for item in chosen), unit="MB", better="lower",
            peer=PEER, peer_value=median(item.megabytes for item in peer), how=f"{HOW}; shared pages divided",
        ),
    ]  # fmt: skip


TARGET = Target(
    purpose="requests per second of the example's server, against gunicorn's sync workers",
    needs="a lab that is up and deployed (`make lab`)",
    takes="about 20 seconds for each round",
    rounds=5,
    missing=missing,
    measure=measure,
)
