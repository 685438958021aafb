# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A deployment's way through its slots on one host, step by step; `systemctl` is a stand-in that keeps the units' states in a file."""

from __future__ import annotations

import grp
import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import (
    deployment_info,
    outcome_copy,
    slot_migrate,
    slot_prepare,
    slot_promote,
    slot_secrets,
    slot_start,
    slot_stop,
)

SYSTEMCTL = """#!{python} -IS
import json, pathlib, sys
place = pathlib.Path({place!r})
verb, *rest = sys.argv[1:]
units = [word for word in rest if not word.startswith("--")]
file = place / "units.json"
states = json.loads(file.read_text()) if file.exists() else {{}}
broken = (place / "broken").read_text().split() if (place / "broken").exists() else []
with open(place / "log", "a") as log:
    print(verb, *units, file=log)
for unit in units:
    state = states.setdefault(unit, {{"ActiveState": "inactive", "UnitFileState": "disabled"}})
    if verb in ("start", "stop"):
        state["ActiveState"] = "inactive" if verb == "stop" else "failed" if unit in broken else "active"
    if verb in ("enable", "disable"):
        state["UnitFileState"] = verb + "d"
file.write_text(json.dumps(states))
if verb == "show":
    for unit in units:
        found = {{"Id": unit, "SubState": "x", "NRestarts": "0", "Result": "exit-code", **states[unit]}}
        print("\\n".join(f"{{key}}={{value}}" for key, value in found.items()), end="\\n\\n")
if verb == "start" and set(units) & set(broken):
    sys.exit("Job failed")
"""
JOURNALCTL = "#!/bin/sh\n[ \"$1\" = --sync ] || echo 'no such table, said with s3cret-of-production'\n"
SECRETS = {"production": {"database_password": "s3cret-of-production"}}
POOLER, DIRECT = (
    {"host": "127.0.0.1", "port": 6432},
    {"host": "primary.test", "port": 5433, "query": "?sslmode=verify-full"},
)
LIMITS = {"memory_max": 192, "tasks_max": 64, "stop_timeout": 30, "migrate_timeout": 900}
TARGETS = {slot: f"nectar-production-{slot}.target" for slot in ("blue", "green")}


