# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module on this very machine: it tells what is there, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import upgrade_facts

STATUS = "Package: haproxy\nStatus: install ok installed\n\nPackage: bash\nStatus: install ok installed\n"
POLICY = "haproxy:\n  Installed: 3.0.1-1\n  Candidate: 3.0.2-1\n  Version table:\n"
PROGRAMS = {
    "apt-cache": f"printf '{POLICY}'",
    "systemctl": f"printf 'Id=haproxy.service\\nActiveState=active\\nMainPID={os.getpid()}\\n'",
    "dpkg": 'test "$2 $3 $4" = "3.0.2-1 gt 3.0.1-1"',
    "ip": 'printf \'[{"addr_info": [{"local": "192.0.2.10"}]}, {}]\'',
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with HAProxy, of which there is a newer version."""
    for name, script in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "status").write_text(STATUS)
    monkeypatch.setattr(upgrade_facts, "DPKG_STATUS", str(tmp_path / "status"))
    monkeypatch.setattr(upgrade_facts, "PACKAGE_LISTS", (str(tmp_path / "none"),))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], check: bool = False, **arguments: Any) -> dict[str, Any]:
    with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        upgrade_facts.main()
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.usefixtures("machine")
def test_what_is_there_is_told(check: bool, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, check, virtual_addresses=["192.0.2.10"])
    assert (result["changed"], result["holds"], result["lists_age"]) == (False, True, None)
    assert (result["works"], result["leads"], result["etcd_works"], result["leads_etcd"]) == (False,) * 4
    assert result["components"] == {
        "haproxy": {
            "packages": [
                {"name": "haproxy", "installed": "3.0.1-1", "candidate": "3.0.2-1", "newer": True, "whole": True}
            ],
            "stale": "",
        }
    }


@pytest.mark.usefixtures("machine")
def test_another_ones_address_is_not_held(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, virtual_addresses=["192.0.2.1"])["holds"] is False


def test_what_can_not_be_read_is_named(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade_facts, "DPKG_STATUS", str(machine))
    result = run(capsys)
    assert (result["failed"], str(machine) in result["msg"]) == (True, True)


def test_a_process_began_a_moment_ago() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        process, now = upgrade_facts.read_process(child.pid), time.time()
        child.kill()
    assert process is not None
    # A minute is for a machine that is very busy.
    assert -1 < now - process.began < 60
    assert upgrade_facts.read_process(2**30) is None
