# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab under test: its doors, as `nectar status` names them, and its hosts, as Podman runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from client import Door

ROOT = Path(__file__).resolve().parents[2]
LAB = os.environ["NECTAR_LAB"]
STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "nectar" / LAB
REGISTRY = ROOT / "inventories/lab/members.yml"

# Molecule asks for colours, and the tests read what playbooks print.
os.environ["ANSIBLE_FORCE_COLOR"] = "false"

# What `nectar lab up` remembers, and Molecule's own create does not.
(STATE / "topology").write_text("ha\n")


def run(command: Sequence[str], *, seconds: float = 60, text: str | None = None) -> subprocess.CompletedProcess[str]:
    # Commands run side by side: what one of them, like ssh, does to an input that they share would stop Ansible.
    stdin = subprocess.DEVNULL if text is None else None
    return subprocess.run(
        command, input=text, stdin=stdin, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
    )


class Lab:
    """The hosts of the lab, and what a person would do to them."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}

    def podman(self, *words: str, text: str | None = None) -> str:
        sudo = [] if os.geteuid() == 0 else ["sudo", "--preserve-env=CONTAINERS_CONF"]
        os.environ["CONTAINERS_CONF"] = str(STATE / "containers.conf")
        done = run([*sudo, "podman", *words], text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inside(self, host: str, script: str, text: str | None = None) -> str:
        """Run a shell script as root in a host, past its network and its SSH server; return what it printed."""
        return self.podman("exec", "--interactive", f"nectar-{LAB}-{host}", "sh", "-euc", script, text=text)

    def pause(self, host: str) -> None:
        """Freeze a host: its kernel goes on accepting connections, and nobody answers them."""
        self.podman("pause", f"nectar-{LAB}-{host}")

    def unpause(self, host: str) -> None:
        self.podman("unpause", f"nectar-{LAB}-{host}")

    def lose(self, host: str) -> None:
        """Stop a host at once, as a power cut would."""
        self.podman("kill", f"nectar-{LAB}-{host}")

    def bring_back(self, host: str) -> None:
        self.podman("start", f"nectar-{LAB}-{host}")

    def remove(self, host: str) -> None:
        """Take a host away with all that it holds, but for filesystems of databases."""
        self.podman("rm", "--force", f"nectar-{LAB}-{host}")

    def ansible(
        self, program: str, *words: str, servers: Path = ROOT / "inventories/lab/ha", registry: Path = REGISTRY
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's programs on the lab as a person would."""
        command = [str(Path(sys.executable).with_name(program)), "-i", str(servers), "-i", str(registry), *words]
        return run(command, seconds=900)

    def play(self, playbook: str, *words: str, registry: Path = REGISTRY) -> str:
        """Run a playbook of the project to its good end; return what it printed."""
        done = self.ansible("ansible-playbook", f"playbooks/{playbook}", *words, registry=registry)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def on(self, host: str, command: str) -> str:
        """Run a command as root on a host over SSH and return what it printed."""
        return run(["ssh", "-F", str(STATE / "ssh_config"), host, f"sudo {command}"]).stdout

    def on_all(self, hosts: Sequence[str], command: str) -> None:
        """Run a command as root on several hosts at once."""
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(lambda host: self.on(host, command), hosts))

    def status(self) -> dict[str, dict[str, object]]:
        rows = json.loads(run([sys.executable, "-m", "nectar_backend", "status", "--format", "json"]).stdout)
        return {row["deployment"]: row for row in rows}

    def door(self, deployment: str) -> Door:
        """How a deployment is reached, which stays as it is while a lab lives."""
        if deployment not in self._doors:
            self._doors = {name: Door.of(row) for name, row in self.status().items()}
        return self._doors[deployment]

    def all_well(self) -> bool:
        return all(row["ok"] for row in self.status().values())
