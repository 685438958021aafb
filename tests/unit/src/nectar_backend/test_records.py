# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
import json
from pathlib import Path
from typing import Any

import pytest

from nectar_backend.cli import NOT_SERVED, main
from nectar_backend.records import describe_posting, show_run

RUN = {
    "when": None,
    "playbook": "deploy.yml",
    "environment": "lab",
    "deployment": "production,staging,alice,bob",
    "release": "orders-0123456789,ara-1",
    "person": "alice",
    "outcome": "ok",
    "seconds": 61.25,
}


@pytest.mark.parametrize(
    ("found", "row"),
    [
        pytest.param(
            {},
            (
                "-",
                "deploy.yml",
                "lab",
                "production,staging,alice and 1 more",
                "orders-01234,ara-1",
                "alice",
                "ok",
                "61.2",
            ),
            id="all",
        ),
        pytest.param(
            {name: None for name in RUN if name != "playbook"},
            ("-", "deploy.yml", "-", "-", "-", "-", "-", "-"),
            id="little",
        ),
    ],
)
def test_a_row(found: dict[str, Any], row: tuple[str, ...]) -> None:
    assert show_run({**RUN, **found}) == row


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param({"posted": 2, "set_aside": 0, "waiting": 0, "problem": ""}, "posted 2; 0 in the spool", id="all"),
        pytest.param(
            {"posted": 0, "set_aside": 1, "waiting": 3, "problem": "refused"},
            "posted 0, 1 set aside (see set-aside/ in the spool); 3 in the spool: refused",
            id="some are left",
        ),
    ],
)
def test_what_was_posted(answer: dict[str, Any], text: str) -> None:
    assert describe_posting(answer) == text


@pytest.mark.parametrize("action", ["list", "post"])
def test_what_waits_is_told_where_nothing_says_where_the_records_are(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    spool = tmp_path / "nectar/lab/records.spool"
    spool.mkdir(parents=True)
    (spool / "2026-01-31T154501-1.jsonl").write_text("")
    assert main(["records", action, "--format", "json"]) == NOT_SERVED
    answer = json.loads(capsys.readouterr().out)
    assert (answer["waiting"], "there is no" in answer["problem"]) == (1, True)
