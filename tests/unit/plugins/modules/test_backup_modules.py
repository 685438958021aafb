# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups are seen, made and restored; `pgbackrest`, `runuser` and PostgreSQL's programs are stand-ins that keep what they were told."""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils import backups
from ansible_collections.nectar.backend.plugins.modules import backup_info, backup_restore, backup_run

RUNUSER = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""
# A repository that holds what the file `info` says; its first backup appears with the command `backup`.
PGBACKREST = """#!/bin/sh
for last; do :; done
echo "$*" >> {place}/told
case $last in
  info) cat {place}/info ;;
  backup) cp {place}/after {place}/info ;;
  restore) if [ -e {place}/broken ]; then echo "ERROR: [029]: checksum" >&2; exit 29; fi ;;
esac
"""
PG_CTL = """#!/bin/sh
for last; do :; done
echo "pg_ctl $last" >> {place}/told
while [ "$1" != --pgdata ]; do shift; done
if [ $last = start ]; then touch $2/postmaster.pid; else rm $2/postmaster.pid; fi
"""
PSQL = """#!/bin/sh
sql=$(cat)
case $sql in
  *relkind*) echo '{"public.orders": 2000}' ;;
  *datallowconn*) echo '["alice"]' ;;
  *pg_walfile_name*) cat {place}/reached ;;
esac
"""
NOTHING = "#!/bin/sh\n"


def answer(*ended: float, damaged: bool = False) -> str:
    """What pgBackRest prints of backups that ended then."""
    made = [
        {
            "archive": {"start": None, "stop": None},
            "error": damaged,
            "info": {"repository": {"delta": 4096}, "size": 8192},
            "label": f"{int(seconds)}F",
            "timestamp": {"start": seconds - 1, "stop": seconds},
            "type": "full",
        }
        for seconds in ended
    ]
    code, message = (0, "ok") if made else (2, "no valid backups")
    archive = [{"max": "000000010000000000000009", "min": "000000010000000000000001"}]
    return json.dumps(
        [{"name": "lab", "status": {"code": code, "message": message}, "backup": made, "archive": archive}]
    )


class World:
    """A server with pgBackRest and PostgreSQL on it."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.capsys = place, capsys
        self.programs = place / "bin"
        self.programs.mkdir()
        programs = {
            "runuser": RUNUSER, "pgbackrest": PGBACKREST, "pg_ctl": PG_CTL, "psql": PSQL, "pg_isready": NOTHING, "pg_amcheck": NOTHING,
        }  # fmt: skip
        for name, text in programs.items():
            (self.programs / name).write_text(text.replace("{place}", str(place)))
            (self.programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{self.programs}:/usr/bin:/bin")
        self.now = time.time()
        (place / "reached").write_text("000000020000000000000009")
        self.holds(self.now - 7200, self.now - 3600)
        (place / "after").write_text(answer(self.now - 7200, self.now - 3600, self.now))

    def holds(self, *ended: float, **more: bool) -> None:
        (self.place / "info").write_text(answer(*ended, **more))

    def told(self) -> list[str]:
        """What pgBackRest and pg_ctl were told, but for reading."""
        path = self.place / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.endswith(" info")]

    def run(self, module: ModuleType, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"stanza": "lab", "login_user": getpass.getuser(), "_ansible_check_mode": check, **arguments}
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def restore(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"directory": str(self.place / "scratch"), "programs": str(self.programs), **arguments}
        return self.run(backup_restore, check, **given)


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, capsys, monkeypatch)


def test_a_first_backup_is_made_once(world: World) -> None:
    world.holds()
    arguments = {"state": "ready", "repository": str(world.place)}
    changed = []
    for check in (True, False, False, True):
        result = world.run(backup_run, check, **arguments)
        changed.append(result["changed"])
    assert changed == [True, True, False, False]
    assert [line.split()[-1] for line in world.told()] == ["check", "backup"]


def test_a_new_repository_is_told_of_the_cluster_first(world: World) -> None:
    (world.place / "info").write_text("[]")
    made = world.run(backup_run, state="ready", repository=str(world.place))["made"]
    assert made == f"{int(world.now)}F"
    assert [line.split()[-1] for line in world.told()] == ["stanza-create", "check", "backup"]


def test_a_full_repository_is_refused_before_anything_is_copied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "REPOSITORY_MARGIN", 1 << 60)
    for check in (True, False):
        assert "MiB are free, and a diff backup may take" in world.run(
            backup_run, check, type="diff", repository=str(world.place)
        ).get("msg", "")
    assert world.told() == []


def test_what_is_there_is_told_with_its_proof(world: World) -> None:
    proof = backups.Proof(f"{int(world.now - 3600)}F", world.now - 3600, world.now, 9.0, 7.0, 1, 2, 3)
    path = world.place / "proof.json"
    result = world.run(backup_info, proof_file=str(path))
    assert "proof" not in result
    path.write_text(json.dumps(backups.write_proof(proof)))
    result = world.run(backup_info, proof_file=str(path))
    assert result["proof"]["label"] == result["backups"][1]["label"] == proof.label
    assert "proven" in result["lines"][2]
    assert "proven" not in result["lines"][1]


def test_a_restored_cluster_serves_until_it_is_removed(world: World) -> None:
    assert world.restore(check=True)["backup"] == f"{int(world.now - 3600)}F"
    assert world.told() == []
    result = world.restore(databases=["alice"])
    assert result["counts"] == {"alice": {"public.orders": 2000}}
    assert [line.split()[-1] for line in world.told()] == ["restore", "start"]
    assert f"--set={int(world.now - 3600)}F --archive-mode=off --db-include=alice restore" in world.told()[0]
    assert "is there already" in world.restore()["msg"]
    changed = [world.restore(check, state="absent")["changed"] for check in (True, False, False, True)]
    assert changed == [True, True, False, False]
    assert world.told()[-1] == "pg_ctl stop"
    assert list((world.place / "scratch").iterdir()) == []


def test_a_restore_that_fails_leaves_nothing(world: World) -> None:
    (world.place / "broken").touch()
    assert "could not restore to" in world.restore()["msg"]
    assert list((world.place / "scratch").iterdir()) == []


def test_a_gap_in_the_archive_is_told_and_never_goes_live(world: World) -> None:
    (world.place / "reached").write_text("000000020000000000000005")
    assert world.restore()["lines"][1].startswith("not all that was committed: the recovery ended in 0000000200")
    world.restore(state="absent")
    assert "a segment between them is missing" in world.restore(stopped=True)["msg"]
    assert list((world.place / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"target": "noon"}, "no moment with its offset", id="no moment"),
        pytest.param({"target": "2020-01-01T00:00:00+00:00"}, "lies before the first backup", id="too early"),
        pytest.param({"target": "2999-01-01T00:00:00+00:00"}, "is still to come", id="too late"),
        pytest.param({"backup": "20200101-000000F"}, "there is no '20200101-000000F'", id="no such backup"),
        pytest.param({"name": "../data"}, "name: '../data' must be", id="a name that leads elsewhere"),
        pytest.param({"name": "a" * 90}, "too many for a socket", id="a socket's path"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_cannot_be_is_refused_before_anything_is_written(
    world: World, arguments: dict[str, str], said: str, check: bool
) -> None:
    assert said in world.restore(check, **arguments)["msg"]
    assert world.told() == []
    assert not (world.place / "scratch").exists()


def test_a_place_without_room_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "SCRATCH_MARGIN", 1 << 60)
    assert "MiB are free, and" in world.restore()["msg"]
    assert world.told() == []
