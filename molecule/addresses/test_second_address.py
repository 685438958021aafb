# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server whose first address is dead is reached over its next one, whatever asks, and nobody edits a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from environment import Environment
from faults import rules
from lab import STATE, Lab, run

HOST = "app1"
# Who was connected to: client, its port, server, its port.
SHOW = "printenv SSH_CONNECTION"


@pytest.fixture(scope="module", autouse=True)
def dead_first_address(lab: Lab, environment: Environment) -> Iterator[None]:
    """The controller, whose member has a kit, can't come to the first address any more; others can."""
    lab.play("kit.yml", "--extra-vars", "member=alice")
    path = f"ip saddr {environment.controller} ip daddr {environment.ipv4(HOST)} tcp dport 22"
    with rules(lab, HOST, f"input: {path} drop"):
        yield


@pytest.fixture(autouse=True)
def connections_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection from before the fault may be used again."""
    monkeypatch.setenv("ANSIBLE_SSH_ARGS", "-o ControlMaster=no -o ControlPath=none")
    monkeypatch.setenv("NECTAR_KIT", str(STATE / "kits/alice"))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("ansible", HOST, "-m", "ansible.builtin.command", "-a", SHOW), id="ansible"),
        pytest.param(("ansible-playbook", "-v", "molecule/addresses/playbooks/delegation.yml"), id="delegate_to"),
    ],
)
def test_ansible_takes_the_next_address(lab: Lab, environment: Environment, command: tuple[str, ...]) -> None:
    done = lab.ansible(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f" {environment.ipv6(HOST)} 22" in done.stdout


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A member's own configuration of SSH: the kit's, and which key is theirs."""
    path = tmp_path_factory.mktemp("alice") / "config"
    path.write_text(f"IdentityFile {STATE}/ssh/alice\nInclude {STATE}/kits/alice/ssh_config\n")
    return path


def reached(config: Path, name: str) -> str:
    """Say at which of its addresses a server was reached."""
    done = run(["ssh", "-F", str(config), name, SHOW])
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[2]


def test_a_members_own_ssh_takes_the_next_address(environment: Environment, config: Path) -> None:
    assert reached(config, HOST) == environment.ipv6(HOST)


def test_a_members_own_ssh_comes_through_the_jump_host_to_the_first(environment: Environment, config: Path) -> None:
    assert reached(config, f"{HOST}-via-ops1") == environment.ipv4(HOST)
