# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the target tune makes of its runs, and what it has its ways set."""

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.tuning_trial import Run as Turn

from bench.harness import Run
from bench.targets import tune

TOLD = Run(lambda _text: None, 10)


def turns(speed: float, log: int) -> list[Turn]:
    return [
        Turn(1000 + number, (1000 + number) / (speed * (1 + number / 1000)), (1000 + number) * log)
        for number in range(10)
    ]


def test_ours_is_held_against_the_best_of_the_others_alone() -> None:
    runs = {
        tune.DEBIAN: turns(100, 5000),
        tune.PGTUNE: turns(120, 1000),
        tune.AUTOBASE: turns(90, 1000),
        tune.OURS: turns(126, 900),
    }
    found = tune.figures("oltp", runs, TOLD)
    goals = {figure.figure.partition(",")[2].partition("'s")[0]: figure.goal for figure in found[:3]}
    assert list(goals.values()) == [None, tune.GOAL, None]
    assert [round(figure.value, 3) for figure in found] == [1.26, 1.05, 1.4, 0.18]
    assert [figure.meets_goal for figure in found] == [None, True, None, True]


def test_the_log_counts_only_where_something_is_written() -> None:
    runs = {name: turns(100, 5000) for name in (tune.DEBIAN, tune.PGTUNE, tune.AUTOBASE, tune.OURS)}
    assert len(tune.figures("select", runs, TOLD)) == 3


@pytest.mark.parametrize(
    ("kind", "work_mem"),
    [
        pytest.param("select", "5041kB", id="web"),
        pytest.param("oltp", "4096kB", id="oltp: its least"),
        pytest.param("mixed", "4854kB", id="mixed: half"),
        pytest.param("analytic", "10922kB", id="data warehouse: half"),
    ],
)
def test_pgtunes_formula(kind: str, work_mem: str) -> None:
    assert tune.pgtune(kind)["work_mem"] == work_mem


def test_ours_is_what_the_role_and_the_budget_say() -> None:
    found = tune.ours("oltp")
    assert (found["shared_buffers"], found["checkpoint_timeout"], found["wal_compression"]) == (
        "1024MB",
        "15min",
        "lz4",
    )
