# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of rules that land only if they load; `nft` is a stand-in that refuses what it is told to."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import firewall_rules

NFT = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
  -c) grep -q 'dport {{ 13 }}' "$3" && exit 1;;
  -f) grep -q 'dport {{ 666 }}' {directory}/*.nft && echo 'no such thing' >&2 && exit 1;;
esac
exit 0
"""


class Firewall:
    """A server's files of rules, and what was asked of its nft."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.main_file, self.log = place / "nftables.d", place / "nftables.conf", place / "log"
        self.capsys = capsys
        nft = place / "bin" / "nft"
        nft.parent.mkdir()
        nft.write_text(NFT.format(log=self.log, directory=self.directory))
        nft.chmod(0o755)
        monkeypatch.setenv("PATH", f"{nft.parent}:/usr/bin:/bin")
        self.main_file.write_text("")

    def allow(self, port: int, check: bool = False) -> dict[str, Any]:
        """Run the module as Ansible would."""
        arguments = {
            "name": "web",
            "rules": [{"port": port}],
            "directory": str(self.directory),
            "main_file": str(self.main_file),
            "_ansible_check_mode": check,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            firewall_rules.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def files(self) -> dict[str, str]:
        """Return the files of rules."""
        return {path.name: path.read_text() for path in self.directory.iterdir()} if self.directory.exists() else {}

    def loaded(self) -> int:
        """Return how often the ruleset was loaded."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return lines.count(f"-f {self.main_file}")


@pytest.fixture
def firewall(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Firewall:
    return Firewall(tmp_path, capsys, monkeypatch)


def test_four_runs(firewall: Firewall) -> None:
    assert firewall.allow(80, check=True)["changed"] is True
    assert (firewall.files(), firewall.loaded()) == ({}, 0)

    assert firewall.allow(80)["changed"] is True
    assert "tcp dport { 80 } accept" in firewall.files()["web.nft"]
    assert stat.S_IMODE((firewall.directory / "web.nft").stat().st_mode) == 0o644

    assert firewall.allow(80)["changed"] is False
    assert firewall.allow(80, check=True)["changed"] is False
    assert firewall.loaded() == 1


def test_before_the_ruleset_is_there_nothing_is_loaded(firewall: Firewall) -> None:
    firewall.main_file.unlink()
    assert firewall.allow(80)["changed"] is True
    assert (list(firewall.files()), firewall.loaded()) == (["web.nft"], 0)


@pytest.mark.parametrize(
    "port", [pytest.param(13, id="refused as a file"), pytest.param(666, id="refused with the ruleset")]
)
def test_what_does_not_load_leaves_everything(firewall: Firewall, port: int) -> None:
    assert firewall.allow(port)["failed"] is True
    assert firewall.files() == {}
    firewall.allow(80)
    before = firewall.files()
    assert firewall.allow(port)["failed"] is True
    assert firewall.files() == before


def test_a_rule_that_makes_no_sense_names_itself(firewall: Firewall) -> None:
    result = firewall.allow(0)
    assert result["msg"].startswith(f"Cannot write {firewall.directory}/web.nft: web: rule 1: port: 0 is no port")
