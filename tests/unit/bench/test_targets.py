# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What targets make of what they measured."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils import tuning_trial

from bench.harness import BenchError, Run, Sample
from bench.load import ADDRESS, PORT, fill
from bench.targets import addresses, app, converge, inventory, queries


def event(kind: str, second: int, **more: object) -> dict[str, Any]:
    return {"_event": kind, "_timestamp": f"2026-01-31T15:45:{second:02}.000000Z", **more}


def task(second: int, name: str) -> dict[str, Any]:
    return event("v2_playbook_on_task_start", second, task={"name": name})


EVENTS = [
    event("v2_playbook_on_play_start", 0),
    task(1, "Gathering Facts"),
    event("v2_runner_on_ok", 4),
    task(5, "nectar.backend.base : Install the packages"),
    event("v2_runner_on_ok", 7),
    event("v2_runner_on_skipped", 8),
    task(9, "nectar.backend.etcd : Start etcd"),
    event("v2_runner_on_ok", 12),
    task(15, "nectar.backend.base : Write the hosts"),
    event("v2_runner_on_ok", 16),
    event("v2_playbook_on_stats", 18, stats={"app1": {"changed": 1}, "app2": {"changed": 2}}),
    event("v2_playbook_on_play_start", 40),
]


def test_a_task_lasts_until_the_next_and_counts_for_its_role() -> None:
    seconds = converge.seconds_by_role(EVENTS)
    assert seconds == {"base": 7.0, "etcd": 6.0, "facts and playbooks' own tasks": 4.0}
    assert next(iter(seconds)) == "base", "the one that takes longest comes first"


def test_changes_are_the_sum_over_hosts() -> None:
    assert converge.changes(EVENTS) == 3


def test_lines_that_are_no_events_are_passed_over() -> None:
    assert list(converge.read_events('[WARNING]: a word\n{"_event": "x"}\n')) == [{"_event": "x"}]


