# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file of secrets on a controller: made once, kept, never shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils.environment_secrets import flatten_secrets
from ansible_collections.nectar.backend.plugins.modules import environment_secrets

REQUIRED = {"postgresql": {"superuser_password": 32}, "deployments": {"production": {"database_password": 40}}}
NAMES = ["deployments.production.database_password", "postgresql.superuser_password"]


def run(
    capsys: pytest.CaptureFixture[str], path: Path, required: object = None, check: bool = False, **more: Any
) -> dict[str, Any]:
    """Run the module as Ansible would, and return its result."""
    arguments = {
        "path": str(path),
        "required": REQUIRED if required is None else required,
        "_ansible_check_mode": check,
        **more,
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        environment_secrets.main()
    return json.loads(capsys.readouterr().out)


def test_four_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lab" / "secrets.yml"

    foreseen = run(capsys, path, check=True)
    assert (foreseen["changed"], foreseen["made"]) == (True, NAMES)
    assert not path.parent.exists()

    made = run(capsys, path)
    assert (made["changed"], made["made"], made["present"]) == (True, NAMES, [])
    first = path.read_text()

    again = run(capsys, path)
    assert (again["changed"], again["made"], again["present"]) == (False, [], NAMES)

    checked = run(capsys, path, check=True)
    assert checked["changed"] is False
    assert path.read_text() == first


def test_a_rotation_renews_and_settles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secrets.yml"
    run(capsys, path)
    before, name = path.read_text(), "deployments.production.database_password"
    foreseen = run(capsys, path, check=True, renew={name: None})
    assert (foreseen["changed"], foreseen["renewed"], path.read_text()) == (True, [name], before)
    assert run(capsys, path, renew={name: None})["renewed"] == [name]
    known = yaml.safe_load(path.read_text())["deployments"]["production"]
    assert known["previous"]["database_password"] in before
    assert known["database_password"] not in before
    assert run(capsys, path, renew={name: None})["changed"] is False
    settled = run(capsys, path, settle=["deployments.production"])
    assert (settled["changed"], settled["settled"]) == (True, ["deployments.production"])
    assert "previous" not in path.read_text()
    assert known["database_password"] not in json.dumps(settled)


def test_only_the_owner_may_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lab" / "secrets.yml"
    run(capsys, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    path.chmod(0o644)
    assert run(capsys, path, check=True)["changed"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert run(capsys, path)["changed"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_value_leaves_the_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secrets.yml"
    results = [run(capsys, path), run(capsys, path, required=["one.more"])]
    values = flatten_secrets(yaml.safe_load(path.read_text())).values()
    assert len(values) == 3
    assert all(len(value) >= 32 for value in values)
    assert not [value for value in values if value in json.dumps(results)]


def test_more_names_leave_the_old_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secrets.yml"
    path.write_text("deployments: {former: {database_password: kept}}\n")
    path.chmod(0o600)
    result = run(capsys, path)
    assert (result["changed"], result["unused"]) == (True, ["deployments.former.database_password"])
    assert yaml.safe_load(path.read_text())["deployments"]["former"] == {"database_password": "kept"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["secrets.yml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty; restore it from a backup", id="empty"),
        pytest.param(b"\n \n", "is empty; restore it from a backup", id="blank"),
        pytest.param(b"a: [hunter2\nb: hunter2\n", "is no YAML (line 2, column 2)", id="broken"),
        pytest.param(b"- hunter2\n", "holds a list, where nested mappings", id="a list"),
        pytest.param(b"\xff\xfe\x00hunter2", "is no text file", id="binary"),
        pytest.param(b"$ANSIBLE_VAULT;1.1;AES256\n6162\n", "is encrypted with Ansible Vault", id="encrypted"),
        pytest.param(
            b"postgresql: hunter2\n",
            "postgresql is there, so postgresql.superuser_password can't be",
            id="a text in the way",
        ),
    ],
)
def test_a_broken_file_is_refused_and_left_alone(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secrets.yml"
    path.write_bytes(content)
    result = run(capsys, path)
    assert result["failed"] is True
    assert result["msg"].startswith(f"Cannot use the secrets of {path}: {message}")
    assert "hunter2" not in json.dumps(result)
    assert path.read_bytes() == content


def test_a_place_that_is_no_directory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab").write_text("")
    result = run(capsys, tmp_path / "lab" / "secrets.yml")
    assert result["failed"] is True
    assert "Cannot use the secrets of" in result["msg"]
