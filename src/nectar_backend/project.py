# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the project lies, and where a lab keeps what must outlast one command."""

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from os import geteuid
from pathlib import Path

from nectar_backend.errors import NectarError

ROOT = Path(__file__).resolve().parents[2]

REGISTRY = "inventories/lab/members.yml"
INVENTORIES = {
    "ha": ("inventories/lab/ha", REGISTRY),
    "single": ("inventories/lab/single", REGISTRY),
}
DEFAULT_TOPOLOGY = "ha"


@dataclass(frozen=True)
class Lab:
    """The state folder of one lab; the playbooks know it as `state_directory`."""

    directory: Path

    @property
    def topology_file(self) -> Path:
        return self.directory / "topology"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca" / "ca.crt"

    @property
    def records_file(self) -> Path:
        return self.directory / "records.json"

    @property
    def ssh_config(self) -> Path:
        return self.directory / "ssh_config"


def find_lab(environ: Mapping[str, str], home: Path) -> Lab:
    """Name the state folder; an empty variable counts as unset, as it does in a shell."""
    state = environ.get("XDG_STATE_HOME") or str(home / ".local" / "state")
    return Lab(Path(state) / "nectar" / (environ.get("NECTAR_LAB") or "lab"))


def read_topology(lab: Lab) -> str | None:
    """Say which topology is up, or None; a value that we did not write is refused."""
    try:
        topology = lab.topology_file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    if topology not in INVENTORIES:
        raise NectarError(
            f"{lab.topology_file} holds {topology!r}, expected one of {', '.join(sorted(INVENTORIES))}; "
            "write the right one into it, or remove it and run `make lab-down`."
        )
    return topology


def write_topology(lab: Lab, topology: str) -> None:
    """Remember the topology before the first host exists, so that half a lab can be taken down."""
    lab.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lab.topology_file.write_text(f"{topology}\n", encoding="utf-8")


def choose_topology(asked: str | None, running: str | None) -> str:
    """Keep to what is up, and refuse to build one topology over another."""
    if running and asked and asked != running:
        raise NectarError(
            f"a lab with TOPOLOGY={running} is up, and TOPOLOGY={asked} was asked for; "
            "run `make lab-down` first (it removes the lab's data), then again."
        )
    return asked or running or DEFAULT_TOPOLOGY


def require_topology(lab: Lab) -> str:
    """Say which topology is up; without a lab there is nothing to ask."""
    topology = read_topology(lab)
    if topology is None:
        raise NectarError(f"no lab is up (there is no {lab.topology_file}); start one with `make lab`.")
    return topology


def require_root() -> None:
    """Podman's part needs root; find out now rather than in the middle of a playbook."""
    if geteuid() == 0:
        return
    try:
        allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        raise NectarError(
            "Podman needs root here, and sudo would ask for a password, which a playbook can't type; "
            "run it as `sudo make …`: what it writes will still belong to you."
        )


@contextmanager
def only_one(lab: Lab) -> Iterator[None]:
    """Hold the lab for one command; the abstract socket vanishes with the process, however it ends."""
    guard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        guard.bind("\0nectar-" + sha256(bytes(lab.directory)).hexdigest())
    except OSError as error:
        guard.close()
        raise NectarError(f"another nectar command works on {lab.directory}; wait until it ends.") from error
    try:
        yield
    finally:
        guard.close()