@pytest.mark.parametrize(
    ("way", "configuration", "pipelining"),
    [
        pytest.param(converge.PROJECT, "ansible.cfg", None, id="as it is"),
        pytest.param(converge.UNPIPELINED, "ansible.cfg", "false", id="without pipelining"),
        pytest.param(converge.STOCK, "empty.cfg", None, id="without our configuration"),
    ],
)
def test_each_way_differs_in_what_it_is_named_for(
    way: str, configuration: str, pipelining: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_FORKS", "50")
    environment = converge.environments(Path("/tmp/empty.cfg"))[way]
    assert Path(environment["ANSIBLE_CONFIG"]).name == configuration
    assert environment.get("ANSIBLE_PIPELINING") == pipelining
    assert "ANSIBLE_FORKS" not in environment, "what a person has set would count for all ways"


def test_converged_runs_are_compared() -> None:
    def ran(seconds: float, roles: dict[str, float]) -> converge.Converged:
        return converge.Converged(Sample(seconds, seconds / 2, 50), 440, roles)

    figures = converge.compare(
        {
            converge.PROJECT: [ran(60, {"base": 20, "etcd": 5}), ran(80, {"base": 30, "etcd": 5})],
            converge.UNPIPELINED: [ran(140, {"base": 40}), ran(140, {"base": 40})],
            converge.STOCK: [ran(200, {"base": 60}), ran(220, {"base": 90})],
        }
    )
    rows = {(item.figure, item.peer): (item.value, item.peer_value) for item in figures}
    assert rows["one server of each kind, wall", converge.STOCK] == (70, 210)
    assert rows["one server of each kind, controller's CPU", converge.UNPIPELINED] == (35, 70)
    assert rows["role base", converge.STOCK] == (25, 75)
    assert rows["role base", converge.UNPIPELINED] == (25, 40)
    assert rows["role etcd", converge.STOCK] == (5, 0)


@pytest.mark.parametrize(("executions", "met"), [(450, True), (451, False)])
def test_the_whole_run_is_held_to_its_number_of_executions(executions: int, met: bool) -> None:
    figures = converge.describe(converge.Converged(Sample(60, 30, 50), executions, {}))
    assert [item.value for item in figures] == [60, 30, executions]
    assert figures[-1].meets_goal is met


def test_the_chosen_server_is_what_the_registry_says() -> None:
    command = "serve --bind {address}:{port} --threads {threads} --workers {workers} 'shop:make app'"
    told = app.plan(
        {
            "deployments": {"staging": {"application": "shop", "share": {"threads": 4, "workers": 1}}},
            "applications": {"shop": {"processes": {"web": {"command": command}}}},
        },
        rounds=3,
    )
    words = {way: fill(command, told) for way, command in told["ways"].items()}
    assert words[app.CHOSEN] == shlex.split(f"serve --bind {ADDRESS}:{PORT} --threads 4 --workers 2 'shop:make app'")
    assert words[app.PEER][-2] == f"{ADDRESS}:{PORT}"
    assert json.loads(json.dumps(told)) == told


def test_loads_are_compared_round_by_round() -> None:
    def loads(*rates: int) -> list[app.Load]:
        return [app.Load(requests=rate * 4, seconds=4, cpu_seconds=rate * 4 / 1000, megabytes=40) for rate in rates]

    figures = {item.figure: item for item in app.compare({app.CHOSEN: loads(300, 40), app.PEER: loads(100, 10)})}
    assert figures["one-query request, times gunicorn sync"].value == 3.5
    assert figures["one-query request, rate"].peer_value == 55
    assert figures["one-query request, server's CPU"].value == 1


def test_each_member_of_the_registry_has_a_server_of_their_own() -> None:
    lines = list(inventory.registry_lines(25))
    assert lines.count("members:") == lines.count("servers:") == 1
    assert sum(line.startswith("  server") for line in lines) == 25
    assert "  member25: {number: 25, servers: [server25]}" in lines


def test_the_registry_and_its_peers_list_the_same_hosts(tmp_path: Path) -> None:
    sources = inventory.write_inventories(tmp_path, 12)
    outputs = {way: inventory.list_hosts(way, source, 12).output for way, source in sources.items()}
    assert len({"\n".join(sorted(output.split())) for output in outputs.values()}) == 1


def test_addresses_are_of_all_kinds_and_none_is_left_out() -> None:
    found = addresses.candidates(addresses.CANDIDATES)
    assert len(set(found)) == addresses.CANDIDATES
    ports = [port for _, port in found]
    assert ports.count(addresses.OPEN_PORT) == addresses.CANDIDATES / 2
    assert ports.count(addresses.DROPPED_PORT) == addresses.CANDIDATES * addresses.DROPPED_PERCENT / 100
    asked = addresses.endpoints(found, addresses.ENDPOINTS)
    assert len(asked) == addresses.ENDPOINTS
    assert sum(len(item["candidates"]) for item in asked) == addresses.CANDIDATES


def test_a_wrong_verdict_counts_for_nothing() -> None:
    found = [("10.64.0.1", addresses.OPEN_PORT), ("10.64.0.2", addresses.DROPPED_PORT)]

    def said(verdict: str) -> dict[str, Any]:
        given = zip(found, ("reachable", verdict), strict=True)
        items = [{"address": address, "port": port, "verdict": word} for (address, port), word in given]
        return {"endpoints": [{"candidates": items}]}

    addresses.check(said("filtered"), found)
    with pytest.raises(BenchError, match=r"1 verdicts are wrong, the first is .*10\.64\.0\.2"):
        addresses.check(said("refused"), found)


def test_the_loop_is_compared_by_its_slope() -> None:
    figures = addresses.compare(
        {
            addresses.CHOSEN: [Sample(5, 2, 90)],
            addresses.LOOP: [Sample(220, 100, 60)],
            addresses.NMAP: [Sample(10, 3, 40)],
        }
    )
    assert {item.figure: (item.value, item.meets_goal) for item in figures if item.goal} == {
        "10,000 candidates": (5, True),
        "times faster than wait_for in a loop": (2200, True),
        "memory": (90, True),
    }


def test_queries_are_twenty_slow_and_thirty_innocent_each_by_its_own_name() -> None:
    assert (len({query.name for query in queries.SLOW}), len({query.name for query in queries.INNOCENT})) == (20, 30)
    assert {query.sql for query in queries.SLOW} & {query.sql for query in queries.INNOCENT} == set()


def test_a_repair_a_loss_and_the_writes_are_told_apart() -> None:
    told: list[str] = []
    gains = {"found": 2000.0, "hardly": 3.0, "well": 1000.0}
    tight = queries.Point(0.04, 2, gains, [0.9, 0.97, 0.96], [0.9], 1.2)
    free = queries.Point(0.3, 5, gains | {"hardly": 20.0}, [0.7], [0.6], 4.0)
    innocent = {name: tuning_trial.Estimate(ratio, None, None) for name, ratio in (("same", 1.0), ("worse", 1.06))}
    figures = queries.figures({0.05: tight, 1.0: free}, innocent, 12.0, Run(told.append, 1))
    assert {item.figure: (item.value, item.meets_goal) for item in figures if item.goal is not None} == {
        "slow queries of 3 repaired (10x and more)": (2, False),
        "median gain, of the repaired": (1500, True),
        "innocent queries of 2 slower by over 5 %": (1, False),
        "writes per second, times the twin's (too few rounds for an interval)": (0.96, True),
    }
    curve = {item.figure: item.value for item in figures}
    assert curve["writes may lose 100%: repaired, with 5 indexes"] == 3
    assert curve["writes may lose 100%: writes per second, times the twin's (too few rounds for an interval)"] == 0.7
    assert told[0] == "  innocent: worse: 1.060 (too few pairs for an interval) times the twin's mean"
