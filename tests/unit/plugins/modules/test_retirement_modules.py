# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A retired deployment on one host, found and removed; `systemctl` and `runuser` are stand-ins that play systemd and PostgreSQL."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import (
    account_removal,
    database_removal,
    deployment_removal,
    final_archive,
    leftovers,
    retirement_plan,
)

SYSTEMCTL = """#!/bin/sh
echo "$1" >> {place}/systemctl.log
if [ "$1" = show ]; then
  while [ "$1" != -- ]; do shift; done; shift
  for unit; do printf 'Id=%s\\nActiveState=%s\\nUnitFileState=%s\\n\\n' "$unit" $(cat {place}/state); done
fi
if [ "$1" = stop ]; then echo 'inactive disabled' > {place}/state; fi
"""
# What follows `--user NAME --` is the program; psql's statements come by standard input.
RUNUSER = """#!/bin/sh
shift 3; program=$1; shift
case $program in
psql)
  cat > {place}/sql
  if grep -q json_build_object {place}/sql; then cat {place}/cluster; exit; fi
  cat {place}/sql >> {place}/ran; grep -q DROP {place}/sql && cp {place}/empty {place}/cluster ;;
pg_dump)
  while [ "$1" != --file ]; do shift; done; echo archive > "$2" ;;
pg_restore)
  [ ! -e {place}/damaged ] || {{ echo 'pg_restore: error: could not read from input file' >&2; exit 1; }}
  echo '218; 1259 16402 TABLE public orders grace' ;;
esac
"""
RECORD = {"deployment": "grace", "active": "blue", "generation": 1, "promoted": None}
SLOT = {"release": "orders-1", "revision": "r1", "server_name": "grace.nectar.test", "ready_path": "/readyz"}


