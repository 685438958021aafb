# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every run on this lab is in its records once, those from before the records too; without them runs go on."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client import eventually
from lab import ROOT, Lab, run

HOSTS = ("app1", "app2")


def records(*words: str) -> dict[str, Any]:
    done = run([sys.executable, "-m", "nectar_backend", "records", *words, "--format", "json"], seconds=300)
    return dict(json.loads(done.stdout))


def converge_firewall() -> tuple[int, str]:
    """A short run, through the terminal."""
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    done = run([playbook, "playbooks/site.yml", "--tags", "firewall", "--limit", HOSTS[0]], seconds=300)
    return done.returncode, done.stdout + done.stderr


@contextlib.contextmanager
def stopped_records(lab: Lab) -> Iterator[None]:
    """The deployment's slots stopped on both servers, and started again whatever happens."""
    listing = "systemctl list-units --plain --no-legend --state=active 'nectar-records-*.target'"
    slots = {host: lab.on(host, listing).split()[0] for host in HOSTS}
    try:
        for host, slot in slots.items():
            lab.on(host, f"systemctl stop {slot}")
        yield
    finally:
        for host, slot in slots.items():
            lab.on(host, f"systemctl start {slot}")


def test_all_runs_of_this_lab_are_recorded_once(lab: Lab) -> None:
    assert records("post")["problem"] == ""
    found = records()["runs"]
    playbooks = [one["playbook"] for one in found]
    assert {"create.yml", "site.yml", "deploy.yml"} <= set(playbooks)
    assert len({one["run"] for one in found}) == len(found)
    assert {one["environment"] for one in found} == {"lab"}


def test_a_run_without_records_is_unharmed_and_recorded_later(lab: Lab) -> None:
    before = {one["run"] for one in records()["runs"]}
    with stopped_records(lab):
        code, output = converge_firewall()
        assert code == 0, output
        assert records("post")["waiting"] == 1
    assert eventually(lab.all_well, 60)
    assert records("post")["waiting"] == 0
    new = [one for one in records()["runs"] if one["run"] not in before]
    assert [(one["playbook"], one["outcome"]) for one in new] == [("site.yml", "ok")]
