"""The inventory plugin on real files: what Ansible sees, and how a broken registry ends the command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader
from ansible.template import is_trusted_as_template
from ansible_collections.nectar.backend.plugins.plugin_utils.registry_source import SIZE_LIMIT

ROOT = Path(__file__).parents[4]
SERVERS = """\
plugin: nectar.backend.members
network_ipv4: 10.89.77.0/24
network_ipv6: fd6e:6563:77::/64
servers:
  lb1: {number: 11, groups: [loadbalancers]}
  app1: {number: 21, groups: [app_servers], memory: 1G}
  app2: {number: 22, groups: [app_servers], memory: 1G, variables: {greeting: "hello {{ server.name }}"}}
"""
MEMBERS = """\
plugin: nectar.backend.members
environment: lab
domain: nectar.test
applications:
  orders:
    source: {directory: ../orders}
    processes:
      web: {type: web, command: "serve {port} {{ '{{x}}' }}"}
defaults: {application: orders}
deployments:
  production: {number: 101}
members:
  alice: {number: 1}
  ann-lee: {number: 2, servers: [app2]}
"""


@pytest.fixture(autouse=True, scope="session")
def plugin_is_found() -> None:
    """By its folder: pytest has imported the collection already, so Ansible's own finder for collections is too late."""
    inventory_loader.add_directory(str(ROOT / "plugins/inventory"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path.parent)  # Ansible shows each message once a process: the path makes them differ
    for name in list(os.environ):
        if name.startswith(("ANSIBLE_INVENTORY", "ANSIBLE_CACHE")):
            monkeypatch.delenv(name)
    yield World(tmp_path)


class World:
    """A folder of registry files, and the inventory that they fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = InventoryData()

    def plugin(self) -> Any:
        plugin = inventory_loader.get("members")
        plugin.inventory, plugin.loader, plugin._vars = self.inventory, DataLoader(), {}
        return plugin

    def add(self, name: str, text: str, cache: bool = True) -> InventoryData:
        """Write a source and read it, as Ansible does one after the other."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.inventory.current_source = str(path)
        plugin = self.plugin()
        plugin.populate(str(path), cache)
        if plugin.get_option("cache"):
            plugin.update_cache_if_changed()
        self.inventory.reconcile_inventory()
        return self.inventory

    def both(self, more: str = "") -> InventoryData:
        self.add("ha/servers.yml", SERVERS)
        return self.add("members.yml", MEMBERS + more)

    def hosts(self, group: str) -> list[str]:
        return [host.name for host in self.inventory.groups[group].get_hosts()]


# What Ansible sees


def test_servers_become_hosts_in_groups_by_role(world: World) -> None:
    world.both()
    assert world.hosts("app_servers") == ["app1", "app2"]
    assert world.hosts("loadbalancers") == ["lb1"]
    assert world.hosts("database_servers") == []
    assert world.hosts("all") == ["lb1", "app1", "app2"]


def test_a_host_carries_little(world: World) -> None:
    variables = world.both().hosts["app1"].vars
    assert set(variables) - {"inventory_file", "inventory_dir"} == {"server", "ansible_host", "ansible_ssh_common_args"}
    assert variables["ansible_host"] == "10.89.77.21"
    assert variables["server"] == {
        "name": "app1",
        "number": 21,
        "bind": ["10.89.77.21", "fd6e:6563:77::15"],
        "connect": ["10.89.77.21", "fd6e:6563:77::15"],
        "advertise": "10.89.77.21",
        "addresses": ["10.89.77.21", "fd6e:6563:77::15"],
        "host_keys": [],
        "memory": 1024,
    }


def test_the_environment_is_on_all(world: World) -> None:
    variables = world.both().groups["all"].vars
    assert set(variables) == {
        "applications",
        "budget",
        "budget_settings",
        "deployments",
        "domain",
        "environment_name",
        "members",
        "primary_name",
        "retired",
        "virtual_addresses",
    }
    assert variables["deployments"]["production"]["hosts"] == ["app1", "app2"]
    assert variables["applications"]["orders"]["source"]["directory"] == str(world.folder.parent / "orders")


def test_one_file_may_hold_everything(world: World) -> None:
    world.add("members.yml", MEMBERS + SERVERS.split("\n", 1)[1])
    assert world.inventory.groups["all"].vars["deployments"]["ann-lee"]["hosts"] == ["app2"]


def test_only_variables_of_servers_are_templates(world: World) -> None:
    inventory = world.both()
    command = inventory.groups["all"].vars["applications"]["orders"]["processes"]["web"]["command"]
    assert command == "serve {port} {{ '{{x}}' }}"
    assert not is_trusted_as_template(command)
    assert is_trusted_as_template(inventory.hosts["app2"].vars["greeting"])
    assert is_trusted_as_template(inventory.hosts["app2"].vars["ansible_host"]), "ansible-inventory shows it plainly"


@pytest.mark.parametrize(
    ("more", "group", "hosts"),
    [
        pytest.param("member_groups: true", "member_alice", ["app1", "app2"], id="by member"),
        pytest.param("member_groups: true", "member_ann_lee", ["app2"], id="by member with a hyphen"),
        pytest.param("deployment_groups: true", "deployment_production", ["app1", "app2"], id="by deployment"),
        pytest.param("keyed_groups: [{key: server_members, prefix: of}]", "of_alice", ["app1", "app2"], id="keyed"),
        pytest.param("keyed_groups: [{key: server.name, prefix: at}]", "at_app1", ["app1"], id="keyed by a variable"),
        pytest.param("groups: {busy: server_deployments | length > 2}", "busy", ["app2"], id="condition"),
        pytest.param("groups: {known: environment_name == 'lab'}", "known", ["lb1", "app1", "app2"], id="on all"),
    ],
)
def test_groups_on_request(more: str, group: str, hosts: list[str], world: World) -> None:
    world.both(more)
    assert world.hosts(group) == hosts


def test_variables_on_request(world: World) -> None:
    inventory = world.both("compose: {first: server.addresses | first, domains: domain ~ '!'}")
    assert inventory.hosts["app1"].vars["first"] == "10.89.77.21"
    assert inventory.hosts["app1"].vars["domains"] == "nectar.test!"


def test_strict_expressions_are_refused(world: World) -> None:
    with pytest.raises(AnsibleError, match="Could not set x for host"):
        world.both("strict: true\ncompose: {x: nothing_like_this}")
    world.inventory = InventoryData()
    assert "x" not in world.both("compose: {x: nothing_like_this}").hosts["app1"].vars


def test_key_files_follow_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NECTAR_LAB", "other")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL7DG5Qgm8waCkbVG5AM51LSxVwRPvIqyqz00yvJU+vQ"
    (world.folder / "other").mkdir()
    (world.folder / "other/host_keys.yml").write_text(f"app1: [{key} root@app1]\n")
    (world.folder / "other/member_keys.yml").write_text(f"alice: [{key}]\n")
    world.add("servers.yml", SERVERS + "host_keys_file: ${NECTAR_LAB:-lab}/host_keys.yml\n")
    world.add("members.yml", MEMBERS + "member_keys_file: ${NECTAR_LAB:-lab}/member_keys.yml\n")
    assert world.inventory.hosts["app1"].vars["server"]["host_keys"] == [key]
    assert world.inventory.hosts["app2"].vars["server"]["host_keys"] == []
    assert world.inventory.groups["all"].vars["members"]["alice"]["keys"] == [key]


def test_absent_key_files_hold_none(world: World) -> None:
    inventory = world.add("servers.yml", SERVERS + "host_keys_file: ~/nowhere/host_keys.yml\n")
    assert inventory.hosts["app1"].vars["server"]["host_keys"] == []


@pytest.mark.parametrize("content", ["app1: no list\n", "- x\n", "app1: [\n", "app1: [x y]\n", "a: []\na: []\n"])
def test_broken_key_files_are_refused(content: str, world: World) -> None:
    (world.folder / "keys.yml").write_text(content)
    with pytest.raises(AnsibleParserError):
        world.add("servers.yml", SERVERS + "host_keys_file: keys.yml\n")


def test_networks_follow_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NET", "192.0.2.0/24")
    world.add("servers.yml", SERVERS.replace("10.89.77.0/24", "${NET:-10.89.77.0/24}"))
    assert world.inventory.hosts["app1"].vars["ansible_host"] == "192.0.2.21"


# The cache


def cached(world: World, text: str, cache: bool = True) -> list[str]:
    world.inventory = InventoryData()
    options = f"cache: true\ncache_plugin: jsonfile\ncache_connection: {world.folder}/cached\n"
    world.add("members.yml", text + SERVERS.split("\n", 1)[1] + options, cache)
    return list(world.inventory.groups["all"].vars["members"])


def test_the_cache_gives_the_same_inventory(world: World) -> None:
    first = cached(world, MEMBERS)
    before = world.inventory.groups["all"].vars
    assert len(list((world.folder / "cached").iterdir())) == 1
    assert cached(world, MEMBERS) == first
    assert world.inventory.groups["all"].vars == before


def test_the_cache_is_used(world: World) -> None:
    cached(world, MEMBERS)
    (file,) = (world.folder / "cached").iterdir()
    file.write_text(file.read_text().replace("alice", "erin"))
    assert cached(world, MEMBERS) == ["erin", "ann-lee"]
    assert cached(world, MEMBERS, cache=False) == ["alice", "ann-lee"]


def test_a_changed_file_is_never_taken_from_the_cache(world: World) -> None:
    cached(world, MEMBERS)
    assert cached(world, MEMBERS.replace("alice", "bob")) == ["bob", "ann-lee"]


# Which files are this plugin's


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param("x.yml", b"plugin: nectar.backend.members\n", True, id="named"),
        pytest.param("x.yaml", b"---\n# why\nplugin: 'nectar.backend.members'\n", True, id="named below, in quotes"),
        pytest.param("x.yml", b"plugin: ansible.builtin.constructed\n", False, id="another plugin's"),
        pytest.param("x.yml", b"all: {hosts: {a: }}\n", False, id="a plain inventory"),
        pytest.param("x.ini", b"plugin: nectar.backend.members\n", False, id="another ending"),
        pytest.param("members.yml", b"", True, id="empty"),
        pytest.param("members.yml", b"\x00\x01", True, id="junk"),
        pytest.param("servers.yml", b"members: {}\n", True, id="the plugin's line forgotten"),
        pytest.param("servers.yml", b"all: {hosts: {a: }}\n", False, id="a plain inventory called servers"),
        pytest.param("members.yml", b"plugin: other.thing.members\n", False, id="another plugin's members"),
    ],
)
def test_files_that_it_claims(name: str, content: bytes, expected: bool, world: World) -> None:
    path = world.folder / name
    path.write_bytes(content)
    assert world.plugin().verify_file(str(path)) is expected