class Host:
    """A server in a folder, with everything that grace had."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self.capsys = place, capsys
        self.write("state", "active enabled\n")
        self.write("empty", json.dumps(self.cluster([])))
        self.write("cluster", json.dumps(self.cluster(["grace"])))
        self.write("lib/deployments/grace/record.json", json.dumps({**RECORD, "slots": {"blue": SLOT, "green": None}}))
        for path in ("etc/grace/blue.env", "releases/orders-1/bin/orders", "keys/grace", "lib/traffic/grace.json"):
            self.write(path, "")
        for unit in ("nectar-grace-blue.target", "nectar-grace-blue-web.service", "nectar-identity.service"):
            self.write(f"units/{unit}", "")
        self.write("haproxy/maps/deployments.map", "grace.nectar.test be_grace\nalice.nectar.test be_alice\n")
        self.write("haproxy/conf.d/60-grace.cfg", "")
        self.write("run/.s.PGSQL.5432", "")

    def write(self, path: str, text: str) -> None:
        file = self.place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    @staticmethod
    def cluster(names: list[str]) -> dict[str, Any]:
        role = {
            "password": "SCRAM-SHA-256$x",
            "login": True,
            "powers": [],
            "connection_limit": 20,
            "statement_timeout": "",
        }
        databases = [{"name": name, "owner": name, "is_open": False} for name in names]
        return {
            "in_recovery": False,
            "roles": [{"name": name, **role} for name in names],
            "databases": databases,
            "extensions": [],
            "admitted": [],
            "weakened": [],
        }

    def run(self, module: ModuleType, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module as Ansible would, in the folder."""
        places = {
            "state_directory": "lib",
            "configuration_directory": "etc",
            "unit_directory": "units",
            "releases_directory": "releases",
            "keys_directory": "keys",
            "haproxy_directory": "haproxy",
            "socket_directory": "run",
        }
        known = {name: str(self.place / path) for name, path in places.items() if name in module.ARGUMENT_SPEC}
        with patch_module_args({**known, **arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def four_runs(self, module: ModuleType, **arguments: Any) -> dict[str, Any]:
        """Foresee, do, do again, foresee again; return what was done."""
        before = self.files()
        foreseen = self.run(module, check=True, **arguments)
        assert (foreseen["changed"], self.files()) == (True, before)
        done = self.run(module, **arguments)
        assert done["removed"] == foreseen["removed"]
        after = self.files()
        assert self.run(module, **arguments)["changed"] is False
        assert self.run(module, check=True, **arguments)["changed"] is False
        assert self.files() == after
        return done

    def files(self) -> list[str]:
        """Return all that a host keeps."""
        return sorted(str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.suffix != ".log")


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    for name, text in (("systemctl", SYSTEMCTL), ("runuser", RUNUSER)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.format(place=tmp_path))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    world = Host(tmp_path, capsys)
    world.write("sql", "")
    world.write("ran", "")
    return world


GRACE = {"name": "grace", "user": "nb-grace-of-the-tests", "uid": 30007}
OWNED = {"deployments": ["alice"], "logins": ["alice"], "databases": ["alice"], "applications": ["orders"]}


def test_stopping_keeps_every_file(host: Host) -> None:
    before = host.files()
    done = host.four_runs(deployment_removal, **GRACE, state="stopped")
    assert done["removed"] == ["unit nectar-grace-blue-web.service stopped", "unit nectar-grace-blue.target stopped"]
    assert host.files() == before


def test_removing_leaves_what_is_not_its_own(host: Host) -> None:
    done = host.four_runs(deployment_removal, **GRACE, state="absent")
    assert done["removed"] == [
        "unit nectar-grace-blue-web.service",
        "unit nectar-grace-blue.target",
        f"release {host.place}/releases/orders-1",
        f"folder {host.place}/etc/grace",
        f"folder {host.place}/lib/deployments/grace",
    ]
    assert not any("grace" in path for path in host.files() if path.startswith(("units", "etc", "lib/deployments")))
    assert "units/nectar-identity.service" in host.files()


def test_a_record_that_cannot_be_read_is_named(host: Host) -> None:
    host.write("lib/deployments/grace/record.json", "{")
    result = host.run(deployment_removal, **GRACE, state="absent")
    assert result["msg"].startswith("Cannot remove grace: the record of grace can't be read")


def test_the_database_is_closed_then_dropped(host: Host) -> None:
    foreseen = host.run(database_removal, check=True, database="grace", claimed=["alice"], state="closed")
    assert (foreseen["exists"], (host.place / "ran").read_text()) == (True, "")
    host.run(database_removal, database="grace", claimed=["alice"], state="closed")
    assert 'ALTER ROLE "grace" NOLOGIN;' in (host.place / "ran").read_text()
    done = host.four_runs(database_removal, database="grace", claimed=["alice"], state="absent")
    assert done["removed"] == ["drop the database grace", "drop the role grace"]


def test_a_database_that_lives_is_refused(host: Host) -> None:
    result = host.run(database_removal, database="grace", claimed=["grace"], state="absent")
    assert "Cannot retire the database grace" in result["msg"]
    assert (host.place / "ran").read_text() == ""


def test_the_last_dump_is_its_readers_alone(host: Host) -> None:
    path = host.place / "handover" / "last.dump"
    path.parent.mkdir()
    user = {"login_user": os.environ.get("USER") or "root"}
    assert host.run(final_archive, check=True, database="grace", path=str(path), **user)["changed"] is True
    assert not path.exists()
    done = host.run(final_archive, database="grace", path=str(path), **user)
    assert (done["tables"], done["size"], oct(path.stat().st_mode & 0o777)) == (["public.orders"], 8, "0o600")
    assert [name for name in os.listdir(host.place) if name.startswith(".archive-")] == []


def test_a_dump_that_cannot_be_read_back_is_not_kept(host: Host) -> None:
    (host.place / "handover").mkdir()
    host.write("damaged", "")
    path = host.place / "handover" / "last.dump"
    result = host.run(final_archive, database="grace", path=str(path), login_user=os.environ.get("USER") or "root")
    assert "pg_restore ended with 1: pg_restore: error: could not read from input file" in result["msg"]
    assert list(path.parent.iterdir()) == []


def test_keys_go_without_an_account_too(host: Host) -> None:
    done = host.four_runs(account_removal, name="grace", uid=41007)
    assert done["removed"] == [f"keys {host.place}/keys/grace"]


def test_everything_is_found(host: Host) -> None:
    found = host.run(leftovers, **OWNED)["leftovers"]
    kinds = [entry["kind"] for entry in found if entry["name"] == "grace"]
    assert kinds == ["database", "folder", "fragment", "keys", "role", "route", "settings", "units"]
    assert [entry for entry in found if entry["name"] != "grace"] == []


def test_who_is_owned_is_not_found(host: Host) -> None:
    owned = {name: [*names, "grace"] for name, names in OWNED.items()}
    assert host.run(leftovers, **owned)["leftovers"] == []


def test_who_lives_is_not_retired(host: Host) -> None:
    registry = {"deployments": {"grace": {"number": 7, "database": "grace"}}, "members": {}, "retired": {}, "looks": {}}
    assert host.run(retirement_plan, deployment="grace", **registry)["msg"].startswith(
        "Nothing was retired: grace lives"
    )
