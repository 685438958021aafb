# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module on this very machine: it tells what is there, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import host_facts

STATUS = "Package: haproxy\nStatus: install ok installed\n\nPackage: etcd-server\nStatus: deinstall ok config-files\n"


def run(capsys: pytest.CaptureFixture[str], check: bool) -> dict[str, Any]:
    """Run the module as Ansible would, for the facts that every machine has."""
    arguments = {"gather_subset": ["!all", "!min", "distribution"], "_ansible_check_mode": check}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        host_facts.main()
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("check", [True, False])
def test_what_is_there_is_told(
    check: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    status.write_text(STATUS)
    monkeypatch.setattr(host_facts, "DPKG_STATUS", str(status))
    monkeypatch.setattr(host_facts, "PACKAGE_LISTS", (str(tmp_path / "none"),))
    monkeypatch.setattr(
        host_facts, "SHOW_SERVICES", ["printf", "Id=a.service\nActiveState=active\nUnitFileState=enabled\n"]
    )
    result = run(capsys, check)
    facts = result["ansible_facts"]
    assert (result["changed"], bool(facts["ansible_distribution"])) == (False, True)
    assert facts["nectar"].pop("memory") > 1
    assert facts["nectar"] == {"packages": ["haproxy"], "package_lists_age": None, "services": ["a.service"]}


def test_what_can_not_be_read_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_facts, "DPKG_STATUS", str(tmp_path))
    result = run(capsys, check=False)
    assert result["failed"] is True
    assert str(tmp_path) in result["msg"]
