# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A PostgreSQL that the modules ask by `runuser`, for which a program of each test's own stands in."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

# A server whose whole state is one answer. What is asked returns the file `state`, or, where the file `broken` says why, an error. Any
# other statement is kept in the file `ran`, and makes the file `after` the state. A file `next` is what an answer leads to.
ONE_ANSWER = """#!/bin/sh
cat > {place}/sql
if [ -e {place}/broken ]; then
  echo "psql: error: $(cat {place}/broken)" >&2; echo "STATEMENT: PASSWORD 'SCRAM-SHA-256$1'" >&2; exit 3
fi
if grep -q json_build_object {place}/sql; then
  cat {place}/state
  if [ -e {place}/next ]; then mv {place}/next {place}/state; fi
else
  cat {place}/sql >> {place}/ran; cp {place}/after {place}/state
fi
"""


class Server:
    """Runs modules over the stand-in, and sees what it got of them."""

    def __init__(
        self, program: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.place, self.capsys = place, capsys
        runuser = place / "bin" / "runuser"
        runuser.parent.mkdir()
        runuser.write_text(program.format(place=place))
        runuser.chmod(0o755)
        monkeypatch.setenv("PATH", f"{runuser.parent}:/usr/bin:/bin")

    def ask(self, module: ModuleType, secrets: tuple[str, ...] = (), **given: Any) -> dict[str, Any]:
        """Run a module as Ansible would; none of the secrets may be in what it says."""
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        out = self.capsys.readouterr().out
        assert not [secret for secret in secrets if secret in out]
        return dict(json.loads(out))

    def ran(self) -> str:
        """Return the statements that changed something."""
        path = self.place / "ran"
        return path.read_text() if path.exists() else ""


def run_four_times(server: Any) -> dict[str, Any]:
    """Foresee a change, make it, and see nothing left to do; return what was said when it was made."""
    foreseen = server.run(check=True)
    assert foreseen["changed"] is True
    assert server.ran() == ""

    done: dict[str, Any] = server.run()
    assert done["statements"] == foreseen["statements"]

    before = server.ran()
    assert server.run()["changed"] is False
    assert server.run(check=True)["changed"] is False
    assert server.ran() == before
    return done
