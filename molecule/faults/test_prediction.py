# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check mode on converged hosts says which tasks would change which hosts, and the run then changes exactly those."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab import Lab

CHANGES = Path(__file__).parent / "vars" / "changes.yml"
# A server of each kind says it all.
EACH_KIND = ("--limit", "lb2,app1,db1,ops1,localhost")


@pytest.fixture(autouse=True)
def results_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "ansible.posix.json")


def changed_tasks(lab: Lab, playbook: str, *words: str) -> set[tuple[str, str, str]]:
    """Run a playbook and return what it changed, or would: play, task and host."""
    shown = lab.play(playbook, *words)
    plays = json.loads(shown[shown.index("{") :])["plays"]
    return {
        (play["play"]["name"], task["task"]["name"], host)
        for play in plays
        for task in play["tasks"]
        for host, result in task["hosts"].items()
        if result.get("changed")
    }


def test_a_changed_variable_of_each_role_is_foreseen(lab: Lab) -> None:
    # No variable of role traffic changes what is served, so it finds something that isn't as it was left.
    lab.on("lb2", "sed -i 's/maxconn 64/maxconn 63/' /etc/haproxy/conf.d/60-alice.cfg")
    foreseen = changed_tasks(lab, "site.yml", "--extra-vars", f"@{CHANGES}", *EACH_KIND, "--check")
    done = changed_tasks(lab, "site.yml", "--extra-vars", f"@{CHANGES}", *EACH_KIND)
    assert foreseen == done
    roles = {task.split(" : ")[0].rpartition(".")[2] for _play, task, _host in done}
    missing = {"base", "firewall", "haproxy", "etcd", "postgresql", "databases", "builder", "primary_endpoint"} - roles
    missing |= {"pgbouncer", "application", "traffic", "keepalived", "certificates"} - roles
    assert missing == set(), f"nothing changed in {missing}; all that changed: {sorted(done)}"


def test_a_deployment_that_runs_otherwise_is_foreseen(lab: Lab) -> None:
    words = ("--extra-vars", "deployment=alice", "--extra-vars", "rollout_tasks_max=120")
    foreseen = changed_tasks(lab, "deploy.yml", *words, "--check")
    done = changed_tasks(lab, "deploy.yml", *words)
    assert done
    assert foreseen == done
