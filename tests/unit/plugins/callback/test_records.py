# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs reach ARA exactly once, and are never disturbed by it: ansible-playbook and the poster against ARA's own server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# ansible-test's environment has no ARA; make check runs these tests, with the locked one.
pytest.importorskip("django")
pytest.importorskip("ara.server")

from ansible_collections.nectar.backend.plugins.plugin_utils import records_post
from ansible_collections.nectar.backend.plugins.plugin_utils.records_spool import Spool

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections/nectar").exists())
POSTER = Path(COLLECTIONS) / "ansible_collections/nectar/backend/plugins/plugin_utils/records_post.py"
PLAYBOOK = """
- name: A play
  hosts: all
  gather_facts: false
  vars_files: [secrets.yml]
  tasks:
    - {name: Say, ansible.builtin.debug: {msg: hello}}
    - {name: Hide, ansible.builtin.debug: {msg: "{{ word }}"}, no_log: true}
    - {name: Fail, ansible.builtin.fail: {msg: broken}, when: broken | default(false) | bool}
    - {name: Wait, ansible.builtin.wait_for: {path: "{{ until }}"}, when: until is defined}
"""
INVENTORY = """
all:
  vars:
    environment_name: test
    deployments: {alice: {member: alice}, production: {}}
  hosts:
    app1: {ansible_connection: local, ansible_host: 192.0.2.21, ansible_python_interpreter: "%s"}
"""


