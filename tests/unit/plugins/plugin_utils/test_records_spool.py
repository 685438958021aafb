# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The spool is bounded, keeps what goes on, and knows a dead run by its lock."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from ansible_collections.nectar.backend.plugins.plugin_utils import records_spool
from ansible_collections.nectar.backend.plugins.plugin_utils.records_spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "state" / "records.spool"))


def ended(spool: Spool, name: str, size: int = 0) -> str:
    run = spool.begin(name)
    run.add(event="run", filler="x" * size)
    run.close()
    return run.path


@pytest.mark.parametrize(
    ("runs", "sizes", "kept"),
    [
        pytest.param(3, 100_000, 3, id="too few"),
        pytest.param(2, 100_000, 2, id="too many"),
        pytest.param(3, 60, 1, id="too large"),
    ],
)
def test_the_oldest_are_dropped(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, runs: int, sizes: int, kept: int
) -> None:
    monkeypatch.setattr(records_spool, "MAX_RUNS", runs)
    monkeypatch.setattr(records_spool, "MAX_BYTES", sizes)
    names = [ended(spool, f"2026-01-0{day}", 10) for day in (1, 2, 3)]
    assert spool.trim() == 3 - kept
    assert spool.waiting() == names[3 - kept :]


def test_a_run_that_goes_on_is_neither_dropped_nor_posted(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_spool, "MAX_RUNS", 0)
    run = spool.begin("2026-01-01")
    assert spool.trim() == 0
    with spool.claim(run.path) as held:
        assert not held
    # As its end does: the kernel lets go of the locks of a process that is killed.
    fcntl.flock(run.descriptor, fcntl.LOCK_UN)
    with spool.claim(run.path) as held:
        assert held
    assert spool.trim() == 1


def test_what_is_posted_meanwhile_is_not_claimed(spool: Spool) -> None:
    with spool.claim(ended(spool, "2026-01-01")) as held:
        assert held
        os.unlink(spool.waiting()[0])
        ended(spool, "2026-01-01")
        with spool.claim(spool.waiting()[0]) as again:
            assert again, "another file of the same name"
    with spool.claim("/nowhere/2026-01-02.jsonl") as held:
        assert not held


@pytest.mark.parametrize(
    ("size", "content", "kept"),
    [
        pytest.param(0, "short", True, id="short"),
        pytest.param(0, "x" * records_spool.MAX_CONTENT_BYTES, False, id="long"),
        pytest.param(records_spool.MAX_RUN_BYTES + 1, "short", False, id="the run is long"),
    ],
)
def test_contents_are_bounded(spool: Spool, size: int, content: str, kept: bool) -> None:
    run = spool.begin("2026-01-01")
    run.size = size
    run.add(event="result", content={"msg": content})
    run.close()
    line = json.loads(Path(run.path).read_text())
    assert (line["content"] == {"msg": content}, "left_out" in line) == (kept, not kept)


def test_the_latest_that_were_set_aside_are_kept_with_their_notes(spool: Spool) -> None:
    for number in range(12):
        spool.set_aside(ended(spool, f"2026-01-{number:02}"), "broken")
    names = sorted(path.name for path in Path(spool.folder, "set-aside").iterdir())
    assert (len(names), names[0], names[-1]) == (20, "2026-01-02.jsonl", "2026-01-11.jsonl.why")


def test_a_value_without_a_word_in_json_is_not_looked_into(spool: Spool) -> None:
    class Secret:
        def __str__(self) -> str:
            return "unspeakable"

    line = records_spool.as_line({"secret": Secret(), "set": {1}})
    assert json.loads(line) == {"secret": "(Secret)", "set": [1]}