# How it ends


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", "members.yml:1: is empty", id="empty"),
        pytest.param(b"\x7fELF\x00", "members.yml:1: holds the control character", id="junk"),
        pytest.param(b"a: 1\n", "members.yml:1: is no registry", id="no plugin"),
        pytest.param(b"- a\n", "members.yml:1: is no registry", id="a list"),
        pytest.param(
            MEMBERS.encode(), "members.yml:12: 2 of members and 1 of deployments have no server", id="no servers"
        ),
        pytest.param(
            b"plugin: nectar.backend.members\nmembers:\n\tx:\n", "members.yml:3: is indented with a tab", id="tab"
        ),
        pytest.param(
            b"plugin: nectar.backend.members\nstrict: maybe\n",
            'members.yml:2: strict is "maybe"',
            id="an option of a wrong type",
        ),
        pytest.param(
            b"plugin: nectar.backend.members\ncache: maybe\n",
            'members.yml:2: cache is "maybe"',
            id="a cache option of a wrong type",
        ),
        pytest.param(b"x" * (SIZE_LIMIT + 1), "members.yml:1: has 8,388,609 bytes", id="too large"),
    ],
)
def test_a_broken_registry_ends_the_command(
    content: bytes, expected: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.folder / "members.yml").write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        world.plugin().parse(world.inventory, DataLoader(), str(world.folder / "members.yml"))
    assert caught.value.code == 4
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert world.inventory.hosts == {}


