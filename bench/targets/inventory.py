# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every command pays for the member registry before its first task, against inventories that hold the same."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from bench.harness import ROOT, BenchError, Figure, Run, Sample, Target, measure_command, median, take_turns

SIZES = (10, 10_000)
ZONES = 10
GOALS = {10_000: (4.0, 150.0)}
REGISTRY, YAML, SCRIPT = "registry", "static YAML", "JSON script"
HOW = (
    "`ansible all --list-hosts`: median of alternating runs, process CPU and the largest process's memory by wait4; each "
    "member has a server, in the group app_servers and one of 10 zones; peers hold what `ansible-inventory --list --export` says"
)
# Run by a process of its own: what holds the whole inventory would count among the memory of all that it starts.
WRITE_PEERS = """
import json, pathlib, sys, yaml
exported, static, script = map(pathlib.Path, sys.argv[1:])
groups = json.loads(exported.read_text())
hosts = groups["_meta"]["hostvars"]

def grow(name):
    group = groups.get(name, {})
    body = {"hosts": {host: None for host in group.get("hosts", [])}, "vars": group.get("vars", {})}
    return body | {"children": {child: grow(child) for child in group.get("children", [])}}

tree = grow("all")
tree["hosts"] = hosts
with static.open("w") as file:
    yaml.dump({"all": tree}, file, Dumper=yaml.CSafeDumper)
script.write_text(f'#!/bin/sh\\nexec cat "{exported}"\\n')
script.chmod(0o700)
"""


def registry_lines(members: int) -> Iterator[str]:
    """A registry of so many members, each with a server of its own."""
    yield from (
        "plugin: nectar.backend.members",
        "environment: bench",
        "domain: example.org",
        "network_ipv4: 10.0.0.0/16",
        "network_ipv6: fd00::/64",
        f"extra_groups: [{', '.join(f'zone{zone}' for zone in range(ZONES))}]",
        "applications:",
        "  orders:",
        "    source: {directory: orders}",
        '    processes: {web: {type: web, command: "gunicorn --bind {address}:{port} orders.app:app"}}',
        "defaults: {application: orders}",
        "servers:",
    )
    for number in range(1, members + 1):
        yield f"  server{number}: {{number: {number}, groups: [app_servers, zone{number % ZONES}], memory: 1900M}}"
    yield "members:"
    for number in range(1, members + 1):
        yield f"  member{number}: {{number: {number}, servers: [server{number}]}}"


def write_inventories(folder: Path, members: int) -> dict[str, Path]:
    """The registry, and its peers by Ansible's own export."""
    registry, exported = folder / "members.yml", folder / "exported.json"
    peers = {YAML: folder / "static.yml", SCRIPT: folder / "inventory.sh"}
    registry.write_text("\n".join(registry_lines(members)) + "\n", encoding="utf-8")
    measure_command(
        [*ansible("ansible-inventory", registry), "--list", "--export", "--output", str(exported)],
        environment=environment(REGISTRY),
    )
    measure_command([sys.executable, "-c", WRITE_PEERS, str(exported), *map(str, peers.values())])
    return {REGISTRY: registry, **peers}


def ansible(program: str, source: Path) -> list[str]:
    return [str(Path(sys.executable).with_name(program)), "-i", str(source)]


def environment(way: str) -> dict[str, str]:
    """The project's configuration, with the plugin that reads this source alone."""
    plugins = {REGISTRY: "nectar.backend.members", YAML: "ansible.builtin.yaml", SCRIPT: "ansible.builtin.script"}
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ENABLED": plugins[way],
        "LC_ALL": "C.UTF-8",
    }


def list_hosts(way: str, source: Path, expected: int) -> Sample:
    sample = measure_command([*ansible("ansible", source), "all", "--list-hosts"], environment=environment(way))
    if f"hosts ({expected}):" not in sample.output:
        raise BenchError(f"{way} lists other hosts than the {expected} of the registry; compare the two by hand.")
    return sample


def measure(run: Run) -> list[Figure]:
    figures: list[Figure] = []
    for members in SIZES:
        with tempfile.TemporaryDirectory(prefix="nectar-bench-") as folder:
            run.say(f"{members:,} members: write the registry and its peers")
            sources = write_inventories(Path(folder), members)
            ways: dict[str, Callable[[], Sample]] = {
                way: partial(list_hosts, way, source, members) for way, source in sources.items()
            }
            figures += compare(members, take_turns(ways, run.rounds, run.say))
    return figures


def compare(members: int, samples: Mapping[str, list[Sample]]) -> list[Figure]:
    """CPU seconds and memory of the registry, once against each peer."""
    cpu = {way: median(sample.cpu_seconds for sample in taken) for way, taken in samples.items()}
    peak = {way: median(sample.peak_megabytes for sample in taken) for way, taken in samples.items()}
    goals = GOALS.get(members, (None, None))
    return [
        Figure(figure=f"{members:,} members, {what}", value=values[REGISTRY], unit=unit, goal=goal, better="lower",
               peer=peer, peer_value=values[peer], how=HOW)
        for what, unit, values, goal in (("CPU", "s", cpu, goals[0]), ("memory", "MB", peak, goals[1]))
        for peer in (YAML, SCRIPT)
    ]  # fmt: skip


TARGET = Target(
    purpose="reading registries of 10 and of 10,000 members",
    needs="nothing but the environment (`make environment`)",
    takes="about 5 minutes, of which static YAML takes most",
    rounds=3,
    missing=lambda: None,
    measure=measure,
)
