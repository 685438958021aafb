# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users of their own, secrets that stay where they are, and slots that say what they run."""

from __future__ import annotations

import json
from typing import Any

testinfra_hosts = ["ansible://app_servers"]

STATE = "/var/lib/nectar/deployments"
CONFIGURATION = "/etc/nectar/deployments"
ASK = """
import socket, sys, urllib.error, urllib.request
ports = [line.split()[1] for line in open("/proc/net/tcp").readlines()[1:] if line.split()[3] == "0A" and line.split()[1].endswith(":1F4A")]
address = socket.inet_ntoa(bytes.fromhex(ports[0].split(":")[0])[::-1])
try:
    with urllib.request.urlopen(f"http://{address}:8010{sys.argv[1]}", timeout=20) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def deployments(host: Any) -> list[str]:
    """Return the deployments of this host."""
    with host.sudo():
        return sorted(host.file(STATE).listdir())


def records(host: Any) -> dict[str, dict[str, Any]]:
    """Return what the host remembers of the deployments that were released."""
    with host.sudo():
        files = {name: host.file(f"{STATE}/{name}/record.json") for name in host.file(STATE).listdir()}
        return {name: json.loads(file.content_string) for name, file in files.items() if file.exists}


def ask(host: Any, path: str) -> tuple[int, str]:
    """Ask the identity front, as a load balancer would."""
    status, _, body = host.check_output("python3 -c %s %s", ASK, path).partition(" ")
    return int(status), body


def test_there_are_deployments(host: Any) -> None:
    assert deployments(host)


def test_each_deployment_has_a_user_without_a_login(host: Any) -> None:
    users = [host.user(f"nb-{name}") for name in deployments(host)]
    assert [user.name for user in users if user.shell != "/usr/sbin/nologin"] == []
    assert len({user.uid for user in users}) == len(users)


def test_environments_are_kept_from_other_deployments(host: Any) -> None:
    names = deployments(host)
    for name, stranger in zip(names, names[1:] + names[:1], strict=True):
        if name != stranger:
            with host.sudo(f"nb-{stranger}"):
                assert host.run(f"ls {CONFIGURATION}/{name}").rc != 0
                assert host.run(f"ls {STATE}/{name}/shared").rc != 0


def test_nothing_secret_is_in_units_or_process_lists(host: Any) -> None:
    with host.sudo():
        files = host.check_output(f"find {CONFIGURATION} -name '*.env'").split()
        values = [
            line.split("=", 1)[1].strip('"') for path in files for line in host.file(path).content_string.splitlines()
        ]
        passwords = {
            value.split("://", 1)[1].split("@")[0].split(":", 1)[1]
            for value in values
            if value.startswith("postgresql://")
        }
        seen = host.check_output("ps -eo args; find /etc/systemd/system -type f -path '*/nectar-*' -exec cat {} +")
    assert [index for index, password in enumerate(passwords) if password in seen] == []


def test_a_path_that_names_no_slot_is_not_found(host: Any) -> None:
    assert ask(host, "/../etc/passwd")[0] == 404


def test_active_slots_say_what_they_run_and_idle_ones_are_silent(host: Any) -> None:
    found = records(host)
    assert found
    for name, record in found.items():
        idle = "green" if record["active"] == "blue" else "blue"
        status, body = ask(host, f"/{name}/{record['active']}")
        identity = json.loads(body)
        assert (status, identity["deployment"], identity["slot"]) == (200, name, record["active"])
        assert identity["revision"] == record["slots"][record["active"]]["revision"]
        assert ask(host, f"/{name}/{idle}")[0] == 503


def test_active_slots_come_back_after_a_reboot(host: Any) -> None:
    for name, record in records(host).items():
        assert host.check_output(f"systemctl is-enabled nectar-{name}-{record['active']}.target") == "enabled"


def test_releases_can_not_be_changed(host: Any) -> None:
    with host.sudo():
        assert host.check_output("find /opt/nectar/releases -mindepth 1 ! -type l -perm /222") == ""
        assert host.check_output("find /opt/nectar/releases ! -user root") == ""


def test_processes_have_their_share(host: Any, planned: dict[str, Any]) -> None:
    for name, record in records(host).items():
        share = planned["deployments"][name]["share"]
        for process, memory in share["memory_max"].items():
            unit = f"nectar-{name}-{record['active']}-{process}.service"
            limit = host.check_output(f"systemctl show --value --property MemoryMax {unit}")
            assert int(limit) == memory * 1024 * 1024, unit
        main = host.check_output(
            f"systemctl show --value --property MainPID nectar-{name}-{record['active']}-web.service"
        )
        with host.sudo():
            workers = host.check_output(f"cat /proc/{main}/task/{main}/children").split()
        assert len(workers) == share["workers"], name
