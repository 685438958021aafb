# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Podman and the kernel are asked, with commands that print what a machine would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import lab_plan

APP1 = {"name": "app1", "addresses": ["10.89.77.21", "fd6e:6563:77::15"], "memory": 640}
IMAGE = "localhost/nectar-lab:trixie-0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without anything: `podman` and `ip` print empty lists."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    says(tmp_path, "podman")
    says(tmp_path, "ip")
    return tmp_path


def says(machine: Path, command: str, **answers: list[dict[str, Any]]) -> None:
    """Make a command that prints the answer to its first argument."""
    (machine / "bin").mkdir(exist_ok=True)
    cases = "".join(f"{word}) echo '{json.dumps(answer)}';;\n" for word, answer in answers.items())
    script = machine / "bin" / command
    script.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) echo "[]";;\nesac\n')
    script.chmod(0o755)


def run(capsys: pytest.CaptureFixture[str], machine: Path, **changes: object) -> dict[str, Any]:
    """Run the module as Ansible would, and return its result."""
    arguments = {
        "name": "lab",
        "state_directory": str(machine / "lab"),
        "subnets": ["10.89.77.0/24", "fd6e:6563:77::/64"],
        "image": IMAGE,
        "servers": [APP1],
        "volumes": [{"name": "etcd", "path": "/var/lib/etcd", "size": 160}],
        "volume_hosts": ["app1"],
        "release": "trixie",
        **changes,
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        lab_plan.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_an_empty_machine(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, machine)
    assert (result["changed"], result["changes"], result["plan"]["build_image"]) == (False, True, True)
    assert result["plan"] == run(capsys, machine, _ansible_check_mode=True)["plan"]
    assert result["net_config"][0] == {"subnet": "10.89.77.0/24", "gateway": "10.89.77.1"}


def test_a_machine_without_podman(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "bin" / "podman").unlink()
    monkeypatch.setenv("PATH", f"{machine}/bin")
    assert run(capsys, machine)["plan"]["make_network"]


def test_an_image_that_is_there(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    says(machine, "podman", images=[{"Names": [IMAGE]}])
    assert run(capsys, machine)["plan"]["build_image"] is False


def test_a_file_counts_as_filesystem_once_it_is_one(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = machine / "lab" / "volumes" / "app1-etcd-trixie-160M.ext4"
    device.parent.mkdir(parents=True)
    device.write_bytes(bytes(4096))
    assert [volume["device"] for volume in run(capsys, machine)["plan"]["make_filesystems"]] == [str(device)]
    device.write_bytes(bytes(lab_plan.EXT4_MAGIC_OFFSET) + lab_plan.EXT4_MAGIC)
    assert run(capsys, machine)["plan"]["make_filesystems"] == []


def test_other_keys_make_another_host(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "lab" / "ssh").mkdir(parents=True)
    labels = []
    for key in ("ssh-ed25519 AAAA", "ssh-ed25519 BBBB"):
        (machine / "lab" / "ssh" / "operator.pub").write_text(key)
        labels.append(run(capsys, machine)["plan"]["make_hosts"][0]["labels"]["nectar.lab.definition"])
    assert labels[0] != labels[1]


def test_a_clash_fails_and_says_with_whom(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    says(machine, "ip", **{"-json": [{"dst": "10.89.77.0/24", "dev": "wg0"}]})
    result = run(capsys, machine)
    assert result["failed"]
    assert "a route to 10.89.77.0/24 on wg0. Choose a free one with NECTAR_NETWORK_IPV4" in result["msg"]


def test_a_command_that_fails_is_shown(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "bin" / "podman").write_text("#!/bin/sh\necho no such storage >&2\nexit 125\n")
    result = run(capsys, machine)
    assert result["failed"]
    assert "podman ps --all --external --format json` ended with 125: no such storage" in result["msg"]
