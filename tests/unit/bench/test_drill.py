# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which faults a drill makes, and what it says came out."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import drill
from bench.campaign import Campaign
from bench.harness import BenchError

KNOWN = ["postmaster killed", "Patroni killed", "host lost", "host lost with etcd's lead", "host frozen past its lease"]


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        pytest.param("", KNOWN, id="all"),
        pytest.param("postmaster,patroni", KNOWN[:2], id="how they begin"),
        pytest.param(" patroni , postmaster-killed,", [KNOWN[1], KNOWN[0]], id="in the order that was asked for"),
        pytest.param("host-lost", ["host lost"], id="a name that another begins with"),
        pytest.param("host lost with etcd's lead", [KNOWN[3]], id="as the table has it"),
        pytest.param("postmaster,postmaster-killed", KNOWN[:1], id="twice is once"),
    ],
)
def test_choose_kinds(given: str, chosen: list[str]) -> None:
    assert drill.choose_kinds(given, KNOWN) == chosen


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param("disk", "kinds: disk is unknown; expected some of postmaster-killed, patroni-killed", id="unknown"),
        pytest.param("patroni,host", "host may be any of host-lost, host-lost-with-etcds-lead, host-frozen", id="several"),
    ],
)  # fmt: skip
def test_which_kinds_are_refused(given: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        drill.choose_kinds(given, KNOWN)


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": 2.5, "p95": max(values), "max": max(values)}


CAMPAIGN = Campaign({"postmaster killed": [2.0, 3.0], "host lost": [20.04, 21.0]}, 900, 7, 1, 450, 0)


def test_what_came_out_is_a_distribution() -> None:
    report = drill.distribution(CAMPAIGN, spread)
    assert report["kinds"]["postmaster killed"] == {
        "count": 2, "min": 2.0, "median": 2.5, "p95": 3.0, "max": 3.0, "seconds": [2.0, 3.0],
    }  # fmt: skip
    assert (report["acknowledged"], report["refused"], report["lost"], report["rivals"]) == (900, 7, 1, 0)
    assert json.loads(json.dumps(report)) == report


def test_a_person_gets_a_line_for_each_kind() -> None:
    lines = drill.table({"load": 1.5, "cores": 2, **drill.distribution(CAMPAIGN, spread)})
    assert lines == [
        "seconds without an acknowledged write; load average 1.50 on 2 cores to begin with",
        "kind               faults     min s  median s     p95 s     max s",
        "postmaster killed       2       2.0       2.5       3.0       3.0",
        "host lost               2      20.0       2.5      21.0      21.0",
        "900 writes were acknowledged and 1 of them lost, 7 were refused; of 450 commits on the servers themselves 0 were given by two primaries",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--rounds", "0"], "rounds is 0; expected at least 1", id="no rounds"),
        pytest.param([], "no lab is up", id="no lab"),
    ],
)
def test_what_can_not_be_rehearsed(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert drill.main([*words, "--json", str(tmp_path / "out.json")]) == drill.FAILED
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
