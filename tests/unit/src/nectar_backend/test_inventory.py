# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from collections.abc import Sequence
from pathlib import Path

import pytest

from nectar_backend.errors import NectarError
from nectar_backend.inventory import choose_deployments, read_inventory, shared_variables, unwrap

DEPLOYMENTS = {
    "production": {"member": None},
    "alice": {"member": "alice"},
    "bob": {"member": "bob"},
    "bob-trial": {"member": "bob"},
    "trial": {"member": "carol"},
}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        pytest.param(["production"], ["production"], id="a deployment"),
        pytest.param(["carol"], ["trial"], id="a member whose deployment has another name"),
        pytest.param(["bob"], ["bob"], id="a deployment before a member"),
        pytest.param(["carol", "alice", "trial"], ["trial", "alice"], id="in the order given, each once"),
    ],
)
def test_names_become_deployments(names: Sequence[str], chosen: list[str]) -> None:
    assert choose_deployments(names, DEPLOYMENTS) == chosen


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("prodution", "did you mean production", id="a slip"),
        pytest.param("zzz", "there are: production, alice", id="nothing like it"),
    ],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(NectarError, match=f"'{name}' is neither a deployment nor a member with one; {message}"):
        choose_deployments([name], DEPLOYMENTS)


def test_wrappers_are_taken_off() -> None:
    wrapped = {"a": {"__ansible_unsafe": "x"}, "b": [{"__ansible_unsafe": "y"}, 1], "c": {"d": None}}
    assert unwrap(wrapped) == {"a": "x", "b": ["y", 1], "c": {"d": None}}


def test_an_inventory_is_read(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {one: {deployments: {alice: {member: !unsafe alice}}}}}\n")
    inventory = read_inventory(tmp_path, ["hosts.yml"])
    assert shared_variables(inventory)["deployments"] == {"alice": {"member": "alice"}}


def test_an_inventory_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("[inventory]\nany_unparsed_is_failed = true\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: [")
    with pytest.raises(NectarError, match=r"hosts\.yml"):
        read_inventory(tmp_path, ["hosts.yml"])


@pytest.mark.parametrize("inventory", [{}, {"_meta": {"hostvars": {"one": {}}}}], ids=["no hosts", "no deployments"])
def test_an_inventory_without_deployments_is_refused(inventory: dict[str, object]) -> None:
    with pytest.raises(NectarError, match="no deployments"):
        shared_variables(inventory)
