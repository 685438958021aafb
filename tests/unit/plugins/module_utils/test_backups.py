# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which backup serves, what is refused, and when the archive is an alarm."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils import backups
from ansible_collections.nectar.backend.plugins.module_utils.backups import Backup, BackupsError, Holdings, Proof

MEBIBYTE = 1024 * 1024
# 2026-11-29 21:45:06 UTC
ENDED = 1795988706
REPLY: list[dict[str, Any]] = [
    {
        "archive": [
            {"database": {"id": 1, "repo-key": 1}, "id": "17-1", "max": "000000010000000000000009", "min": "000000010000000000000001"}
        ],
        "backup": [
            {
                "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000002"},
                "error": False,
                "info": {"delta": 38050568, "repository": {"delta": 4734096, "delta-map": 12}, "size": 38050568},
                "label": "20261129-214501F",
                "timestamp": {"start": ENDED - 5, "stop": ENDED},
                "type": "full",
            }
        ],
        "name": "lab",
        "status": {"code": 0, "lock": {"backup": {"held": False}}, "message": "ok"},
    }
]  # fmt: skip
FULL = Backup(
    "20261129-214501F",
    "full",
    ENDED - 5,
    ENDED,
    38050568,
    4734096,
    False,
    "000000010000000000000002",
    "000000010000000000000002",
)
LATER = Backup(
    "20261129-214501F_20261129-224501D", "diff", ENDED + 3600, ENDED + 3610, 40 * MEBIBYTE, MEBIBYTE, False, "", ""
)
DAMAGED = Backup("20261129-234501F", "full", ENDED + 7200, ENDED + 7210, 40 * MEBIBYTE, MEBIBYTE, True, "", "")
THREE = Holdings(True, (FULL, LATER, DAMAGED), "000000010000000000000009", "ok")
NOW = ENDED + 9000.0
PROOF = Proof(FULL.label, ENDED, ENDED + 60.0, 9.1, 7.2, 3, 14, 2000, "db1")


def reply(**status: Any) -> list[dict[str, Any]]:
    """The repository's answer with another status."""
    changed = copy.deepcopy(REPLY)
    changed[0]["status"] = status
    return changed


@pytest.mark.parametrize(
    ("answer", "holdings"),
    [
        pytest.param(REPLY, Holdings(True, (FULL,), "000000010000000000000009", "ok"), id="one backup"),
        pytest.param([], Holdings(False, message="there is no such stanza"), id="another cluster's repository"),
        pytest.param(
            reply(code=1, message="missing stanza path"), Holdings(False, message="missing stanza path"), id="new repository"
        ),
    ],
)  # fmt: skip
def test_reads_what_the_repository_holds(answer: object, holdings: Holdings) -> None:
    assert backups.read_holdings(answer, "lab") == holdings


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(reply(code=99, message="other"), "says: other (99)", id="pgBackRest's own error"),
        pytest.param({"name": "lab"}, "in an unknown form", id="no list"),
        pytest.param(
            [{"name": "lab", "status": {"code": 0, "message": "ok"}}], "KeyError('archive')", id="fields lack"
        ),
    ],
)
def test_an_answer_that_means_nothing_is_refused(answer: object, said: str) -> None:
    with pytest.raises(BackupsError) as caught:
        backups.read_holdings(answer, "lab")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("", None, id="the newest"),
        pytest.param("2026-11-29T21:45:06+00:00", ENDED, id="UTC"),
        pytest.param("2026-11-29 22:45:06.5+01:00", ENDED + 0.5, id="an offset, and half a second"),
    ],
)
def test_reads_a_moment(text: str, seconds: float | None) -> None:
    assert backups.read_target(text) == seconds


@pytest.mark.parametrize("text", ["yesterday", "2026-11-29T21:45:06", "21:45"])
def test_a_moment_without_its_offset_is_refused(text: str) -> None:
    with pytest.raises(BackupsError, match="no moment with its offset"):
        backups.read_target(text)


@pytest.mark.parametrize(
    ("target", "label", "chosen"),
    [
        pytest.param(None, "", LATER, id="the newest that is whole"),
        pytest.param(ENDED + 3600.0, "", FULL, id="while a later one was still being made"),
        pytest.param(ENDED + 3610.0, "", LATER, id="at the end of a backup"),
        pytest.param(None, FULL.label, FULL, id="by its label"),
    ],
)
def test_chooses_the_newest_backup_before_the_moment(target: float | None, label: str, chosen: Backup) -> None:
    assert backups.choose_backup(THREE, target, NOW, label) == chosen


@pytest.mark.parametrize(
    ("holdings", "target", "label", "said"),
    [
        pytest.param(Holdings(True), None, "", "holds no backup", id="nothing there"),
        pytest.param(Holdings(True, (DAMAGED,)), None, "", "in every backup damaged pages", id="all damaged"),
        pytest.param(
            THREE, ENDED - 1.0, "", "lies before the first backup ended, 2026-11-29T21:45:06+00:00", id="too early"
        ),
        pytest.param(THREE, NOW + 1, "", "is still to come", id="too late"),
        pytest.param(THREE, None, "20250101-000000F", "there is no '20250101-000000F'", id="unknown label"),
        pytest.param(THREE, None, DAMAGED.label, "damaged pages were found in 20261129-234501F", id="damaged label"),
        pytest.param(THREE, ENDED + 5.0, LATER.label, "lies before the end of", id="label after the moment"),
    ],
)
def test_what_no_backup_serves_is_refused(holdings: Holdings, target: float | None, label: str, said: str) -> None:
    with pytest.raises(BackupsError) as caught:
        backups.choose_backup(holdings, target, NOW, label)
    assert said in str(caught.value)


