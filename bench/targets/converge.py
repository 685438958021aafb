# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run of site.yml that changes nothing, on the lab that is up: by role, and against Ansible's own settings."""

import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.harness import ROOT, BenchError, Figure, Run, Sample, Target, measure_command, median, take_turns
from nectar_backend.errors import NectarError
from nectar_backend.project import INVENTORIES, find_lab, require_topology

PROJECT, UNPIPELINED, STOCK = "this project", "without pipelining", "Ansible's defaults"
MOST_EXECUTIONS = 450
# Seconds that one run may take; without pipelining, on a busy machine, minutes have been seen.
LIMIT = 900
# One server of each kind runs every role. All of them, three times over, took too long on a busy machine.
ONE_OF_EACH = "loadbalancers[0],app_servers[0],database_servers[0],ops_servers[0],localhost"
STARTS = frozenset({"v2_playbook_on_task_start", "v2_playbook_on_handler_task_start"})
RESULTS = frozenset({"v2_runner_on_ok", "v2_runner_on_skipped", "v2_runner_on_failed", "v2_runner_on_unreachable"})
HOW = (
    "`ansible-playbook playbooks/site.yml` on the converged lab, unrecorded, limited to one server of each kind: median of "
    "alternating runs, CPU of the controller by wait4. Without pipelining: our ansible.cfg but for that. Ansible's defaults: "
    "no ansible.cfg, so 5 forks too"
)


@dataclass(frozen=True)
class Converged:
    """One run: what it took, its task executions, and the seconds of each role."""

    sample: Sample
    executions: int
    roles: Mapping[str, float]


def missing() -> str | None:
    try:
        require_topology(find_lab(os.environ, Path.home()))
    except NectarError as error:
        return str(error)
    return None


def environments(empty: Path) -> dict[str, dict[str, str]]:
    """Each way's environment; the stock one has only what a run of this collection can't do without."""
    common = {
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl",
        # In place of records: a run that is measured is no change to keep one of. Ansible takes no empty list.
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
        "ANSIBLE_INVENTORY_ENABLED": "nectar.backend.members",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | common
    callbacks = {"ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer,nectar.backend.preload"}
    ours = inherited | callbacks | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    return {
        PROJECT: ours,
        UNPIPELINED: ours | {"ANSIBLE_PIPELINING": "false"},
        STOCK: inherited | {"ANSIBLE_CONFIG": str(empty)},
    }


def converge(
    environment: Mapping[str, str], sources: Iterable[str], say: Callable[[str], None], limit: str = ONE_OF_EACH
) -> Converged:
    inventory = [word for source in sources for word in ("-i", source)]
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [playbook, *inventory, "--limit", limit, "playbooks/site.yml"]
    sample = measure_command(command, environment=environment, limit=LIMIT)
    events = list(read_events(sample.output))
    if changed := changes(events):
        raise BenchError(
            f"site.yml changed {changed} things, and only a run that changes none is measured; run it again."
        )
    executions = sum(event["_event"] in RESULTS for event in events)
    say(
        f"  {sample.seconds:.0f} s, of which {sample.cpu_seconds:.0f} of a processor here, for {executions} task executions"
    )
    return Converged(sample, executions, seconds_by_role(events))


def read_events(output: str) -> Iterator[dict[str, Any]]:
    """What ansible.posix.jsonl printed; warnings may stand between."""
    for line in output.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def changes(events: Iterable[Mapping[str, Any]]) -> int:
    return sum(host["changed"] for event in events for host in event.get("stats", {}).values())


def seconds_by_role(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Each task's seconds, until the next one starts, added to its role's."""
    seconds: defaultdict[str, float] = defaultdict(float)
    role, since = "", 0.0
    for event in events:
        now = datetime.fromisoformat(event["_timestamp"]).timestamp()
        if role:
            seconds[role] += now - since
        if event["_event"] in STARTS:
            role = role_of(event["task"]["name"])
        elif event["_event"] not in RESULTS:
            role = ""
        since = now
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def role_of(task: str) -> str:
    """Ansible shows a task of a role as `collection.role : task`."""
    role, separator, _ = task.partition(" : ")
    return role.rpartition(".")[2] if separator else "facts and playbooks' own tasks"


def measure(run: Run) -> list[Figure]:
    sources = INVENTORIES[require_topology(find_lab(os.environ, Path.home()))]
    with tempfile.TemporaryDirectory(prefix="nectar-bench-") as folder:
        empty = Path(folder, "ansible.cfg")
        empty.touch()
        each = environments(empty)
        ways: dict[str, Callable[[], Converged]] = {
            way: partial(converge, environment, sources, run.say) for way, environment in each.items()
        }
        run.say("all servers, once")
        whole = converge(each[PROJECT], sources, run.say, "all,localhost")
        return describe(whole) + compare(take_turns(ways, run.rounds, run.say))


def describe(whole: Converged) -> list[Figure]:
    """The run over all servers, as this project has it."""
    how = "`ansible-playbook playbooks/site.yml` on the whole converged lab, unrecorded, once"
    counted = "one task on one host is one, skipped ones too"
    return [
        Figure(figure="site.yml, all servers, wall", value=whole.sample.seconds, unit="s", better="lower", how=how),
        Figure(figure="site.yml, all servers, controller's CPU", value=whole.sample.cpu_seconds, unit="s",
               better="lower", how=how),
        Figure(figure="site.yml, all servers, task executions", value=whole.executions, unit="", goal=MOST_EXECUTIONS,
               better="lower", how=f"{how}: {counted}"),
    ]  # fmt: skip


def compare(runs: Mapping[str, list[Converged]]) -> list[Figure]:
    """The run against each peer, then each role against both."""
    seconds = {way: median(item.sample.seconds for item in taken) for way, taken in runs.items()}
    cpu = {way: median(item.sample.cpu_seconds for item in taken) for way, taken in runs.items()}
    figures = [
        Figure(figure=f"one server of each kind, {what}", value=values[PROJECT], unit="s", better="lower", peer=peer,
               peer_value=values[peer], how=HOW)
        for what, values in (("wall", seconds), ("controller's CPU", cpu))
        for peer in (UNPIPELINED, STOCK)
    ]  # fmt: skip
    return figures + [
        Figure(figure=f"role {role}", value=role_seconds(runs[PROJECT], role), unit="s", better="lower", peer=peer,
               peer_value=role_seconds(runs[peer], role), how=f"{HOW}; a task lasts until the next one starts")
        for role in runs[PROJECT][0].roles
        for peer in (UNPIPELINED, STOCK)
    ]  # fmt: skip


def role_seconds(runs: Iterable[Converged], role: str) -> float:
    return median(item.roles.get(role, 0.0) for item in runs)


TARGET = Target(
    purpose="the seconds of a site.yml that has nothing to change",
    needs="a lab that is up and converged (`make lab`)",
    takes="a run over the whole lab (4 to 5 minutes on a busy machine), and three over one server of each kind a round",
    rounds=1,
    missing=missing,
    measure=measure,
)