def test_yaml_and_registry_mistakes_are_shown_together(world: World) -> None:
    with pytest.raises(AnsibleParserError) as caught:
        world.add("members.yml", MEMBERS + "  alice: {number: 0}\nstrict: maybe\n")
    assert "members.alice is there twice" in str(caught.value)
    assert "number is 0" in str(caught.value)
    assert 'strict is "maybe"' in str(caught.value)
    assert "5 problems" in str(caught.value)


def test_a_refused_source_adds_nothing(world: World) -> None:
    with pytest.raises(AnsibleParserError):
        world.add("members.yml", SERVERS + "colour: red\n")
    assert (world.inventory.hosts, set(world.inventory.groups)) == ({}, {"all", "ungrouped"})


def test_a_flood_is_cut_short(world: World) -> None:
    many = "".join(f"  m{number}: {{}}\n" for number in range(500))
    with pytest.raises(AnsibleParserError) as caught:
        world.add("members.yml", MEMBERS + many + SERVERS.split("\n", 1)[1])
    assert "The registry can't be used: 500 problems." in str(caught.value)
    assert str(caught.value).endswith("- and 400 more")


# The project's own inventories


@pytest.mark.parametrize(
    ("sources", "hosts", "virtual"),
    [
        pytest.param(["lab/ha/servers.yml", "lab/members.yml"], 8, 2, id="ha"),
        pytest.param(["lab/single/servers.yml", "lab/members.yml"], 1, 0, id="single"),
    ],
)
def test_the_lab(sources: list[str], hosts: int, virtual: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(world.folder))
    for source in sources:
        world.plugin().populate(str(ROOT / "inventories" / source))
    variables = world.inventory.groups["all"].vars
    assert (len(world.inventory.hosts), len(variables["virtual_addresses"])) == (hosts, virtual)
    assert len(variables["deployments"]) == 10
    assert {name: entry["number"] for name, entry in variables["deployments"].items() if entry["kind"] == "team"} == {
        "production": 101,
        "staging": 102,
        "records": 103,
    }


def test_the_example_for_real_servers(world: World) -> None:
    world.plugin().populate(str(ROOT / "inventories/static/members.yml"))
    assert all(len(host.vars["server"]["host_keys"]) == 1 for host in world.inventory.hosts.values())
    assert world.inventory.groups["all"].vars["retired"]["carol"]["number"] == 3
