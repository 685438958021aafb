# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judging 10,000 addresses with one module call, against `wait_for` in a loop and nmap, in a network of its own."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.harness import ROOT, BenchError, Figure, Run, Sample, Target, measure_command, median, take_turns

CANDIDATES, ENDPOINTS = 10_000, 1_000
DROPPED_PERCENT = 5
TIMEOUT, SPARE = 4.0, 2.0
LOOPED = 200
OPEN_PORT, CLOSED_PORT, DROPPED_PORT = 8001, 8002, 8003
CHOSEN, LOOP, NMAP = "resolve_address", "wait_for in a loop", "nmap -sT"
MODULE = "ansible_collections.nectar.backend.plugins.modules.resolve_address"
HOW = (
    f"{CANDIDATES} candidates of {ENDPOINTS} endpoints in a network namespace: half answer, {DROPPED_PERCENT} % are dropped by a "
    f"rule there, the others refuse; timeout {TIMEOUT:g} s"
)
# The whole of 10.64.0.0/16 is one host here: it has every address of it.
PREPARE = f"""
set -e
ip link set lo up
ip route add local 10.64.0.0/16 dev lo
nft add table inet bench
nft add chain inet bench input '{{ type filter hook input priority 0; }}'
nft add rule inet bench input tcp dport {DROPPED_PORT} drop
"""
SERVE = f"""
import socket, threading
listener = socket.create_server(("0.0.0.0", {OPEN_PORT}), backlog=4096)
print("ready", flush=True)
while True:
    listener.accept()[0].close()
"""


def missing() -> str | None:
    tools = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables", "nmap": "nmap"}
    lacking = [package for tool, package in tools.items() if not shutil.which(tool)]
    if lacking:
        return f"{', '.join(dict.fromkeys(lacking))} is missing; install it (Debian: apt install {' '.join(dict.fromkeys(lacking))})"
    return None if os.geteuid() == 0 else "a network namespace is made as root; run it as root"


def port_of(number: int) -> int:
    """Half of all answer, 5 of 100 are dropped, the others refuse; mixed as in life."""
    if number % 2 == 0:
        return OPEN_PORT
    return DROPPED_PORT if number % (200 // DROPPED_PERCENT // 2) == 1 else CLOSED_PORT


def candidates(count: int) -> list[tuple[str, int]]:
    return [(f"10.64.{number // 250}.{number % 250 + 1}", port_of(number)) for number in range(count)]


def endpoints(found: Sequence[tuple[str, int]], number: int) -> list[dict[str, Any]]:
    """Endpoints of equally many candidates each."""
    size = -(-len(found) // number)
    return [
        {
            "name": f"endpoint{start // size}",
            "probe": "tcp",
            "port": OPEN_PORT,
            "candidates": [
                {"address": address, "port": port, "source": "registry"}
                for address, port in found[start : start + size]
            ],
        }
        for start in range(0, len(found), size)
    ]


def loop_playbook(found: Sequence[tuple[str, int]]) -> str:
    """What one writes without the module: a task that waits for each."""
    items = [{"host": address, "port": port} for address, port in found]
    task = {
        "ansible.builtin.wait_for": {"host": "{{ item.host }}", "port": "{{ item.port }}", "timeout": int(TIMEOUT)},
        "loop": items,
        "register": "found",
        "failed_when": False,
        "no_log": True,
    }
    return json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}])


@contextmanager
def network() -> Iterator[list[str]]:
    """A namespace with a server in it; the command that enters it."""
    serve = f"exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(SERVE)}"
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", PREPARE + serve],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        if not holder.stdout or holder.stdout.readline() != "ready\n":
            raise BenchError(f"no network namespace: {holder.communicate(timeout=5)[1].strip()}")
        yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"]
    finally:
        holder.kill()
        holder.wait()


def measure(run: Run) -> list[Figure]:
    everything = candidates(CANDIDATES)
    with tempfile.TemporaryDirectory(prefix="nectar-bench-") as name, network() as enter:
        folder = Path(name)
        ways = {
            CHOSEN: lambda: judge(enter, folder, everything),
            LOOP: lambda: loop(enter, folder, everything[:LOOPED]),
            NMAP: lambda: scan(enter, folder, everything),
        }
        return compare(take_turns(ways, run.rounds, run.say))


