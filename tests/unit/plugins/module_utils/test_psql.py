# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What psql says is told, also where it ends before it was asked, and no verifier is."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError
from ansible_collections.nectar.backend.plugins.module_utils.psql import run_psql


class Module:
    """Runs a command with an end that was decided before."""

    def __init__(self, end: tuple[int, str, str] | OSError) -> None:
        self.end = end
        self.params = {"login_user": "postgres", "socket_directory": "/run/postgresql"}

    def run_command(self, command: list[str], **options: Any) -> tuple[int, str, str]:
        assert "SELECT 1" in options["data"] and not options["handle_exceptions"]
        if isinstance(self.end, OSError):
            raise self.end
        return self.end


def test_what_it_prints_is_returned() -> None:
    assert run_psql(Module((0, "1\n", "")), "SELECT 1") == "1\n"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        pytest.param((2, "", "psql: no server\n"), "psql ended with 2: psql: no server", id="an error"),
        pytest.param((3, "", "PASSWORD 'SCRAM-SHA-256$'\n"), "psql ended with 3: no message", id="a verifier"),
        pytest.param(BrokenPipeError(32, "Broken pipe"), "see whether PostgreSQL at /run/postgresql runs", id="gone"),
    ],
)
def test_what_went_wrong_is_told(end: tuple[int, str, str] | OSError, said: str) -> None:
    with pytest.raises(DatabasesError, match=said.replace("$", r"\$")) as told:
        run_psql(Module(end), "SELECT 1")
    assert "SCRAM" not in str(told.value)