def test_a_restore_needs_room_for_the_data_and_its_log() -> None:
    need = FULL.size + backups.SCRATCH_MARGIN
    backups.refuse_without_room(FULL, need, "/scratch")
    with pytest.raises(BackupsError, match="/scratch: 228 MiB are free, and 20261129-214501F takes 228 MiB"):
        backups.refuse_without_room(FULL, need - 1, "/scratch")


@pytest.mark.parametrize(
    ("kind", "need"),
    [
        pytest.param("full", 64 * MEBIBYTE + MEBIBYTE * 5 // 4, id="what the last full one took, and a quarter"),
        pytest.param("diff", 64 * MEBIBYTE + MEBIBYTE * 5 // 4, id="what the last one of any kind took"),
    ],
)
def test_a_backup_needs_room_in_the_repository(kind: str, need: int) -> None:
    backups.refuse_full_repository(THREE, kind, need, "/repository")
    with pytest.raises(BackupsError, match="/repository: 65 MiB are free, and a"):
        backups.refuse_full_repository(THREE, kind, need - 1, "/repository")


@pytest.mark.parametrize(
    ("target", "databases", "words"),
    [
        pytest.param(None, (), ["--set=20261129-214501F", "--archive-mode=off"], id="all there is"),
        pytest.param(
            ENDED + 0.25,
            ("alice",),
            [
                "--set=20261129-214501F",
                "--archive-mode=off",
                "--db-include=alice",
                "--type=time",
                "--target=2026-11-29 21:45:06.250000+00",
                "--target-action=promote",
            ],
            id="one database at a moment",
        ),
    ],
)
def test_tells_pgbackrest_what_to_recover(target: float | None, databases: tuple[str, ...], words: list[str]) -> None:
    assert backups.recovery_arguments(FULL, target, databases) == words


def test_shows_what_is_there() -> None:
    lines = backups.table(THREE, PROOF, NOW)
    assert len(lines) == 5
    assert lines[1].split() == [
        FULL.label, "full", "2026-11-29T21:45:06+00:00", "2.5", "h", "36", "MiB", "5", "MiB", "proven",
    ]  # fmt: skip
    assert "proven" not in lines[2]
    assert lines[3].endswith("damaged")
    assert lines[4].endswith("restored in 7 s and proven 2.5 h ago, 2000 rows of 14 tables in 3 databases")


def test_a_proof_is_read_as_it_was_written() -> None:
    written = backups.write_proof(PROOF)
    assert written["backup_ended_at"] == "2026-11-29T21:45:06+00:00"
    assert backups.read_proof(written) == PROOF


@pytest.mark.parametrize("data", [None, [], {"label": "x"}, {**backups.write_proof(PROOF), "backup_ended": "soon"}])
def test_a_proof_that_says_nothing_is_refused(data: object) -> None:
    with pytest.raises(BackupsError, match="the proof of the last drill can't be read"):
        backups.read_proof(data)


def names(segments: int) -> list[str]:
    """A folder archive_status with so many segments that wait, among others."""
    waiting = [f"{number:024X}.ready" for number in range(segments)]
    return ["000000010000000000000001.done", "00000002.history.ready", *waiting]


@pytest.mark.parametrize(
    ("segments", "drops", "alarming", "said"),
    [
        pytest.param(0, True, False, "0 segments of the log (0 MiB) wait for the archive", id="nothing waits"),
        pytest.param(5, True, False, "5 segments", id="below half"),
        pytest.param(6, True, True, "half reached: beyond it the log is dropped", id="at half, dropping"),
        pytest.param(6, False, True, "half reached: beyond it the log fills the disk", id="at half, keeping"),
        pytest.param(12, True, True, "it is reached: the log is dropped", id="at the ceiling"),
    ],
)
def test_the_archive_is_an_alarm_from_half_of_its_ceiling(
    segments: int, drops: bool, alarming: bool, said: str
) -> None:
    queue = backups.judge_queue(names(segments), 192 * MEBIBYTE, drops)
    assert (queue.segments, queue.alarming) == (segments, alarming)
    assert said in queue.says


@pytest.mark.parametrize(
    ("reached", "gap"),
    [
        pytest.param("000000010000000000000009", False, id="the newest segment"),
        pytest.param("00000002000000000000000A", False, id="on a timeline of its own"),
        pytest.param("000000020000000000000005", True, id="before a segment that is missing"),
    ],
)
def test_a_recovery_that_ends_early_shows_a_gap(reached: str, gap: bool) -> None:
    assert bool(backups.archive_gap(reached, THREE.newest_wal)) is gap