def judge(enter: Sequence[str], folder: Path, found: Sequence[tuple[str, int]]) -> Sample:
    """The module as Ansible runs it, arguments and result included; what it says is checked."""
    arguments = {"endpoints": endpoints(found, ENDPOINTS), "timeout": TIMEOUT, "on_unproven": "report"}
    file = folder / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".ansible/collections")}
    sample = measure_command([*enter, sys.executable, "-m", MODULE, str(file)], environment=environment)
    check(json.loads(sample.output), found)
    return sample


def check(result: Mapping[str, Any], found: Sequence[tuple[str, int]]) -> None:
    """Each verdict must be right: a fast answer that is wrong counts for nothing."""
    expected = {OPEN_PORT: "reachable", CLOSED_PORT: "refused", DROPPED_PORT: "filtered"}
    said = {
        (item["address"], item["port"]): item["verdict"]
        for endpoint in result["endpoints"]
        for item in endpoint["candidates"]
    }
    wrong = [address for address in found if said.get(address) != expected[address[1]]]
    if wrong:
        raise BenchError(f"{len(wrong)} verdicts are wrong, the first is {wrong[0]}: {said.get(wrong[0])}")


def loop(enter: Sequence[str], folder: Path, found: Sequence[tuple[str, int]]) -> Sample:
    """A part of the list; `compare` takes the time that one candidate costs."""
    file = folder / "loop.json"
    file.write_text(loop_playbook(found))
    hosts = folder / "hosts.yml"
    hosts.write_text(json.dumps({"all": {"hosts": {"localhost": {"ansible_python_interpreter": sys.executable}}}}))
    return measure_command(
        [*enter, str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(hosts), str(file)], limit=1200
    )


def scan(enter: Sequence[str], folder: Path, found: Sequence[tuple[str, int]]) -> Sample:
    """nmap tries each port of a list at each host: one call for the hosts of each port, one after the other."""
    commands = []
    for port in (OPEN_PORT, CLOSED_PORT, DROPPED_PORT):
        file = folder / f"hosts{port}"
        file.write_text("".join(f"{address}\n" for address, own in found if own == port))
        commands.append(f"nmap -sT -Pn -n --max-retries 2 -T4 -p {port} -iL {file} -oG - >/dev/null")
    return measure_command([*enter, "sh", "-ec", "\n".join(commands)])


def compare(samples: Mapping[str, Sequence[Sample]]) -> list[Figure]:
    seconds = {way: median(sample.seconds for sample in taken) for way, taken in samples.items()}
    loop_seconds = seconds[LOOP] / LOOPED * CANDIDATES
    return [
        Figure(
            figure=f"{CANDIDATES:,} candidates", value=seconds[CHOSEN], unit="s", goal=TIMEOUT + SPARE, better="lower",
            peer=NMAP, peer_value=seconds[NMAP], how=HOW,
        ),
        Figure(
            figure=f"times faster than {LOOP}", value=loop_seconds / seconds[CHOSEN], unit="x", goal=2000, better="higher",
            how=f"{HOW}; the loop by the slope of its first {LOOPED} candidates: {loop_seconds:.0f} s",
        ),
        Figure(
            figure="memory", value=median(sample.peak_megabytes for sample in samples[CHOSEN]), unit="MB", goal=150, better="lower",
            peer=NMAP, peer_value=median(sample.peak_megabytes for sample in samples[NMAP]), how="the largest process",
        ),
        Figure(
            figure="CPU", value=median(sample.cpu_seconds for sample in samples[CHOSEN]), unit="s", better="lower",
            peer=NMAP, peer_value=median(sample.cpu_seconds for sample in samples[NMAP]), how=HOW,
        ),
    ]  # fmt: skip


TARGET = Target(
    purpose="judging 10,000 addresses with one module call, against wait_for in a loop and nmap",
    needs="root, and Debian's packages nftables and nmap",
    takes="10 minutes a round",
    rounds=1,
    missing=missing,
    measure=measure,
)
