# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One database comes back; `runuser` and PostgreSQL's programs are stand-ins that keep what they were told."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import database_return

RUNUSER = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""
# It answers by what it is asked, and on which side.
PSQL = """#!/bin/sh
sql=$(cat)
case "$*" in *{place}/scratch*) side=backup ;; *) side=living ;; esac
case $sql in
  *relkind*) cat {place}/$side ;;
  *"json_agg(datname)"*) cat {place}/names ;;
  *pg_database_size*) cat {place}/owner ;;
  *data_directory*) echo {place} ;;
  *) echo "$sql" | tail -n +2 >> {place}/told; [ ! -e {place}/locked ] || ! echo "$sql" | grep -q RENAME ;;
esac
"""
DUMP = "#!/bin/sh\necho dump\n"
RESTORE = '#!/bin/sh\ngrep -q dump && echo "$*" > {place}/loaded && [ ! -e {place}/broken ]\n'


class World:
    """A living server, and a scratch cluster on the same host."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.capsys = place, capsys
        programs = place / "bin"
        programs.mkdir()
        for name, text in {"runuser": RUNUSER, "psql": PSQL, "pg_dump": DUMP, "pg_restore": RESTORE}.items():
            (programs / name).write_text(text.replace("{place}", str(place)))
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        self.write(names=["postgres", "alice"], owner=["alice", 8192])
        self.write(backup={"public.orders": 2000}, living={"public.orders": 2000})

    def write(self, **files: Any) -> None:
        for name, value in files.items():
            (self.place / name).write_text(json.dumps(value))

    def told(self) -> str:
        path = self.place / "told"
        return path.read_text() if path.exists() else ""

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {
            "database": "alice",
            "source": str(self.place / "scratch"),
            "programs": str(self.place / "bin"),
            "socket_directory": str(self.place / "socket"),
            "login_user": getpass.getuser(),
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            database_return.main()
        return dict(json.loads(self.capsys.readouterr().out))


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, capsys, monkeypatch)


def test_it_is_loaded_beside_the_living_one(world: World) -> None:
    result = world.run()
    assert (result["name"], result["counts"]) == ("alice_restored", {"public.orders": 2000})
    assert "--dbname=alice_restored" in (world.place / "loaded").read_text()
    assert 'CREATE DATABASE "alice_restored" OWNER "alice"' in world.told()
    assert "RENAME" not in world.told()


@pytest.mark.parametrize(
    ("names", "replaced"),
    [
        pytest.param(["postgres", "alice"], True, id="it lives"),
        pytest.param(["postgres"], False, id="it is gone"),
    ],
)
def test_it_takes_the_living_ones_place(world: World, names: list[str], replaced: bool) -> None:
    world.write(names=names)
    assert world.run(state="live")["name"] == "alice"
    assert 'ALTER DATABASE "alice_restored" RENAME TO "alice";' in world.told()
    assert ("alice_replaced" in world.told()) is replaced


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        pytest.param({"names": ["alice", "alice_restored"]}, {}, "dropdb alice_restored", id="left from before"),
        pytest.param({"names": ["alice_replaced"]}, {"state": "live"}, "dropdb alice_replaced", id="left from a swap"),
        pytest.param({"owner": ["alice", 1 << 60]}, {}, "MiB are free, and alice takes", id="no room"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(
    world: World, files: dict[str, Any], arguments: dict[str, str], said: str, check: bool
) -> None:
    world.write(**files)
    assert said in world.run(check, **arguments)["msg"]
    assert world.told() == ""


def test_check_mode_loads_nothing(world: World) -> None:
    assert world.run(check=True)["changed"] is True
    assert world.told() == ""


@pytest.mark.parametrize(
    ("living", "broken", "said"),
    [
        pytest.param({"public.orders": 1999}, False, "differs from the backup", id="a row is missing"),
        pytest.param({"public.orders": 2000}, True, "loading it ended with 1", id="it can't be loaded"),
    ],
)
def test_what_was_not_loaded_whole_is_dropped(world: World, living: dict[str, int], broken: bool, said: str) -> None:
    world.write(living=living)
    if broken:
        (world.place / "broken").touch()
    assert said in world.run(state="live")["msg"]
    assert world.told().splitlines()[-1] == 'DROP DATABASE "alice_restored" WITH (FORCE);'
    assert "RENAME" not in world.told()


def test_a_living_database_that_cannot_be_swapped_lives_on(world: World) -> None:
    (world.place / "locked").touch()
    assert "Cannot bring the database alice back" in world.run(state="live")["msg"]
    assert world.told().splitlines()[-1] == 'ALTER DATABASE "alice" WITH ALLOW_CONNECTIONS true;'
