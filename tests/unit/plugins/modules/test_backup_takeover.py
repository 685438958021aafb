# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A restored cluster takes the place of another, in folders of a test; etcd is a small server on the loopback."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import backup_takeover

AUTO = "work_mem = '8MB'\nrestore_command = 'false'\n"


class World:
    """A stopped cluster and a restored one beside it."""

    def __init__(self, place: Path, server: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self.server, self.capsys = place, server, capsys
        self.data, self.log, self.source = place / "17/main", place / "wal/17/main", place / "scratch/restore"
        self.deleted: list[str] = []
        self.status = 200
        server.answer = self.answer
        self.make(self.data, "old")
        self.log.mkdir(parents=True)
        (self.log / "000000010000000000000001").write_text("old")
        (self.data / "pg_wal").symlink_to(self.log)
        self.make(self.source / "data", "new")
        status = self.source / "data/pg_wal/archive_status"
        status.mkdir(parents=True)
        (status.parent / "000000020000000000000004").write_text("new")
        (status.parent / "00000002.history").write_text("1\n")

    @staticmethod
    def make(folder: Path, content: str) -> None:
        folder.mkdir(parents=True)
        (folder / "PG_VERSION").write_text("17\n")
        (folder / "table").write_text(content)
        (folder / "postgresql.auto.conf").write_text(AUTO)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {"error": "no leader"}
        keys = [request["request_delete_range"]["key"] for request in body["success"]]
        self.deleted = [base64.b64decode(key).decode() for key in keys]
        return 200, {"header": {"revision": "9"}, "succeeded": True, "responses": []}

    def run(self, check: bool = False) -> dict[str, Any]:
        given = {
            "source": str(self.source),
            "data_directory": str(self.data),
            "wal_directory": str(self.log),
            "scope": "lab",
            "etcd_port": self.server.port,
            "etcd_ca_file": self.server.cert_file,
            "etcd_cert_file": self.server.cert_file,
            "etcd_key_file": self.server.key_file,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            backup_takeover.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def content(self) -> dict[str, str]:
        """Every file's text, by its path, links followed by name alone."""
        return {
            str(path.relative_to(self.place)): str(path.readlink()) if path.is_symlink() else path.read_text()
            for path in sorted(self.place.rglob("*"))
            if path.parent != self.place and (path.is_symlink() or path.is_file())
        }


@pytest.fixture
def world(tmp_path: Path, json_server: Any, capsys: pytest.CaptureFixture[str]) -> World:
    return World(tmp_path, json_server, capsys)


def test_the_restored_cluster_takes_the_place_and_the_former_stays_beside(world: World) -> None:
    result = world.run()
    assert result["replaced"] == [f"{world.data}.replaced", f"{world.log}.replaced"]
    assert world.content() == {
        "17/main/PG_VERSION": "17\n",
        "17/main/pg_wal": str(world.log),
        "17/main/postgresql.auto.conf": "work_mem = '8MB'\n",
        "17/main/table": "new",
        "17/main.replaced/PG_VERSION": "17\n",
        "17/main.replaced/pg_wal": f"{world.log}.replaced",
        "17/main.replaced/postgresql.auto.conf": AUTO,
        "17/main.replaced/table": "old",
        "wal/17/main/000000020000000000000004": "new",
        "wal/17/main/00000002.history": "1\n",
        "wal/17/main/archive_status/00000002.history.ready": "",
        "wal/17/main.replaced/000000010000000000000001": "old",
    }
    assert "/nectar/lab/status" in world.deleted


def test_check_mode_moves_nothing(world: World) -> None:
    before = world.content()
    assert world.run(check=True)["changed"] is True
    assert world.content() == before
    assert world.deleted == []


def test_without_etcd_all_of_it_moves_back(world: World) -> None:
    world.status = 503
    assert "answered 503" in world.run()["msg"]
    content = world.content()
    assert content["17/main/table"] == "old"
    assert content["17/main/pg_wal"] == str(world.log)
    assert content["wal/17/main/000000010000000000000001"] == "old"
    assert content["scratch/restore/data/table"] == "new"
    assert [path for path in content if ".replaced" in path] == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("17/main/postmaster.pid", "a server runs in", id="it runs"),
        pytest.param("scratch/restore/data/postmaster.pid", "a server runs in", id="the restored one runs"),
        pytest.param("17/main.replaced", "is there already, from a former restore", id="a former one's data"),
        pytest.param("wal/17/main.replaced", "is there already, from a former restore", id="a former one's log"),
    ],
)
def test_what_is_in_the_way_is_refused(world: World, path: str, said: str) -> None:
    (world.place / path).write_text("")
    before = world.content()
    assert said in world.run()["msg"]
    assert world.content() == before
