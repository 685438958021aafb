# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check mode on converged hosts says which tasks would change which hosts, and the run then changes exactly those."""

from __future__ import annotations

from pathlib import Path

from changes import Changes, read_changes
from lab import Lab

CHANGES = Path(__file__).parent / "vars" / "changes.yml"
# A server of each kind says it all.
EACH_KIND = ("--limit", "lb2,app1,db1,ops1,localhost")


def changed_tasks(lab: Lab, *words: str) -> Changes:
    return read_changes(lab.play("site.yml", "--extra-vars", f"@{CHANGES}", *EACH_KIND, *words))


def test_a_changed_variable_of_each_role_is_foreseen(lab: Lab) -> None:
    # No variable of role traffic changes what is served, so it finds something that isn't as it was left.
    lab.on("lb2", "sed -i 's/maxconn 64/maxconn 63/' /etc/haproxy/conf.d/60-alice.cfg")
    foreseen, done = changed_tasks(lab, "--check"), changed_tasks(lab)
    assert foreseen == done
    roles = {task.split(" : ")[0].rpartition(".")[2] for _play, task, _host in done}
    missing = {"base", "firewall", "haproxy", "etcd", "postgresql", "databases", "builder", "primary_endpoint"} - roles
    missing |= {"pgbouncer", "application", "traffic", "keepalived", "certificates"} - roles
    assert missing == set(), f"nothing changed in {missing}; all that changed: {sorted(done)}"
