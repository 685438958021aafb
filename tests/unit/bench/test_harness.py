# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The harness: what commands take, who takes turns, and how a figure stands to its goal and its peer."""

import sys
from functools import partial
from typing import Literal

import pytest

from bench.harness import BenchError, Figure, measure_command, median_ratio, take_turns

PYTHON = [sys.executable, "-I", "-S", "-c"]
MEGABYTE = 1024 * 1024


def figure(value: float, better: Literal["lower", "higher"], goal: float | None, peer_value: float | None) -> Figure:
    return Figure(figure="f", value=value, unit="s", better=better, how="", goal=goal, peer="p", peer_value=peer_value)


@pytest.mark.parametrize(
    ("item", "met", "times"),
    [
        pytest.param(figure(2, "lower", 4, 6), True, 3, id="lower is better, and it is lower"),
        pytest.param(figure(5, "lower", 4, 2.5), False, 0.5, id="lower is better, and it is higher"),
        pytest.param(figure(5, "higher", 4, 2.5), True, 2, id="higher is better, and it is higher"),
        pytest.param(figure(4, "higher", 4, 8), True, 0.5, id="exactly the goal, from above"),
        pytest.param(figure(4, "lower", 4, 8), True, 2, id="exactly the goal, from below"),
        pytest.param(figure(2, "lower", None, None), None, None, id="neither goal nor peer"),
        pytest.param(figure(2, "lower", 4, 0), True, None, id="a peer that took nothing"),
    ],
)
def test_a_figure_beside_its_goal_and_its_peer(item: Figure, met: bool | None, times: float | None) -> None:
    assert (item.meets_goal, item.times_better) == (met, times)


def test_a_command_s_processor_and_memory_are_its_own() -> None:
    ballast = bytearray(300 * MEGABYTE)
    ballast[::4096] = b"x" * len(ballast[::4096])
    idle = measure_command([*PYTHON, "print('done')"])
    busy = measure_command([*PYTHON, f"x = b'x' * {100 * MEGABYTE}; sum(range(20_000_000))"])
    assert idle.output == "done\n"
    assert idle.peak_megabytes < 60
    assert 100 < busy.peak_megabytes < 200
    assert busy.cpu_seconds > idle.cpu_seconds + 0.1
    assert busy.seconds >= busy.cpu_seconds * 0.9


@pytest.mark.parametrize(
    ("command", "limit", "message"),
    [
        pytest.param([*PYTHON, "import sys; sys.exit('no such thing')"], 60, "no such thing", id="it fails"),
        pytest.param([*PYTHON, "import signal; signal.pause()"], 0.5, "took over 0 s", id="it doesn't end"),
        pytest.param(["/nowhere/to/be/found"], 60, "can't be started", id="it isn't there"),
    ],
)
def test_a_command_that_fails_is_refused(command: list[str], limit: float, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        measure_command(command, limit=limit)


def test_ways_take_turns_and_each_round_begins_with_another() -> None:
    calls: list[str] = []

    def way(name: str) -> int:
        calls.append(name)
        return len(calls)

    said: list[str] = []
    results = take_turns({name: partial(way, name) for name in "abc"}, 4, said.append)
    assert "".join(calls) == "abcbcacababc"
    assert results == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}
    assert len(said) == len(calls)


def test_the_ratio_is_that_of_pairs_of_the_same_round() -> None:
    # A machine that gets slower would make medians of each side alone tell another story.
    assert median_ratio([30, 20, 4], [10, 10, 1]) == 3
