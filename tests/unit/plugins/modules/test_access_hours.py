# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests by hour; `journalctl` is a stand-in that has a line for two of the hours it is asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import access_hours

JOURNALCTL = """#!/bin/sh
echo "$@" >> {place}/asked
case "$*" in
  *--since=@{first}*) cat {place}/lines;;
  *--since=@{second}*) head -n 1 {place}/lines; echo 'Proxy started.'; echo '{{"listener": "primary"}}';;
  *--namespace=gone*) echo 'no such journal' >&2; exit 1;;
esac
"""


def line(deployment: str) -> str:
    times = dict.fromkeys(("request_time", "queue_time", "connect_time", "response_time", "total_time"), 1)
    entry = {"time": 1.5, "deployment": deployment, "server": "app1", "slot": "blue", "status": 200, "retries": "0"}
    return json.dumps({**entry, **times, "state": "--"})


@pytest.fixture
def hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """The two hours that have requests: the last full one and the one a day before."""
    last = int(time.time()) // 3600 - 1
    journalctl = tmp_path / "bin" / "journalctl"
    journalctl.parent.mkdir()
    journalctl.write_text(JOURNALCTL.format(place=tmp_path, first=(last - 20) * 3600, second=last * 3600))
    journalctl.chmod(0o755)
    (tmp_path / "lines").write_text("\n".join([line("alice"), line("alice"), line("bob"), line("-"), ""]))
    monkeypatch.setenv("PATH", f"{journalctl.parent}:/usr/bin:/bin")
    return last - 20, last


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        access_hours.main()
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("check", [False, True])
def test_requests_are_counted(hours: tuple[int, int], capsys: pytest.CaptureFixture[str], check: bool) -> None:
    first, last = (str(hour) for hour in hours)
    result = run(capsys, days=1, _ansible_check_mode=check)
    assert result["changed"] is False
    assert result["hours"] == {"alice": {first: 2, last: 1}, "bob": {first: 1}}


def test_only_full_hours_are_read(hours: tuple[int, int], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(capsys, days=2)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 48
    assert all("--namespace=haproxy" in line for line in asked)
    assert f"--until=@{(hours[1] + 1) * 3600}" in asked[-1]


def test_what_fails(hours: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected 1 or more" in run(capsys, days=0)["msg"]
    assert "no such journal" in run(capsys, journal_namespace="gone")["msg"]
