# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from pathlib import Path

import pytest

from nectar_backend.cli import FAILED, build_parser, lab_up, main, release, show_records, show_status


@pytest.mark.parametrize(
    ("arguments", "command", "options"),
    [
        pytest.param("lab up", lab_up, {"topology": None}, id="up as it was"),
        pytest.param("lab up --topology single", lab_up, {"topology": "single"}, id="up on one host"),
        pytest.param("status", show_status, {"format": "table"}, id="a table"),
        pytest.param("status --format json", show_status, {"format": "json"}, id="for scripts"),
        pytest.param("records", show_records, {"action": "list", "format": "table"}, id="what was recorded"),
        pytest.param("records post", show_records, {"action": "post", "format": "table"}, id="post"),
        pytest.param("deploy", release, {"names": []}, id="all"),
        pytest.param("deploy alice production", release, {"names": ["alice", "production"]}, id="some"),
    ],
)
def test_what_can_be_typed(arguments: str, command: object, options: dict[str, object]) -> None:
    parsed = vars(build_parser().parse_args(arguments.split()))
    assert parsed == {"command": command, **options}


@pytest.mark.parametrize("arguments", ["", "lab", "lab sideways", "lab up --topology triple", "status --format xml"])
def test_what_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments.split())
    assert refused.value.code == FAILED
    assert "usage: nectar" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["status", "status --format json", "site", "deploy", "deploy alice"])
def test_without_a_lab_it_says_how_to_start_one(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(arguments.split()) == FAILED
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("nectar: no lab is up")
