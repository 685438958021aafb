# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A member's secrets are rotated while its deployment is asked: no request fails, and only the new password gets in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from ansible_collections.nectar.backend.plugins.module_utils.databases import login_of
from client import Client, Door

testinfra_hosts = ["ansible://app_servers"]

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "nectar" / os.environ["NECTAR_LAB"]
NAME = "frank"
LOGIN = (
    "PGPASSWORD=%s timeout 20 psql -X -w -At 'host={host} port={port} dbname={database} user={user} {tls}' "
    "-c 'SELECT current_user, session_user'"
)
DIRECT = {"port": 5433, "tls": "sslmode=verify-full sslrootcert=/etc/nectar/tls/ca.crt"}
POOLER = {"host": "127.0.0.1", "port": 6432, "tls": "sslmode=disable"}


def known() -> dict[str, Any]:
    """What the controller knows of the member's secrets."""
    return dict(yaml.safe_load((STATE / "secrets.yml").read_text())["deployments"][NAME])


@pytest.fixture(scope="session")
def play(inventory_words: list[str]) -> Callable[..., str]:
    """Run the playbook as a person does; return what it printed."""

    def run(*words: str, code: int = 0) -> str:
        command = ["ansible-playbook", *inventory_words, "playbooks/rotate.yml", *words]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
        )
        assert (done.returncode == 0) == (code == 0), done.stdout[-5000:] + done.stderr[-2000:]
        return " ".join((done.stdout + done.stderr).split())

    return run


@pytest.fixture(scope="session")
def rotated(
    inventory: dict[str, Any], planned: dict[str, Any], play: Callable[..., str]
) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """Rotate under a few requests; return the secrets before and after, and the requests that failed."""
    if len(inventory["app_servers"]["hosts"]) == 1:
        pytest.skip("takes minutes, and what one application server shows, two do")
    servers = [inventory["_meta"]["hostvars"][host]["server"] for host in inventory["loadbalancers"]["hosts"]]
    address = (planned["virtual_addresses"] or [servers[0]["advertise"]])[0]
    door = Door(planned["deployments"][NAME]["url"], address, 443, str(STATE / "ca/ca.crt"))
    before = known()
    with Client(lambda: door.ask("/orders/1"), limit=4000) as client:
        threading.Event().wait(1)
        play("-e", f"deployment={NAME}")
    assert len(client.answers) > 50
    return before, known(), client.failures


def test_no_request_fails(rotated: tuple[dict[str, Any], dict[str, Any], list[Any]]) -> None:
    before, after, failures = rotated
    assert failures == []
    assert before["database_password"] != after["database_password"]
    assert bool(before.get("second_login")) != bool(after.get("second_login"))
    assert "previous" not in after


def test_the_new_password_gets_in_and_the_former_does_not(
    host: Any, planned: dict[str, Any], rotated: tuple[dict[str, Any], dict[str, Any], list[Any]]
) -> None:
    role = planned["deployments"][NAME]["database_role"]
    before, after, _failures = rotated
    for way in ({**DIRECT, "host": planned["primary_name"]}, POOLER):
        for secrets, gets_in in ((before, False), (after, True)):
            user = login_of(role, secrets)
            done = host.run(
                LOGIN.format(user=user, database=planned["deployments"][NAME]["database"], **way),
                secrets["database_password"],
            )
            assert (done.rc == 0) is gets_in, done.stderr
            # Whoever logs in acts as the role: what it makes is the role's.
            assert not gets_in or done.stdout.strip() == f"{role}|{user}"


def test_no_slot_and_no_kept_revision_has_the_former_password(
    host: Any, rotated: tuple[dict[str, Any], dict[str, Any], list[Any]]
) -> None:
    with host.sudo():
        for password, expected in ((rotated[0]["database_password"], 1), (rotated[1]["database_password"], 0)):
            places = f"/etc/nectar/deployments/{NAME} /var/lib/nectar/deployments/{NAME} /etc/pgbouncer"
            assert host.run(f"grep -rqF %s {places}", password).rc == expected


def test_it_says_what_it_would_do_and_does_nothing_and_what_can_not_be_rotated_is_refused(
    play: Callable[..., str], rotated: tuple[dict[str, Any], dict[str, Any], list[Any]]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        refused = pool.submit(play, "-e", "deployment=frnk", code=1)
        told = play("-e", f"deployment={NAME}", "-e", "secrets=database,environment", "--check")
    assert f"{NAME}: database_password is renewed, and the login" in told
    assert "rest_password is renewed" in told
    assert "did you mean frank?" in refused.result()
    assert known() == rotated[1]
