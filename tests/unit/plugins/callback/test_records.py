# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs are recorded over HTTPS by name and address, and go on when they can't be: ansible-playbook against a server."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ara")

PLAYBOOK = """
- name: A play
  hosts: localhost
  gather_facts: false
  vars_files: [secrets.yml]
  tasks:
    - {name: Say, ansible.builtin.debug: {msg: hello}}
    - {name: Hide, ansible.builtin.debug: {msg: "{{ word }}"}, no_log: true}
"""


@dataclass
class World:
    """A folder to run in, and a server of records that answers the first `patience` requests."""

    folder: Path
    server: ThreadingHTTPServer
    patience: int = 1000
    requests: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, **where: str) -> None:
        """Say where the records are."""
        known = {
            "url": f"https://records.nectar.test:{self.server.server_port}",
            "address": "127.0.0.1",
            "ca_file": str(self.folder / "server.crt"),
            "username": "records",
            "password": "hush",
        }
        (self.folder / "records.json").write_text(json.dumps({**known, **where}))

    def play(self) -> subprocess.CompletedProcess[str]:
        """Run the playbook with the callback."""
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACKS_ENABLED": "nectar.backend.records",
            "ANSIBLE_COLLECTIONS_PATH": next(
                path for path in sys.path if (Path(path) / "ansible_collections/nectar").exists()
            ),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "NECTAR_RECORDS_FILE": str(self.folder / "records.json"),
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "playbook.yml"]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, check=False, text=True, timeout=120
        )


def answering(world: Callable[[], World]) -> type[BaseHTTPRequestHandler]:
    """A handler that answers as ARA's API does, as far as its callback looks at it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            world().requests.append({**body, "path": self.path, "headers": dict(self.headers)})
            lost = len(world().requests) > world().patience
            answer = json.dumps({"id": 1, "name": None, "labels": [], **body}).encode()
            self.send_response(503 if lost else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_PATCH = do_POST

        def log_message(self, *_arguments: Any) -> None:
            pass

    return Handler


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=records -keyout server.key -out server.crt"
    names = "subjectAltName=DNS:records.nectar.test"
    subprocess.run(["openssl", *make.split(), "-addext", names], cwd=tmp_path, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    (tmp_path / "playbook.yml").write_text(PLAYBOOK)
    (tmp_path / "secrets.yml").write_text("word: unspeakable\n")
    made: list[World] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering(lambda: made[0]))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made.append(World(tmp_path, server))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made[0]
    server.shutdown()
    server.server_close()


def test_a_run_is_recorded_under_the_servers_name(world: World) -> None:
    world.tell()
    run = world.play()
    assert run.returncode == 0
    assert "not recorded" not in run.stderr
    begun, ended = world.requests[0], world.requests[-1]
    assert (begun["path"], begun["status"]) == ("/api/v1/playbooks", "running")
    assert (ended["path"], ended["status"]) == ("/api/v1/playbooks/1", "completed")
    assert {request["headers"]["Host"] for request in world.requests} == {
        f"records.nectar.test:{world.server.server_port}"
    }
    assert begun["headers"]["Authorization"] == f"Basic {base64.b64encode(b'records:hush').decode()}"
    assert [request["status"] for request in world.requests if request["path"] == "/api/v1/results"] == ["ok", "ok"]
    assert "hello" in json.dumps(world.requests)
    assert "unspeakable" not in json.dumps(world.requests), "neither a file of secrets nor what no_log hides"


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        pytest.param({"address": "127.0.0.2"}, "records.nectar.test at 127.0.0.2", id="nobody there"),
        pytest.param({"url": "https://other.nectar.test"}, "other.nectar.test", id="another server's name"),
        pytest.param({"ca_file": "/nowhere/ca.crt"}, "/nowhere/ca.crt", id="no authority"),
        pytest.param({"url": "http://records.nectar.test"}, "expected one like https://", id="in the clear"),
    ],
)
def test_without_records_a_run_goes_on(world: World, where: dict[str, str], complaint: str) -> None:
    if "url" in where:
        where = {"url": f"{where['url']}:{world.server.server_port}"}
    world.tell(**where)
    run = world.play()
    assert run.returncode == 0
    warning = " ".join(run.stderr.split())
    assert warning.count("From here on this run is not recorded") == 1
    assert complaint in warning
    assert world.requests == []


def test_a_run_outlives_its_records(world: World) -> None:
    world.patience = 5
    world.tell()
    run = world.play()
    assert run.returncode == 0
    assert "was answered with 503" in " ".join(run.stderr.split())
    # The one that failed, and at the end a last attempt to leave no record that seems to be running.
    assert len(world.requests) == 7
    assert (world.requests[-1]["path"], world.requests[-1]["status"]) == ("/api/v1/playbooks/1", "expired")


def test_nothing_happens_where_nothing_is_said(world: World) -> None:
    run = world.play()
    assert run.returncode == 0
    assert "records" not in run.stderr
    assert world.requests == []
