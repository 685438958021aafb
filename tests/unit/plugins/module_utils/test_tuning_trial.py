# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import itertools
import random

import pytest
from ansible_collections.nectar.backend.plugins.module_utils import tuning_trial as trial
from ansible_collections.nectar.backend.plugins.module_utils.tuning_trial import Estimate, Run
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import TuningError

MB = 1 << 20


def pairs(speeds: list[float], logs: list[float] | float = 1.0, log: int = 4000) -> list[tuple[Run, Run]]:
    """Pairs whose new run is so many times the old one."""
    spread = logs if isinstance(logs, list) else [logs] * len(speeds)
    return [
        (Run(1000, 2.0, 1000 * log), Run(1000, 2.0 / speed, round(1000 * log * ratio)))
        for speed, ratio in zip(speeds, spread, strict=True)
    ]


NOISE = [0.99, 1.01, 1.0, 1.02, 0.985, 1.015, 1.0, 0.995, 1.005, 1.0]
WILD = [0.7, 1.4, 0.9, 1.2, 1.0, 1.1, 0.8, 1.3, 1.05, 1.01]


@pytest.mark.parametrize(
    ("measured", "restarting", "verdict", "keep"),
    [
        pytest.param(pairs(NOISE), ["b"], "kept", ("a", "b"), id="no loss"),
        pytest.param(pairs([s * 1.2 for s in NOISE], 0.2), ["b"], "kept", ("a", "b"), id="a gain"),
        pytest.param(pairs([s * 0.8 for s in NOISE]), [], "lost", (), id="slower"),
        pytest.param(pairs(NOISE, 4.0), [], "lost", (), id="as fast with four times the log"),
        pytest.param(pairs(NOISE, 4.0, log=50), ["b"], "kept", ("a", "b"), id="four times next to nothing"),
        pytest.param(pairs(WILD), ["b"], "unresolved", ("a",), id="noise, and the median is no loss"),
        pytest.param(pairs([s * 0.9 for s in WILD]), ["b"], "unresolved", (), id="noise, and the median is a loss"),
        pytest.param(pairs(NOISE[:4]), ["b"], "unresolved", ("a",), id="too few pairs"),
        pytest.param(pairs(NOISE, [0.5, 3.0] * 5), ["b"], "unresolved", (), id="the log may have grown"),
    ],
)
def test_judge(measured: list[tuple[Run, Run]], restarting: list[str], verdict: str, keep: tuple[str, ...]) -> None:
    judged = trial.judge(measured, ["b", "a"], restarting, trial.Limits())
    assert (judged.verdict, judged.keep) == (verdict, keep)


def test_a_run_without_transactions_proves_nothing() -> None:
    with pytest.raises(TuningError, match="made no transaction"):
        trial.judge([(Run(0, 1.0, 0), Run(10, 1.0, 0))], ["a"], [], trial.Limits())
    with pytest.raises(TuningError, match="made no transaction"):
        trial.judge([], ["a"], [], trial.Limits())


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        pytest.param(5, None, None, id="five hold the median with 94 %"),
        pytest.param(6, 1.0, 6.0, id="six: the least and the greatest"),
        pytest.param(10, 2.0, 9.0, id="ten: all but one on either side"),
        pytest.param(20, 6.0, 15.0, id="twenty"),
    ],
)
def test_estimate(count: int, low: float | None, high: float | None) -> None:
    ratios = [float(number) for number in range(1, count + 1)]
    assert trial.estimate(ratios[::-1]) == Estimate((count + 1) / 2, low, high)


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    chance, held, rounds = random.Random(1), 0, 2000
    for _round in range(rounds):
        found = trial.estimate([chance.lognormvariate(0.0, 0.4) for _pair in range(10)])
        assert found.low is not None and found.high is not None
        held += found.low <= 1.0 <= found.high
    assert held / rounds > 0.96


def test_turns_change_who_goes_first() -> None:
    order = trial.turns(4)
    assert order == [(0, False), (0, True), (1, True), (1, False), (2, False), (2, True), (3, True), (3, False)]
    assert all(
        {is_new for _pair, is_new in both} == {True, False}
        for _number, both in itertools.groupby(order, lambda turn: turn[0])
    )


@pytest.mark.parametrize(
    ("free", "memory", "problem"),
    [
        pytest.param(3000, 2000, None, id="room for all"),
        pytest.param(900, 2000, "900 MB free, and a clone takes 590 MB", id="no disk"),
        pytest.param(3000, 100, "100 MB of memory are available, and a clone takes 139 MB", id="no memory"),
    ],
)
def test_refuse_without_room(free: int, memory: int, problem: str | None) -> None:
    room = trial.Room(free * MB, memory * MB, data=100 * MB, log=128 * MB, buffers=60 * MB)
    if problem is None:
        trial.refuse_without_room(room, 10, "/scratch")
        return
    with pytest.raises(TuningError, match=problem):
        trial.refuse_without_room(room, 10, "/scratch")


def test_the_clone_has_the_servers_settings_and_none_of_its_ways_out() -> None:
    settings = {
        "work_mem": "4MB", "listen_addresses": "10.0.0.1", "ssl_key_file": "/key", "archive_mode": "on",
        "synchronous_standby_names": "ANY 1 (*)", "log_line_prefix": "it's ", "port": "5432",
    }  # fmt: skip
    lines = trial.clone_config(settings, {"work_mem": "8MB"}, "/scratch").splitlines()
    assert {"work_mem = '8MB'", "listen_addresses = ''", "log_line_prefix = 'it''s '"} <= set(lines)
    assert {"unix_socket_directories = '/scratch'", "archive_mode = 'off'", "data_directory = '/scratch/data'"} <= set(
        lines
    )
    assert not any(line.startswith(("ssl", "synchronous_standby", "port")) for line in lines)


BENCH = "tps\nnumber of transactions actually processed: 4711\nnumber of failed transactions: {failed} (0.000%)\n"


def test_read_bench() -> None:
    assert trial.read_bench(BENCH.format(failed=0)) == 4711


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(BENCH.format(failed=3), "3 of the workload's transactions failed", id="failures"),
        pytest.param("pgbench: error: no such table", "no such table", id="no count"),
    ],
)
def test_a_workload_that_fails_is_refused(text: str, problem: str) -> None:
    with pytest.raises(TuningError, match=problem):
        trial.read_bench(text)


def stat(parent: int, *ticks: int) -> str:
    user, system, waited_user, waited_system = ticks
    return f"1 (post) gres (x) S {parent} 1 1 0 -1 0 0 0 0 0 {user} {system} {waited_user} {waited_system} 20 0 1"


def test_tree_ticks_counts_a_family_and_whom_it_waited_for() -> None:
    stats = {
        10: stat(1, 1, 2, 30, 40),
        11: stat(10, 100, 0, 0, 0),
        12: stat(11, 1000, 0, 0, 0),
        99: stat(1, 5, 5, 5, 5),
    }
    assert trial.tree_ticks(stats, 10) == 1173


@pytest.mark.parametrize(
    ("kind", "script", "options"),
    [
        pytest.param("select", "", ["--builtin=select-only"], id="builtin"),
        pytest.param("mixed", "", ["--builtin=select-only@8", "--builtin=tpcb-like@2"], id="weighed"),
        pytest.param("oltp", "/s.sql", ["--file=/s.sql"], id="a script of one's own goes first"),
        pytest.param("analytic", "/s.sql", ["--file=/s.sql"], id="long questions"),
    ],
)
def test_bench_options(kind: str, script: str, options: list[str]) -> None:
    assert trial.bench_options(kind, script) == options