class ReadyHandler(BaseHTTPRequestHandler):
    """A web process that is ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Host"] == "production.nectar.test" else 400)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a web process that is ready."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ReadyHandler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


class Host:
    """An application server in a folder."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], port: int) -> None:
        self.place, self.capsys, self.port = place, capsys, port
        (place / "units").mkdir()

    def install(self, release: str) -> None:
        """Have a release with its programs."""
        for program in ("orders-web", "orders-migrate", "orders-tidy"):
            path = self.place / "releases" / release / "bin" / program
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)

    def deployment(self, slot: str = "blue", generation: int = 1, version: str = "1", **changes: Any) -> dict[str, Any]:
        """Return a planned deployment."""
        return {
            "name": "production",
            "application": "orders",
            "user": grp.getgrgid(os.getegid()).gr_name,
            "server_name": "production.nectar.test",
            "url": "https://production.nectar.test/",
            "ports": {"blue": self.port, "green": self.port},
            "database": "production",
            "database_role": "production",
            "processes": {
                "web": {"type": "web", "command": "orders-web --bind {address}:{port}"},
                "tidy": {"type": "timer", "command": "orders-tidy", "schedule": "daily"},
            },
            "migrate": ["orders-migrate"],
            "environment": {"DB": "postgresql://{database_user}:{database_password}@{database_host}/"},
            "ready_path": "/readyz",
            "release": f"orders-{version}",
            "revision": f"r{version}",
            "slot": slot,
            "generation": generation,
            "switches": True,
            **changes,
        }

    def run(self, module: Any, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module as Ansible would."""
        world = (
            {}
            if module is slot_migrate
            else {
                "state_directory": str(self.place / "state"),
                "configuration_directory": str(self.place / "etc"),
                "unit_directory": str(self.place / "units"),
                "releases_directory": str(self.place / "releases"),
            }
        )
        with patch_module_args({**world, **arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def prepare(self, *deployments: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        """Prepare slots."""
        return self.run(
            slot_prepare,
            check,
            **more,
            deployments=list(deployments),
            host="app1",
            address="127.0.0.1",
            secrets=SECRETS,
            pooler=POOLER,
            direct=DIRECT,
            limits=LIMITS,
        )

    def start(self, *deployments: dict[str, Any], check: bool = False) -> dict[str, Any]:
        """Start slots."""
        return self.run(
            slot_start, check, deployments=list(deployments), address="127.0.0.1", deadline=5, secrets=SECRETS
        )

    def promote(self, *deployments: dict[str, Any], check: bool = False, keep: int = 3) -> dict[str, Any]:
        """Promote slots."""
        return self.run(slot_promote, check, deployments=list(deployments), drain_deadline=1, keep_releases=keep)

    def release(self, deployment: dict[str, Any]) -> None:
        """Go all the way."""
        self.install(deployment["release"])
        for step in (self.prepare, self.start, self.promote):
            assert "error" not in step(deployment)["results"]["production"]

    def states(self) -> dict[str, dict[str, str]]:
        """Return the units as systemd has them."""
        return dict(json.loads((self.place / "units.json").read_text()))

    def record(self) -> dict[str, Any]:
        """Return the record."""
        return dict(json.loads((self.place / "state/deployments/production/record.json").read_text()))

    def files(self) -> dict[str, str]:
        """Return all files of the slots, with their content."""
        found = [
            path for name in ("state", "etc", "units") for path in (self.place / name).rglob("*") if path.is_file()
        ]
        return {str(path.relative_to(self.place)): path.read_text() for path in found}

    def break_unit(self, unit: str) -> None:
        """Let a unit fail whenever it starts."""
        (self.place / "broken").write_text(unit)


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, port: int) -> Host:
    """A host with nothing on it."""
    for name, text in (
        ("systemctl", SYSTEMCTL.format(python=sys.executable, place=str(tmp_path))),
        ("journalctl", JOURNALCTL),
    ):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Host(tmp_path, capsys, port)


def four_runs(run: Callable[..., dict[str, Any]], deployment: dict[str, Any], host: Host) -> None:
    """Foresee, do, do again, foresee again."""
    before = host.files()
    assert run(deployment, check=True)["changed"] is True
    assert host.files() == before
    assert run(deployment)["changed"] is True
    after = host.files()
    assert run(deployment)["changed"] is False
    assert run(deployment, check=True)["changed"] is False
    assert host.files() == after


def test_preparing(host: Host) -> None:
    host.install("orders-1")
    four_runs(host.prepare, host.deployment(), host)
    environment = host.place / "etc/production/blue.env"
    assert environment.read_text() == 'DB="postgresql://production:s3cret-of-production@127.0.0.1/"\n'
    assert stat.S_IMODE(environment.stat().st_mode) == 0o640
    assert "@primary.test/" in (host.place / "etc/production/migrate.env").read_text()
    assert host.record()["slots"]["blue"]["revision"] == "r1"
    assert host.record()["active"] is None


def test_no_secret_is_shown_or_lands_in_a_unit(host: Host) -> None:
    host.install("orders-1")
    shown = json.dumps(host.prepare(host.deployment())["diff"])
    kept = "state/deployments/production/revisions/r1.json"
    units = "".join(text for path, text in host.files().items() if not path.startswith("etc/") and path != kept)
    assert stat.S_IMODE((host.place / kept).stat().st_mode) == 0o600
    assert stat.S_IMODE((host.place / kept).parent.stat().st_mode) == 0o700
    assert "s3cret" not in shown + units
    assert "other values, not shown" in shown or "new values, not shown" in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"version": "9"}, "release orders-9 is not installed", id="not shipped"),
        pytest.param(
            {"migrate": ["orders-migrat"]},
            "the release has no program orders-migrat; it has orders-migrate",
            id="no such program",
        ),
    ],
)
def test_what_can_not_run_is_refused(host: Host, changes: dict[str, Any], said: str) -> None:
    host.install("orders-1")
    assert said in host.prepare(host.deployment(**changes))["results"]["production"]["error"]


def test_a_slot_is_stopped_before_it_changes(host: Host) -> None:
    host.release(host.deployment())
    host.install("orders-2")
    host.prepare(host.deployment(version="2"))
    assert host.states()[TARGETS["blue"]]["ActiveState"] == "inactive"


def test_units_of_a_process_that_left_go(host: Host) -> None:
    host.release(host.deployment())
    host.prepare(host.deployment(processes={"web": {"type": "web", "command": "orders-web"}}))
    assert not [path for path in host.files() if "tidy" in path]


def test_starting(host: Host) -> None:
    host.install("orders-1")
    host.prepare(host.deployment())
    four_runs(host.start, host.deployment(), host)


def test_a_slot_that_does_not_start_is_stopped_and_says_why(host: Host) -> None:
    host.install("orders-1")
    host.prepare(host.deployment())
    host.break_unit("nectar-production-blue-web.service")
    error = host.start(host.deployment())["results"]["production"]["error"]
    assert "nectar-production-blue-web.service ended 1 times" in error
    assert "no such table" in error
    assert "s3cret" not in error
    assert host.states()[TARGETS["blue"]]["ActiveState"] == "inactive"


def test_preparing_a_migration_touches_no_slot(host: Host) -> None:
    host.release(host.deployment())
    host.install("orders-2")
    before, record = host.files(), host.record()
    next_one = host.deployment("green", 2, "2", migrate=["orders-migrate --all"])
    assert host.prepare(next_one, check=True, migration_only=True)["changed"] is True
    assert host.files() == before
    assert host.prepare(next_one, migration_only=True)["changed"] is True
    changed = {path for path, text in host.files().items() if before.get(path) != text}
    assert (changed, host.record()) == ({"units/nectar-production-migrate.service"}, record)
    assert host.states()[TARGETS["blue"]]["ActiveState"] == "active"
    assert host.prepare(next_one, migration_only=True)["changed"] is False


PSQL = """#!{python} -IS
import json, os, pathlib, sys
place = pathlib.Path({place!r})
looks = [path for path in sorted(place.glob("look-*")) if path.stat().st_size]
(place / "asked").write_text(" ".join(sys.argv[1:]) + " " + os.environ["PGPASSWORD"])
if not looks or "nectar-production-migrate" not in sys.argv[sys.argv.index("--command") + 1]:
    sys.exit("psql: no route to primary.test")
print(looks[0].read_text())
looks[0].unlink()
"""
ORDERS = {"kind": "table", "name": "public.orders", "table": "", "definition": "", "flaw": ""}
NOTE = {"kind": "column", "name": "note", "table": "public.orders", "definition": "text", "flaw": ""}


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        pytest.param([[ORDERS], [ORDERS]], "it left the schema as it was before", id="nothing left"),
        pytest.param(
            [[ORDERS], [ORDERS, NOTE]], "take it back: ALTER TABLE public.orders DROP COLUMN note", id="a column left"
        ),
        pytest.param([], "can't be told: psql ended with 1: psql: no route to primary.test", id="no look"),
    ],
)
def test_what_a_failed_migration_left_is_told(host: Host, looks: list[list[dict[str, str]]], said: str) -> None:
    program = host.place / "bin" / "psql"
    program.write_text(PSQL.format(python=sys.executable, place=str(host.place)))
    program.chmod(0o755)
    for number, things in enumerate(looks):
        (host.place / f"look-{number}").write_text(json.dumps({"things": things, "running": [], "holding": []}))
    host.break_unit("nectar-production-migrate.service")
    given = {"deployments": [host.deployment()], "secrets": SECRETS, "direct": DIRECT}
    error = host.run(slot_migrate, **given)["results"]["production"]["error"]
    assert said in error
    asked, _blank, password = (host.place / "asked").read_text().rpartition(" ")
    assert asked.endswith("--dbname postgresql://production@primary.test:5433/production?sslmode=verify-full")
    assert (password in asked, password) == (False, SECRETS["production"]["database_password"])


def test_migrating(host: Host) -> None:
    well = host.run(slot_migrate, deployments=[host.deployment()], secrets=SECRETS)
    assert (well["changed"], "error" in well["results"]["production"]) == (True, False)
    host.break_unit("nectar-production-migrate.service")
    ill = host.run(slot_migrate, deployments=[host.deployment()], secrets=SECRETS)["results"]["production"]["error"]
    assert "the migration failed (Job failed)" in ill
    assert "no such table" in ill
    assert "s3cret" not in ill
    assert host.run(slot_migrate, deployments=[host.deployment(migrate=[])])["changed"] is False


def test_promoting(host: Host) -> None:
    host.install("orders-1")
    host.prepare(host.deployment())
    host.start(host.deployment())
    four_runs(host.promote, host.deployment(), host)
    assert (host.record()["active"], host.record()["generation"]) == ("blue", 1)
    assert host.states()[TARGETS["blue"]] == {"ActiveState": "active", "UnitFileState": "enabled"}
    assert host.states()["nectar-production-blue-tidy.timer"] == {"ActiveState": "active", "UnitFileState": "enabled"}


def test_the_next_release_takes_the_other_slot(host: Host) -> None:
    host.release(host.deployment())
    host.release(host.deployment("green", 2, "2"))
    assert host.states()[TARGETS["blue"]] == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert host.states()["nectar-production-blue-tidy.timer"] == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
    }
    assert host.states()[TARGETS["green"]] == {"ActiveState": "active", "UnitFileState": "enabled"}
    assert host.record()["slots"]["blue"]["revision"] == "r1"


def test_old_releases_go_and_those_in_slots_stay(host: Host) -> None:
    host.release(host.deployment())
    host.install("orders-0")
    host.release(host.deployment("green", 2, "2"))
    assert host.promote(host.deployment("green", 2, "2"), keep=1)["pruned"] == ["orders-0"]
    assert sorted(path.name for path in (host.place / "releases").iterdir()) == ["orders-1", "orders-2"]


def slot_texts(host: Host, slot: str) -> dict[str, str]:
    """Return all that was written for a slot."""
    return {
        path: text
        for path, text in host.files().items()
        if slot in path.rpartition("/")[2] and "/revisions/" not in path
    }


def test_a_slot_is_made_anew_from_what_is_kept(host: Host) -> None:
    host.release(host.deployment(environment={"COLOUR": "red", "DB": "{database_password}"}))
    wanted = slot_texts(host, "blue")
    host.release(host.deployment("green", 2, "2"))
    host.prepare(host.deployment("blue", 3, "1", revision="bad", environment={"COLOUR": "black"}))
    assert slot_texts(host, "blue") != wanted
    # The registry has changed since, and the password; what is kept is as it was.
    back = host.deployment("blue", 3, processes={}, migrate=[], environment={}, kept=True, returns=True)
    four_runs(host.prepare, back, host)
    assert slot_texts(host, "blue") == wanted
    assert stat.S_IMODE((host.place / "etc/production/blue.env").stat().st_mode) == 0o640
    host.start(back)
    host.promote(back)
    assert (host.record()["active"], host.record()["past"]) == ("blue", [])
    assert host.states()[TARGETS["blue"]] == {"ActiveState": "active", "UnitFileState": "enabled"}


def test_a_kept_revision_fits_the_other_slot_too(host: Host) -> None:
    host.release(host.deployment())
    host.prepare(host.deployment("green", 2, kept=True, migrate=[]))
    found = {
        path.replace("green", "blue"): text.replace("green", "blue") for path, text in slot_texts(host, "green").items()
    }
    assert found == slot_texts(host, "blue")


def test_what_is_not_kept_is_refused_by_its_file(host: Host) -> None:
    host.install("orders-1")
    error = host.prepare(host.deployment(kept=True))["results"]["production"]["error"]
    assert "revisions/r1.json is missing, so revision r1 can't be made anew" in error


def test_revisions_stay_as_long_as_somebody_may_return_to_them(host: Host) -> None:
    for number in range(1, 5):
        host.release(host.deployment("blue" if number % 2 else "green", number, str(number)))
    assert [content["revision"] for content in host.record()["past"]] == ["r3", "r2", "r1"]
    promoted = host.promote(host.deployment("green", 4, "4"), keep=1)
    assert (promoted["changed"], promoted["pruned"]) == (False, [])
    fifth = host.deployment("blue", 5, "5")
    host.install("orders-5")
    host.prepare(fifth)
    host.start(fifth)
    foreseen = host.promote(fifth, check=True, keep=1)
    promoted = host.promote(fifth, keep=1)
    assert [Path(path).name for path in sorted(promoted["forgotten"])] == ["r1.json", "r2.json", "r3.json"]
    assert sorted(promoted["pruned"]) == ["orders-1", "orders-2", "orders-3"]
    assert foreseen["changed"] is True
    kept = host.run(deployment_info)["kept"]["production"]
    assert [content["revision"] for content in kept] == ["r5", "r4"]


def test_what_lost_its_release_or_can_not_be_read_is_not_kept(host: Host) -> None:
    host.release(host.deployment())
    (host.place / "state/deployments/production/revisions/r0.json").write_text("{")
    host.prepare(host.deployment("green", 2, revision="r2"))
    (host.place / "releases/orders-1").rename(host.place / "releases/.orders-1")
    assert host.run(deployment_info)["kept"] == {"production": []}


def test_a_copy_of_how_it_ended_lies_beside_the_record(host: Host) -> None:
    ended = {"name": "production", "bad": {"release": "orders-2", "revision": "r2", "reason": "it leaked"}}
    assert host.run(outcome_copy, deployments=[ended])["changed"] is False
    host.release(host.deployment())
    assert host.run(outcome_copy, True, deployments=[ended])["changed"] is True
    assert host.run(deployment_info)["outcomes"] == {}
    host.run(outcome_copy, deployments=[ended])
    assert host.run(deployment_info)["outcomes"]["production"]["bad"]["r2"]["reason"] == "it leaked"
    (host.place / "state/deployments/production/outcomes.json").write_text("{")
    assert host.run(deployment_info)["outcomes"] == {}


FORMER = {"production": {"database_password": "s3cret-of-production", "second_login": False}}


def test_former_secrets_stay_while_a_slot_has_them(host: Host) -> None:
    host.release(host.deployment())
    before = host.files()
    found = host.run(slot_secrets, former=FORMER)
    assert (found["changed"], found["results"]) == (False, {"production": {"used": ["blue"], "forgotten": []}})
    assert host.files() == before


def test_former_secrets_go_with_all_that_could_not_run_without_them(host: Host, monkeypatch: Any) -> None:
    host.release(host.deployment())
    monkeypatch.setitem(SECRETS, "production", {"database_password": "another", "second_login": True})
    host.release(host.deployment("green", 2, "2", environment={"DB": "{database_user}:{database_password}"}))
    foreseen = host.run(slot_secrets, check=True, former=FORMER)
    assert "blue" in host.record()["slots"] and host.record()["past"]
    done = host.run(slot_secrets, former=FORMER)
    assert foreseen == done
    gone = {str(Path(path).relative_to(host.place)) for path in done["results"]["production"]["forgotten"]}
    assert {"etc/production/blue.env", "state/deployments/production/revisions/r1.json"} <= gone
    assert not any("s3cret-of-production" in text for text in host.files().values())
    assert (host.record()["slots"]["blue"], host.record()["past"]) == (None, [])
    assert host.run(slot_secrets, former=FORMER)["changed"] is False
    assert host.states()[TARGETS["green"]]["ActiveState"] == "active"


def test_a_deployment_that_never_ran_here_uses_nothing(host: Host) -> None:
    found = host.run(slot_secrets, former={"alice": {"database_password": "x" * 32}})
    assert found["results"] == {"alice": {"used": [], "forgotten": []}}


def test_stopping_spares_what_serves(host: Host) -> None:
    host.release(host.deployment())
    host.install("orders-2")
    idle = host.deployment("green", 2, "2")
    host.prepare(idle)
    host.start(idle)
    assert host.run(slot_stop, True, deployments=[idle])["changed"] is True
    assert host.states()[TARGETS["green"]]["ActiveState"] == "active"
    assert TARGETS["green"] in host.run(slot_stop, deployments=[idle])["stopped"]
    assert host.run(slot_stop, deployments=[idle])["changed"] is False
    assert host.run(slot_stop, deployments=[host.deployment()])["changed"] is False
    assert host.states()[TARGETS["blue"]]["ActiveState"] == "active"


def test_a_host_tells_what_it_knows(host: Host) -> None:
    assert host.run(deployment_info)["records"] == {}
    host.release(host.deployment())
    found = host.run(deployment_info)
    assert (found["serves"], found["releases"]) == ({"production": True}, ["orders-1"])
    assert found["records"]["production"] == host.record()


def test_a_slot_that_fell_does_not_serve(host: Host) -> None:
    host.release(host.deployment())
    states = host.states()
    states["nectar-production-blue-web.service"]["ActiveState"] = "failed"
    (host.place / "units.json").write_text(json.dumps(states))
    assert host.run(deployment_info)["serves"] == {"production": False}


def test_a_broken_record_is_named(host: Host) -> None:
    host.release(host.deployment())
    (host.place / "state/deployments/production/record.json").write_text("{")
    assert "the record of production can't be read" in host.run(deployment_info)["msg"]
