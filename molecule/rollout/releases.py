# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One deployment's releases: another revision by another environment, good or bad on purpose, and what hosts say of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client import Client, Door, eventually
from lab import ROOT, Lab
from registry import Registry

BALANCERS = ("lb1", "lb2")
SERVERS = ("app1", "app2")
KEEPERS = ("db1", "db2", "db3")
ORDER = "/orders/1"


class Releases:
    """What a member does to a deployment, and what comes of it."""

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        self.lab, self.name, self.registry = lab, name, Registry(folder)

    @property
    def door(self) -> Door:
        return self.lab.door(self.name)

    def change(self, rollout: dict[str, Any] | None = None, **environment: str) -> None:
        """Make the next release another revision, by what its processes find in their environment."""
        entry = self.registry.data["members"][self.name]
        entry["environment"] = environment
        if rollout:
            entry["rollout"] = rollout
        self.registry.save()

    def play(self, playbook: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.lab.ansible(
            "ansible-playbook",
            f"playbooks/{playbook}",
            "-e",
            f"deployment={self.name}",
            *words,
            registry=self.registry.path,
        )

    def promoted(self, playbook: str = "deploy.yml", *words: str) -> str:
        """Release it to its good end; return what was printed, in one line, for what is long is folded."""
        done = self.play(playbook, *words)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        return " ".join(done.stdout.split())

    def refused(self, playbook: str = "deploy.yml", *words: str) -> str:
        """Release it, and see it refused or taken back; return what was printed, in one line."""
        done = self.play(playbook, *words)
        assert done.returncode != 0, done.stdout[-5000:]
        return " ".join((done.stdout + done.stderr).split())

    @contextlib.contextmanager
    def under_way(self) -> Iterator[subprocess.Popen[bytes]]:
        """A deploy in a process group of its own, whose share of requests is open when the block begins."""
        playbook = str(Path(sys.executable).with_name("ansible-playbook"))
        words = ["-i", str(ROOT / "inventories/lab/ha"), "-i", str(self.registry.path), "playbooks/deploy.yml"]
        with (self.registry.path.parent / "deploy.log").open("wb") as log:
            process = subprocess.Popen(
                [playbook, *words, "-e", f"deployment={self.name}"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            assert eventually(lambda: self.step_open() or process.poll() is not None, 180)
            assert process.poll() is None, (self.registry.path.parent / "deploy.log").read_text()[-5000:]
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def notes(self) -> list[dict[str, Any]]:
        """What the load balancers remember of where requests go."""
        return [json.loads(self.lab.on(host, f"cat /var/lib/nectar/traffic/{self.name}.json")) for host in BALANCERS]

    def step_open(self) -> bool:
        return all(note.get("step") for note in self.notes())

    def told(self, file: str) -> list[dict[str, Any]]:
        """What the application servers remember of the deployment."""
        return [
            json.loads(self.lab.on(host, f"cat /var/lib/nectar/deployments/{self.name}/{file}")) for host in SERVERS
        ]

    def past(self) -> list[str]:
        """The revisions that can be returned to, the newest first, on whose word all servers agree."""
        found = {tuple(content["revision"] for content in record["past"]) for record in self.told("record.json")}
        assert len(found) == 1, found
        return list(found.pop())

    def idle_revision(self) -> str:
        """What the slot holds that doesn't serve, on every server."""
        found = {
            content["revision"]
            for record in self.told("record.json")
            for slot, content in record["slots"].items()
            if slot != record["active"]
        }
        assert len(found) == 1, found
        return str(found.pop())

    def active(self) -> tuple[str, str]:
        """The slot that serves and its revision, on whose word all servers agree."""
        records = self.told("record.json")
        found = {(record["active"], record["slots"][record["active"]]["revision"]) for record in records}
        assert len(found) == 1, records
        (slot_and_revision,) = found
        assert {note["active"] for note in self.notes()} == {slot_and_revision[0]}
        return slot_and_revision

    def running_slots(self) -> set[str]:
        """The slots whose units run, on any server."""
        return {
            slot
            for host in SERVERS
            for slot in ("blue", "green")
            if self.lab.on(host, f"systemctl is-active nectar-{self.name}-{slot}.target").strip() == "active"
        }

    @contextlib.contextmanager
    def without_etcd(self) -> Iterator[None]:
        """Nobody keeps leases and marks while the block lasts."""
        try:
            self.lab.on_all(KEEPERS, "systemctl stop etcd")
            yield
        finally:
            self.lab.on_all(KEEPERS, "systemctl start --no-block etcd")

    def database_stood_down(self, since: int) -> bool:
        """Whether a primary gave up its lead since that second of Unix time, for want of etcd and of the others' consent."""
        command = f"journalctl --unit patroni --since @{since} --output cat --grep 'demoting self because DCS is not accessible'"
        return any("demoting self" in self.lab.on(host, command) for host in KEEPERS)

    @contextlib.contextmanager
    def load(self, clients: int = 4, pause: float = 0.2) -> Iterator[list[Client]]:
        """Clients that go on asking for an order; each is bounded."""
        door = self.door
        with contextlib.ExitStack() as stack:
            asking = [
                stack.enter_context(Client(lambda: door.ask(ORDER), pause=pause, limit=4000)) for _ in range(clients)
            ]
            assert eventually(lambda: all(client.answers for client in asking), 10)
            yield asking


def failures(clients: list[Client]) -> list[Any]:
    return [answer for client in clients for answer in client.failures]
