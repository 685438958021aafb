# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose session a process belongs to."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.session_user import session_user

DAEMON = pwd.getpwnam("daemon")
NOBODY = pwd.getpwnam("nobody")


@pytest.mark.parametrize(
    ("users", "login", "expected"),
    [
        pytest.param([0, 0, DAEMON.pw_uid, DAEMON.pw_uid, 0, 0], None, "daemon", id="sudo in a session"),
        pytest.param(
            [0, NOBODY.pw_uid, 0, DAEMON.pw_uid, 0], None, "daemon", id="who becomes another stays who they are"
        ),
        pytest.param([0, 0, 0], None, "root", id="root's own login"),
        pytest.param([0, NOBODY.pw_uid, 0], str(DAEMON.pw_uid), "daemon", id="the kernel knows better"),
        pytest.param([0, DAEMON.pw_uid, 0], str(2**32 - 1), "daemon", id="the kernel notes nothing"),
        pytest.param([0, 99999, 0], None, "99999", id="a user without a name"),
    ],
)
def test_the_login_behind_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: list[int], login: str | None, expected: str
) -> None:
    monkeypatch.setenv("SUDO_USER", "mallory")
    pids = [100 - number for number in range(len(users))]
    for pid, user, parent in zip(pids, users, [*pids[1:], 0], strict=True):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nUid:\t{user}\t0\t0\t0\n")
    if login is not None:
        (tmp_path / "100" / "loginuid").write_text(login)
    assert session_user(str(tmp_path), 100) == expected


def test_this_very_process_has_a_login() -> None:
    assert session_user() in {entry.pw_name for entry in pwd.getpwall()}
    assert os.path.exists("/proc/self/status")