@dataclass
class World:
    """A folder to run in, with the file that says where the records are, and ARA's server."""

    folder: Path
    server: Path
    port: int

    @property
    def spool(self) -> Spool:
        return Spool(str(self.folder / "state/records.spool"))

    @property
    def file(self) -> Path:
        return self.folder / "state/records.json"

    def tell(self, **where: str) -> None:
        """Say where the records are."""
        self.file.parent.mkdir(exist_ok=True)
        known = {
            "url": f"https://records.nectar.test:{self.port}",
            "address": "127.0.0.1",
            "ca_file": str(self.server / "server.crt"),
            "username": "records",
            "password": "hush",
        }
        self.file.write_text(json.dumps({**known, **where}))

    def start(self, *variables: str) -> subprocess.Popen[str]:
        """Start the playbook with the callback."""
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACKS_ENABLED": "nectar.backend.records",
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "NECTAR_RECORDS_FILE": str(self.file),
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "playbook.yml"]
        command += [word for variable in variables for word in ("-e", variable)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True, **pipes)

    def play(self, *variables: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        process = self.start(*variables)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def post(self) -> records_post.Posting:
        return records_post.post(str(self.file), patient=True)

    def listed(self) -> list[dict[str, Any]]:
        self.tell()
        with records_post.open_api(str(self.file)) as api:
            return records_post.listed(api, 100)

    def runs(self) -> list[str]:
        """The numbers of the recorded runs that were made here, those of other tests left out."""
        return sorted(run["run"] for run in self.listed() if run["run"] in self.made())

    def made(self) -> set[str]:
        """What this test's spool has ever held."""
        noted = self.folder / "made"
        names = {Path(path).name[18:54] for path in self.spool.waiting()}
        names |= set(noted.read_text().split()) if noted.exists() else set()
        noted.write_text("\n".join(names))
        return names

    def fail(self, kind: str, after: int = 0) -> None:
        (self.server / "fault").write_text(json.dumps({"kind": kind, "after": after}))

    def heal(self) -> None:
        (self.server / "fault").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("ara")
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=records -keyout server.key -out server.crt"
    names = "subjectAltName=DNS:records.nectar.test"
    subprocess.run(["openssl", *make.split(), "-addext", names], cwd=folder, capture_output=True, check=True)
    # Its own folder is not to be on the path: it is named as a part of ARA could be.
    command = [sys.executable, "-P", str(Path(__file__).with_name("ara_server.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield folder, int(process.stdout.readline())
        process.kill()


def furnish(folder: Path) -> None:
    (folder / "ansible.cfg").write_text("[defaults]\n")
    (folder / "playbook.yml").write_text(PLAYBOOK)
    (folder / "inventory.yml").write_text(INVENTORY % sys.executable)
    (folder / "secrets.yml").write_text("word: unspeakable\n")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run that was made before there were records."""
    folder = tmp_path_factory.mktemp("run")
    furnish(folder)
    world = World(folder, folder, 0)
    assert world.play("deployment=alice").returncode == 0
    (path,) = world.spool.waiting()
    return Path(path)


@pytest.fixture
def world(tmp_path: Path, server: tuple[Path, int]) -> Iterator[World]:
    furnish(tmp_path)
    made = World(tmp_path, *server)
    yield made
    made.heal()


def eventually(check: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    return found


@pytest.fixture
def waiting(world: World, recorded: Path) -> World:
    """A world with a run that waits: the recorded one, as another."""
    before, number = recorded.name[18:54], str(uuid.uuid4())
    world.tell()
    os.makedirs(world.spool.folder)
    copy = Path(world.spool.folder, recorded.name.replace(before, number))
    copy.write_bytes(recorded.read_bytes().replace(before.encode(), number.encode()))
    assert world.made() == {number}
    return world


def test_a_run_is_posted_by_itself_with_its_labels(world: World) -> None:
    world.tell()
    begun = {run["run"] for run in world.listed()}
    run = world.play("deployment=production,alice")
    assert (run.returncode, "records" in run.stderr) == (0, False)

    def posted() -> list[dict[str, Any]]:
        return [one for one in world.listed() if one["run"] not in begun and not world.spool.waiting()]

    (found,) = eventually(posted)
    assert {key: found[key] for key in ("playbook", "environment", "deployment", "member", "outcome")} == {
        "playbook": "playbook.yml",
        "environment": "test",
        "deployment": "production,alice",
        "member": "alice",
        "outcome": "ok",
    }
    assert found["seconds"] > 0
    with records_post.open_api(str(world.file)) as api:
        (playbook,) = api.playbooks(label=f"run:{found['run']}")
        results = api.ask("GET", "results", query={"playbook": str(playbook["id"])})["results"]
        contents = [api.ask("GET", f"results/{one['id']}")["content"] for one in results]
    assert "address:app1=192.0.2.21" in playbook["labels"]
    assert (playbook["status"], playbook["items"]["tasks"], playbook["items"]["results"]) == ("completed", 4, 4)
    assert "hello" in json.dumps(contents)
    assert "unspeakable" not in json.dumps(contents)


def test_the_spool_is_the_owners_alone_and_holds_no_secret(recorded: Path) -> None:
    assert [path.stat().st_mode & 0o777 for path in (recorded.parent, recorded)] == [0o700, 0o600]
    text = recorded.read_text()
    assert "hello" in text
    assert "unspeakable" not in text, "neither a file of secrets nor what no_log hides"


def test_a_run_from_before_the_records_is_posted_once(waiting: World) -> None:
    assert waiting.post() == records_post.Posting(posted=1)
    assert waiting.post() == records_post.Posting()
    assert len(waiting.runs()) == 1


@pytest.mark.parametrize("kind", ["error", "away", "garbage", "late"])
@pytest.mark.parametrize("after", [0, 1, 2, 13])
def test_half_a_posting_is_done_again(waiting: World, kind: str, after: int) -> None:
    waiting.fail(kind, after)
    posting = waiting.post()
    assert (posting.posted, posting.waiting) == (0, 1)
    assert posting.problem == waiting.spool.problem != ""
    waiting.heal()
    assert waiting.post() == records_post.Posting(posted=1)
    assert (len(waiting.runs()), waiting.spool.problem) == (1, "")


def test_an_end_that_nobody_heard_of_is_found(waiting: World) -> None:
    """The answer to the very last request is lost: the run is there, and is not posted again."""
    waiting.fail("late", 14)
    lost = waiting.post()
    waiting.heal()
    before = waiting.runs()
    assert (lost.posted, waiting.post().posted, waiting.runs() == before) == (0, 1, True)
    assert len(before) == 1


def test_what_the_server_refuses_blocks_nothing(waiting: World) -> None:
    (first,) = waiting.spool.waiting()
    Path(first).write_bytes(Path(first).read_bytes().replace(b'"status":"ok"', b'"status":"odd"'))
    broken = Path(waiting.spool.folder) / "2000-01-01T000000-broken.jsonl"
    broken.write_text("{]\n")
    assert waiting.play().returncode == 0
    eventually(lambda: not waiting.spool.waiting())
    notes = sorted(Path(waiting.spool.folder, "set-aside").glob("*.why"))
    assert ["line 1: expected JSON" in notes[0].read_text(), "answered with 400" in notes[1].read_text()] == [True] * 2
    assert waiting.runs() == []


def test_a_killed_run_is_recorded_as_interrupted(world: World) -> None:
    process = world.start(f"until={world.folder}/never")
    assert eventually(lambda: any(b'"Wait"' in Path(path).read_bytes() for path in world.spool.waiting()))
    world.made()
    world.tell()
    assert (world.post().posted, len(world.spool.waiting())) == (0, 1), "it goes on"
    os.killpg(process.pid, signal.SIGKILL)
    # Its worker has a session of its own, and outlives it: that must not matter.
    process.communicate(timeout=30)
    assert eventually(lambda: world.post().posted) == 1
    (found,) = [run for run in world.listed() if run["run"] in world.runs()]
    assert (found["outcome"], found["environment"]) == ("interrupted", "test")
    (world.folder / "never").touch()


def test_two_posters_post_once(waiting: World) -> None:
    command = [sys.executable, str(POSTER), "post", str(waiting.file)]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, check=True), range(3)))
    assert sorted(json.loads(one.stdout)["posted"] for one in done) == [0, 0, 1]
    assert len(waiting.runs()) == 1


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        pytest.param({"address": "127.0.0.2"}, "records.nectar.test at 127.0.0.2", id="nobody there"),
        pytest.param({"url": "https://other.nectar.test"}, "other.nectar.test", id="another server's name"),
        pytest.param({"ca_file": "/nowhere/ca.crt"}, "/nowhere/ca.crt", id="no authority"),
        pytest.param({"url": "http://records.nectar.test"}, "expected one like https://", id="in the clear"),
        pytest.param({"password": "wrong"}, "answered with 401", id="a stranger"),
    ],
)
def test_records_that_cannot_be_reached_cost_a_run_one_line(
    world: World, where: dict[str, str], complaint: str
) -> None:
    world.tell(**({"url": f"{where['url']}:{world.port}"} if "url" in where else where))
    first, problem = world.play("broken=true"), eventually(lambda: world.spool.problem)
    assert complaint in problem
    second = world.play("broken=true")
    assert [first.returncode, second.returncode] == [2, 2]
    warnings = " ".join(second.stderr.split())
    assert ("Runs wait" in first.stderr, warnings.count("Runs wait")) == (False, 1)
    assert len(world.made()) == 2
    world.tell()
    assert eventually(lambda: world.post() and not world.spool.waiting())
    assert len(world.runs()) == 2


def test_a_server_that_hangs_is_not_waited_for_by_the_run(world: World) -> None:
    world.tell()
    world.fail("hang")
    began = time.monotonic()
    assert world.play().returncode == 0
    assert len(world.made()) == 1, "it waits still"
    assert time.monotonic() - began < 10, "less than one request's patience"


def test_a_folder_that_cannot_be_written_is_told_once(world: World) -> None:
    (world.folder / "state").write_text("in the way\n")
    run = world.play()
    assert run.returncode == 0
    assert run.stderr.count("This run is not recorded") == 1
