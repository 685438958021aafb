# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command: which targets there are, what is shown and written, and what is refused."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as command
from bench.harness import BenchError, Figure, Run, Target

FIGURE = Figure(
    figure="reading", value=1.5, unit="s", better="lower", goal=4, peer="by hand", peer_value=6, how="twice"
)


def target(missing: str | None = None, error: str | None = None) -> Target:
    def measure(run: Run) -> list[Figure]:
        run.say(f"{run.rounds} rounds")
        if error:
            raise BenchError(error)
        return [FIGURE]

    return Target("what it is for", "a quiet place", "a moment", 3, lambda: missing, measure)


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=120, quiet=False)


def test_every_file_of_targets_is_one() -> None:
    known = command.find_targets()
    assert set(known) == {path.stem for path in Path(command.__file__).parent.glob("targets/[a-z]*.py")}
    for one in known.values():
        assert one.purpose
        assert one.needs
        assert one.takes
        assert one.rounds > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["invntory"], ("TARGET invntory", "quick", "what it is for", "a quiet place"), id="unknown target"
        ),
        pytest.param(["quick", "--rounds", "0"], ("ROUNDS is 0", "at least 1"), id="no rounds"),
    ],
)
def test_what_is_refused(arguments: list[str], words: tuple[str, ...]) -> None:
    with pytest.raises(BenchError) as caught:
        command.parse(arguments, {"quick": target()})
    assert all(word in str(caught.value) for word in words)


def test_an_unknown_target_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["invntory"]) == command.FAILED
    assert "inventory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("one", "rounds", "words", "written"),
    [
        pytest.param(
            target(), None, ("a quiet place", "3 rounds", "1.5 s", "≤ 4", "met", "6 s", "4.00x"), True, id="measured"
        ),
        pytest.param(target(), 7, ("7 rounds",), True, id="rounds that were asked for"),
        pytest.param(
            target(missing="start a lab"), None, ("not measured: start a lab",), False, id="something is missing"
        ),
        pytest.param(target(error="too slow"), None, ("not measured: too slow",), False, id="it fails"),
    ],
)
def test_a_target(
    one: Target, rounds: int | None, words: tuple[str, ...], written: bool,
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    assert command.measure(console, "quick", one, rounds) is written
    shown = console.export_text()
    assert [word for word in words if word not in shown] == []
    results = tmp_path / "results/quick.json"
    assert results.exists() is written
    if written:
        (entry,) = json.loads(results.read_text(encoding="utf-8"))
        assert sorted(entry) == ["better", "figure", "goal", "how", "peer", "peer_value", "unit", "value"]
        assert (entry["value"], entry["goal"], entry["peer_value"]) == (1.5, 4, 6)


@pytest.mark.parametrize(
    ("load", "warns"), [pytest.param(0.4, False, id="quiet"), pytest.param(1.2, True, id="somebody else is at work")]
)
def test_a_busy_machine_is_told(load: float, warns: bool, console: Console) -> None:
    command.warn_of_load(console, load)
    assert ("WARNING" in console.export_text()) is warns


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(12345.6, "12,346", id="large"),
        pytest.param(3.14159, "3.14", id="some"),
        pytest.param(0.0012345, "0.00123", id="small"),
    ],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert command.show(value) == shown
