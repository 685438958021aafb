# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Members come and go, and an application server is replaced, while production answers every request."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from client import Client, Door, eventually
from lab import STATE, Lab
from registry import Registry

LISTING = "/orders?limit=5"
# What a member's coming takes of site.yml; all servers take part, and nothing else is looked at.
COMING = ("--tags", "base,databases,pgbouncer,application,retirement")
# Who takes part where an application server is replaced: the others know what it has to serve.
REPLACED = ("--limit", "app_servers,localhost")


def leftovers(shown: str, name: str) -> list[str]:
    """Return the lines of the report that say how to retire somebody."""
    return re.findall(rf"^ *{name} .*retire\.yml -e member={name}$", shown, re.MULTILINE)


def test_a_member_comes_and_goes_without_a_failed_request_elsewhere(lab: Lab, tmp_path: Path) -> None:
    door, registry = lab.door("production"), Registry(tmp_path)
    # The lab's memory is shared out to the last member: one more fits where each takes less.
    registry.data["applications"]["orders"]["processes"]["web"]["memory"] = "40M"
    registry.save()

    def play(playbook: str, *words: str) -> str:
        return lab.play(playbook, *words, registry=registry.path)

    with Client(lambda: door.ask(LISTING), limit=100_000) as client:
        registry.add("zoe")
        number = registry.data["members"]["zoe"]["number"]
        play("site.yml", *COMING)
        play("deploy.yml", "-e", "member=zoe")
        zoe = Door(door.url.replace("production", "zoe"), door.address, door.port, door.ca_file)
        assert eventually(lambda: zoe.ask(LISTING).ok, 60), zoe.ask(LISTING)

        registry.retire("zoe")
        assert leftovers(play("site.yml", "--tags", "retirement", "--limit", "app_servers"), "zoe")
        play("retire.yml", "-e", "member=zoe", "-e", "confirm=zoe")
        again = play("retire.yml", "-e", "member=zoe")
    assert "zoe: nothing is left" in again and not re.search(r"changed=[1-9]", again)
    assert not zoe.ask(LISTING).ok
    archive = STATE / "archives" / f"zoe-{number}.dump"
    assert os.stat(archive).st_mode & 0o777 == 0o600
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert archive.with_suffix(".dump.sha256").read_text() == f"{digest}  {archive.name}\n"
    print(f"{len(client.answers)} requests to production, {len(client.failures)} failed")
    assert len(client.answers) > 100 and client.failures == []


def active_slots(lab: Lab, host: str) -> dict[str, str]:
    """Return which slot of each deployment the host remembers as the one that serves."""
    names = lab.on(host, "ls /var/lib/nectar/deployments").split()
    records = (json.loads(lab.on(host, f"cat /var/lib/nectar/deployments/{name}/record.json")) for name in names)
    return {record["deployment"]: record["active"] for record in records}


def test_a_replaced_application_server_serves_again_by_site_alone(lab: Lab) -> None:
    before = active_slots(lab, "app2")
    lab.remove("app1")
    lab.play("lab/create.yml")
    lab.play("site.yml", *REPLACED)
    assert before and active_slots(lab, "app1") == before
    targets = " ".join(f"nectar-{name}-{slot}.target" for name, slot in before.items())
    assert lab.on("app1", f"systemctl is-active {targets}").split() == ["active"] * len(before)
