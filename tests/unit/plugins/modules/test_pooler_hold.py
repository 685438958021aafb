# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pause that ends by itself; Patroni is a small server on the loopback, and stand-ins for `runuser` and `psql` write down what PgBouncer is told."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import pooler_hold

RUNUSER = """#!/bin/sh
shift 3
exec "$@"
"""
PSQL = """#!/bin/sh
if [ -e {place}/broken ]; then echo "already paused" >&2; exit 3; fi
while read -r line; do echo "$line" >> {place}/told; done
"""


class Pooler:
    """A pooler, and the module that holds its clients."""

    def __init__(
        self, place: Path, server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.place, self.server, self.capsys = place, server, capsys
        (place / "bin").mkdir()
        for name, text in {"runuser": RUNUSER, "psql": PSQL}.items():
            program = place / "bin" / name
            program.write_text(text.format(place=place))
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{place / 'bin'}:/usr/bin:/bin")
        self.roles = iter(["replica", "replica", "primary"])
        server.answer = lambda _method, _path, _body: (200, {"role": next(self.roles), "state": "running"})

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module as Ansible would; one server plays both members."""
        given = {
            "at": time.time() + 0.3,
            "leader": {"name": "db1", "address": "127.0.0.1"},
            "standbys": {"db2": "127.0.0.1"},
            "patroni_port": self.server.port,
            "ca_file": self.server.cert_file,
            "haproxy_socket": str(self.place / "none"),
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            pooler_hold.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def told(self) -> list[str]:
        """Return what PgBouncer was told."""
        path = self.place / "told"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def pooler(
    tmp_path: Path, json_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Pooler:
    return Pooler(tmp_path, json_server, capsys, monkeypatch)


def test_clients_are_held_until_the_candidate_takes_writes(pooler: Pooler) -> None:
    assert pooler.run(check=True)["changed"] is True
    assert pooler.told() == []
    result = pooler.run()
    assert (result["why"], pooler.told()) == ("taken over", ["PAUSE;", "RESUME;"])
    assert len(pooler.server.asked) == 3


def test_clients_go_on_when_time_is_up(pooler: Pooler) -> None:
    pooler.server.answer = lambda _method, _path, _body: (200, {"role": "replica", "state": "running"})
    assert pooler.run(limit=0.3)["why"] == "too late"
    assert pooler.told() == ["PAUSE;", "RESUME;"]


@pytest.mark.parametrize("distance", [pytest.param(-5, id="past"), pytest.param(900, id="too far off")])
def test_a_moment_that_cannot_be_met_pauses_nothing(pooler: Pooler, distance: float) -> None:
    result = pooler.run(at=time.time() + distance)
    assert (result["failed"], pooler.told()) == (True, [])
    assert "nothing was paused" in result["msg"]


def test_a_pooler_that_somebody_else_paused_is_left_alone(pooler: Pooler) -> None:
    (pooler.place / "broken").touch()
    result = pooler.run()
    assert (result["failed"], pooler.told()) == (True, [])
    assert "already paused" in result["msg"]


@pytest.mark.parametrize(
    "lives", [pytest.param(False, id="whoever asked is gone"), pytest.param(True, id="time is up")]
)
def test_the_guard_resumes_by_itself(pooler: Pooler, lives: bool) -> None:
    command = ["bash", "-c", pooler_hold.GUARD, "guard", "30", "0.3" if lives else "60", "90", "/run", "6432"]
    reader, writer = os.pipe()
    with subprocess.Popen(command, stdin=reader) as guard:
        os.close(reader)
        os.write(writer, b"\n")
        if not lives:
            os.close(writer)
        assert guard.wait(timeout=30) == 0
        if lives:
            os.close(writer)
    assert pooler.told() == ["PAUSE;", "RESUME;"]
