# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings that are patched only where they differ; Patroni is a small server on the loopback."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils.patroni import merge_settings
from ansible_collections.nectar.backend.plugins.modules import patroni_config

WANTED = {"ttl": 20, "postgresql": {"parameters": {"work_mem": "8MB"}}}


def basic(password: str) -> str:
    """How a password is told."""
    return f"Basic {base64.b64encode(f'patroni:{password}'.encode()).decode()}"


class Patroni:
    """A Patroni with settings, and the module that asks it."""

    def __init__(self, server: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.server, self.capsys = server, capsys
        self.settings: dict[str, Any] = {"ttl": 30, "postgresql": {"parameters": {"jit": "off", "work_mem": "4MB"}}}
        self.refuses = False
        self.authorization = basic("hush")
        server.answer = self.answer

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        assert path == "/config"
        if method == "PATCH":
            if self.refuses or self.server.authorizations[-1] != self.authorization:
                return 401, {}
            self.settings = merge_settings(self.settings, body)
        return 200, self.settings

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        given = {
            "servers": ["127.0.0.1"],
            "port": self.server.port,
            "settings": WANTED,
            "ca_file": self.server.cert_file,
            "username": "patroni",
            "password": "hush",
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            patroni_config.main()
        return dict(json.loads(self.capsys.readouterr().out))


@pytest.fixture
def patroni(json_server: Any, capsys: pytest.CaptureFixture[str]) -> Patroni:
    return Patroni(json_server, capsys)


def test_four_runs(patroni: Patroni) -> None:
    foreseen = patroni.run(check=True)
    assert foreseen["changed"] is True
    assert patroni.server.changes() == []

    done = patroni.run()
    assert done["changed"] is True
    assert done["diff"] == foreseen["diff"]
    assert '"work_mem": "4MB"' in done["diff"]["before"] and "jit" not in done["diff"]["before"]
    assert patroni.settings == {"ttl": 20, "postgresql": {"parameters": {"jit": "off", "work_mem": "8MB"}}}

    assert patroni.run()["changed"] is False
    assert patroni.run(check=True)["changed"] is False
    assert len(patroni.server.changes()) == 1


def test_a_refusal_names_the_server_and_the_answer(patroni: Patroni) -> None:
    patroni.refuses = True
    result = patroni.run()
    assert result["failed"] is True
    assert "/config answered 401 to PATCH" in result["msg"]


def test_a_member_that_does_not_know_the_new_password_yet_is_asked_by_the_former_one(patroni: Patroni) -> None:
    patroni.authorization = basic("before")
    assert patroni.run()["failed"] is True
    assert patroni.run(former_password="before")["changed"] is True


def test_silence_fails_a_run_and_is_told_by_check_mode(patroni: Patroni) -> None:
    assert patroni.run(port=1)["failed"] is True
    foreseen = patroni.run(check=True, port=1)
    assert foreseen["changed"] is False
    assert "can't be foreseen" in foreseen["msg"]


def test_a_server_that_another_authority_vouches_for_is_not_believed(patroni: Patroni) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in patroni.run(ca_file="/etc/ssl/certs/ca-certificates.crt")["msg"]
