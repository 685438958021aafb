# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that hands etcd's lead away, with nothing beside it but what role postgresql puts there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
MEMBERS = [{"ID": str(number), "name": f"db{number}"} for number in (1, 2, 3)]


@pytest.fixture
def look(tmp_path: Path, json_server: Any) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Install the program and return what runs it once."""
    modules = tmp_path / "ansible_collections/nectar/backend/plugins/module_utils"
    modules.mkdir(parents=True)
    shutil.copy(ROOT / "plugins/module_utils/etcd_lead.py", modules)
    program = shutil.copy(ROOT / "roles/postgresql/files/etcd_lead.py", tmp_path / "etcd-lead")
    words = ["--url", f"https://127.0.0.1:{json_server.port}", "--authority", json_server.cert_file]
    words += ["--certificate", json_server.cert_file, "--key", json_server.key_file]
    return lambda: subprocess.run(
        [sys.executable, "-I", "-S", str(program), *words], capture_output=True, text=True, check=False, timeout=60
    )


def answering(leader: str, deaf: tuple[str, ...] = ()) -> Callable[[str, str, Any], tuple[int, Any]]:
    """Answer as the member 1 does; the deaf members take no lead."""

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/status"):
            return 200, {"header": {"member_id": "1"}, "leader": leader}
        if path.endswith("/list"):
            return 200, {"members": MEMBERS}
        return (503, {}) if body["targetID"] in deaf else (200, {})

    return answer


@pytest.mark.parametrize(
    ("leader", "deaf", "asked", "code"),
    [
        pytest.param("2", (), [], 0, id="another leads"),
        pytest.param("1", (), ["2"], 0, id="the first takes it"),
        pytest.param("1", ("2",), ["2", "3"], 0, id="the first is away"),
        pytest.param("1", ("2", "3"), ["2", "3"], 1, id="nobody takes it"),
    ],
)
def test_the_lead_goes_to_whoever_takes_it(
    json_server: Any, look: Any, leader: str, deaf: tuple[str, ...], asked: list[str], code: int
) -> None:
    json_server.answer = answering(leader, deaf)
    done = look()
    assert [body["targetID"] for _method, path, body in json_server.asked if path.endswith("leadership")] == asked
    assert done.returncode == code, done.stderr


def test_an_answer_that_is_unknown_is_told_without_a_traceback(json_server: Any, look: Any) -> None:
    json_server.answer = lambda _method, _path, _body: (200, {"odd": True})
    done = look()
    assert (done.returncode, "Traceback" in done.stderr, "unknown form" in done.stderr) == (1, False, True)
