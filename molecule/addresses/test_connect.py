# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""connect.yml says which address every endpoint has, and what collides; plays refuse to start on what isn't proven."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from environment import NOBODY, Environment
from faults import addresses, foreign_ssh_server
from lab import Lab

HOST = "app2"


class Report:
    """What connect.yml printed, wrote and ended with."""

    def __init__(self, lab: Lab, folder: Path, *words: str) -> None:
        path = folder / "connect.json"
        self.done = lab.ansible("ansible-playbook", "playbooks/connect.yml", "-e", f"connect_file={path}", *words)
        self.data: dict[str, Any] = json.loads(path.read_text())
        self.page = path.with_suffix(".html").read_text()

    @property
    def doors(self) -> set[str]:
        """Deployments whose door was proven from the controller."""
        endpoints = self.data["viewpoints"]["controller"]
        return {one["name"].removesuffix("/https") for one in endpoints if one["ok"] and one["name"].endswith("/https")}

    def findings(self, kind: str) -> dict[str, str]:
        return {one["subject"]: one["message"] for one in self.data["findings"] if one["kind"] == kind}


def test_a_lab_without_faults_is_proven_as_a_whole(lab: Lab, environment: Environment, tmp_path: Path) -> None:
    report = Report(lab, tmp_path)
    assert report.done.returncode == 0, report.done.stdout[-6000:]
    assert report.doors == set(environment.common["deployments"])
    assert environment.virtual_address in report.done.stdout
    assert "<table" in report.page
    assert "://" not in report.page, "the page loads something from elsewhere"


def test_a_member_sees_what_is_theirs(lab: Lab, tmp_path: Path) -> None:
    report = Report(lab, tmp_path, "-e", "member=alice")
    assert report.done.returncode == 0, report.done.stdout[-6000:]
    assert report.doors == {"alice"}
    assert "bob/" not in report.done.stdout


@pytest.mark.usefixtures("wrong_names")
def test_an_address_with_two_owners_and_a_stale_record_are_named(
    lab: Lab, environment: Environment, tmp_path: Path
) -> None:
    shared, nobody = environment.ipv6("app1"), environment.spare(NOBODY)
    with addresses(lab, HOST, shared):
        report = Report(lab, tmp_path)
    assert report.done.returncode != 0
    owners = report.findings("collision")[shared]
    assert "app1" in owners and HOST in owners
    assert nobody in report.findings("dns")[f"bob.{environment.common['domain']}"]
    assert nobody in report.findings("stale")["bob/https"]
    assert shared in report.done.stdout and nobody in report.done.stdout


def played(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return lab.ansible("ansible-playbook", *words)


def test_plays_refuse_to_start_where_another_server_answers(lab: Lab) -> None:
    with foreign_ssh_server(lab, HOST):
        site = played(lab, "playbooks/site.yml", "--limit", HOST)
        deploy = played(lab, "playbooks/deploy.yml", "-e", "deployment=alice")
    for done in (site, deploy):
        assert done.returncode != 0
        # Molecule's settings print what failed elsewhere than the rest.
        told = " ".join((done.stdout + done.stderr).split())
        assert f"ssh/{HOST} from controller: wrong_server" in told, told[-6000:]
        assert "changed=1" not in done.stdout
    assert "Prepare every server" not in site.stdout
