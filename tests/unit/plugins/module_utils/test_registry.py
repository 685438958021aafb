"""The registry's rules: what a short entry becomes, and everything that is refused."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.registry import (
    Known,
    Registry,
    RegistryError,
    Surroundings,
    read_registry,
)


def public_key(seed: int) -> str:
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([seed]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


KEYS = {name: public_key(seed) for seed, name in enumerate(["alice", "bob", "app1"])}

REGISTRY: dict[str, Any] = {
    "plugin": "nectar.backend.members",
    "environment": "lab",
    "domain": "nectar.test",
    "network_ipv4": "10.89.77.0/24",
    "network_ipv6": "fd6e:6563:77::/64",
    "virtual_addresses": [10],
    "servers": {
        "lb1": {"number": 11, "groups": ["loadbalancers"]},
        "app1": {"number": 21, "groups": ["app_servers"], "memory": "1G"},
        "app2": {"number": 22, "groups": ["app_servers"], "memory": "1G"},
    },
    "applications": {
        "orders": {
            "source": {"directory": "orders"},
            "processes": {"web": {"type": "web", "command": "serve {address}:{port}"}},
            "environment": {"TOKEN": "{secret_token}", "WORKERS": 2},
            "secrets": ["token"],
        },
    },
    "defaults": {"application": "orders"},
    "deployments": {"production": {"number": 101}},
    "members": {"alice": {"number": 1}, "ann-lee": {"number": 2, "admin": False, "servers": ["app2"]}},
    "retired": {"carol": {"number": 3}, "dave": 4},
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The registry with values at dotted paths; a value of DROP takes the key out."""
    data = copy.deepcopy(REGISTRY)
    for path, value in changes.items():
        target = data
        *parents, last = path.split(".")
        for key in parents:
            target = target[key]
        if value is DROP:
            del target[last]
        else:
            target[last] = value
    return data


DROP = object()
APPLICATION = "applications.orders"


def read(changes: dict[str, Any] | None = None, around: Surroundings | None = None) -> Registry:
    return read_registry(changed(changes or {}), around or Surroundings(options=("plugin", "strict")))


def problems(changes: dict[str, Any], around: Surroundings | None = None) -> list[str]:
    with pytest.raises(RegistryError) as caught:
        read(changes, around)
    return [str(problem) for problem in caught.value.problems]


# What is derived


def test_a_short_entry_becomes_a_deployment() -> None:
    deployment = read().variables["deployments"]["ann-lee"]
    assert deployment.pop("share")["workers"] == 1
    assert deployment == {
        "name": "ann-lee",
        "number": 2,
        "kind": "member",
        "member": "ann-lee",
        "application": "orders",
        "hosts": ["app2"],
        "server_name": "ann-lee.nectar.test",
        "url": "https://ann-lee.nectar.test/",
        "user": "nb-ann-lee",
        "uid": 30002,
        "database": "ann_lee",
        "database_role": "ann_lee",
        "ports": {"blue": 10004, "green": 10005},
        "environment": {},
    }


def test_team_deployments_come_first_and_belong_to_nobody() -> None:
    deployments = read().variables["deployments"]
    assert list(deployments) == ["production", "alice", "ann-lee"]
    assert (deployments["production"]["kind"], deployments["production"]["member"]) == ("team", None)
    assert deployments["production"]["hosts"] == ["app1", "app2"]


def test_a_member_has_an_account() -> None:
    around = Surroundings(member_keys={"alice": [f"{KEYS['alice']} alice@laptop"]}, options=("plugin",))
    registry = read({"members.alice.keys": [f"{KEYS['bob']} old"]}, around)
    assert registry.variables["members"]["alice"] == {
        "name": "alice",
        "number": 1,
        "full_name": "alice",
        "admin": True,
        "keys": [KEYS["bob"], KEYS["alice"]],
        "user": "alice",
        "uid": 41001,
        "deployment": "alice",
    }


def test_the_environment_has_names_and_tombstones() -> None:
    variables = read().variables
    assert variables["environment_name"] == "lab"
    assert variables["primary_name"] == "primary.lab.nectar.test"
    assert variables["virtual_addresses"] == ["10.89.77.10", "fd6e:6563:77::a"]
    assert {name: entry["number"] for name, entry in variables["retired"].items()} == {"carol": 3, "dave": 4}


def test_a_tombstone_tells_what_was_theirs() -> None:
    left = read({"retired.dave": {"number": 4, "login": "dave-b", "database": "shop"}}).variables["retired"]["dave"]
    lived = read({"retired.dave": DROP, "members.dave": {"number": 4, "login": "dave-b", "database": "shop"}}).variables
    member, deployment = lived["members"]["dave"], lived["deployments"]["dave"]
    assert (left["login"], left["login_uid"]) == (member["user"], member["uid"])
    assert {name: deployment[name] for name in left.keys() & deployment.keys()} == {
        name: left[name] for name in left.keys() & deployment.keys()
    }


def test_a_login_changes_alone() -> None:
    before, after = read(), read({"members.alice.login": "alice-b"})
    assert after.variables["deployments"] == before.variables["deployments"]
    assert after.variables["members"]["alice"] == {**before.variables["members"]["alice"], "user": "alice-b"}


SERVER = {"number": 21, "groups": ["app_servers"], "memory": "1G"}
BOTH = ["10.89.77.21", "fd6e:6563:77::15"]


@pytest.mark.parametrize(
    ("entry", "bind", "connect", "advertise"),
    [
        pytest.param({}, BOTH, BOTH, BOTH[0], id="number in both networks"),
        pytest.param({"bind": "10.1.0.1"}, ["10.1.0.1"], ["10.1.0.1"], "10.1.0.1", id="bind alone"),
        pytest.param({"advertise": "10.1.0.1"}, ["10.1.0.1"], ["10.1.0.1"], "10.1.0.1", id="advertise alone"),
        pytest.param({"connect": ["10.1.0.1"]}, ["10.1.0.1"], ["10.1.0.1"], "10.1.0.1", id="connect alone"),
        pytest.param({"connect": "a.example.org"}, BOTH, ["a.example.org"], BOTH[0], id="a name to connect to"),
        pytest.param(
            {"bind": ["10.1.0.1"], "connect": ["192.0.2.1", "2001:DB8:0::1"], "advertise": "10.1.0.9"},
            ["10.1.0.1"],
            ["192.0.2.1", "2001:db8::1"],
            "10.1.0.9",
            id="all three differ",
        ),
    ],
)
def test_addresses(entry: dict[str, Any], bind: list[str], connect: list[str], advertise: str) -> None:
    server = read({"servers.app1": {**SERVER, **entry}}).servers[1].variables
    assert (server["bind"], server["connect"], server["advertise"]) == (bind, connect, advertise)
    assert set(server["addresses"]) == {*bind, *connect, advertise}


@pytest.mark.parametrize(("memory", "expected"), [("768M", 768), ("2G", 2048)])
def test_memory_is_in_mebibytes(memory: str, expected: int) -> None:
    assert read({"servers.app1.memory": memory}).servers[1].variables["memory"] == expected


@pytest.mark.parametrize(
    ("changes", "host_keys", "expected"),
    [
        pytest.param({}, {}, [], id="none known"),
        pytest.param({}, {"app1": [KEYS["app1"] + " root@app1"]}, [KEYS["app1"]], id="from the file"),
        pytest.param({"servers.app1.host_keys": [KEYS["bob"]]}, {"app1": [KEYS["app1"]]}, [KEYS["bob"]], id="entry"),
    ],
)
def test_host_keys(changes: dict[str, Any], host_keys: dict[str, Any], expected: list[str]) -> None:
    registry = read(changes, Surroundings(host_keys=host_keys, options=("plugin",)))
    assert registry.servers[1].variables["host_keys"] == expected


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"members.zoe": {"number": 9}}, id="someone comes"),
        pytest.param({"members.ann-lee": DROP, "retired.ann-lee": {"number": 2}}, id="someone leaves"),
    ],
)
def test_nobody_is_renumbered(change: dict[str, Any]) -> None:
    before, after = read().variables["deployments"], read(change).variables["deployments"]
    for name in before.keys() & after.keys():
        assert before[name] | {"share": {}} == after[name] | {"share": {}}


def test_environments_are_merged() -> None:
    changes = {
        "defaults.environment": {"A": "1", "B": 2},
        "members.alice.environment": {"B": "3", "C": "{secret_token}"},
    }
    deployments = read(changes).variables["deployments"]
    assert deployments["alice"]["environment"] == {"A": "1", "B": "3", "C": "{secret_token}"}
    assert deployments["production"]["environment"] == {"A": "1", "B": "2"}


def test_policies_are_merged() -> None:
    window = {"deny": [{"cron": "0 9 * * *", "duration": "8h"}]}
    deployments = read(
        {
            "defaults.rollout": {"gates": {"window": window, "capacity": {}}, "shadow": ["compare"]},
            f"{APPLICATION}.rollout": {"steps": [{"hosts": "100%", "share": 100, "bake": 5}]},
            "members.alice.rollout": {"gates": {"window": False}, "shadow": []},
        }
    ).variables["deployments"]
    steps = [{"hosts": "100%", "share": 100, "bake": 5}]
    assert deployments["production"]["rollout"] == {
        "gates": {"window": window, "capacity": {}},
        "shadow": ["compare"],
        "steps": steps,
    }
    assert deployments["alice"]["rollout"] == {"gates": {"window": False, "capacity": {}}, "shadow": [], "steps": steps}


def test_a_policy_of_one_deployment_is_its_own() -> None:
    deployments = read({"members.alice.rollout": {"gates": {"capacity": {}}}}).variables["deployments"]
    assert deployments["alice"]["rollout"] == {"gates": {"capacity": {}}}
    assert "rollout" not in deployments["production"]


def test_indexes_are_a_deployments_own() -> None:
    indexes = [{"table": "orders", "columns": ["customer_id", "placed_at DESC"], "where": "paid_at IS NULL"}]
    deployments = read({"members.alice.indexes": indexes}).variables["deployments"]
    assert deployments["alice"]["indexes"] == indexes
    assert "indexes" not in deployments["production"]


def test_a_wrong_index_is_told_at_its_place() -> None:
    indexes = [{"table": "orders", "columns": ["id"]}, {"table": "orders", "columns": ["md5(id)"]}]
    with pytest.raises(RegistryError) as caught:
        read({"members.alice.indexes": indexes})
    assert [problem.keys for problem in caught.value.problems] == [("members", "alice", "indexes", 1, "columns")]
    assert str(caught.value).startswith('member alice, indexes[1]: columns is ["md5(id)"]; expected 1 to 8 columns')


def test_overrides_replace_what_is_derived() -> None:
    entry = {
        "number": 1,
        "server_name": "shop.example.org",
        "database": "shop",
        "ports": {"blue": 20000, "green": 20001},
    }
    deployment = read({"members.alice": entry}).variables["deployments"]["alice"]
    assert deployment["url"] == "https://shop.example.org/"
    assert (deployment["database"], deployment["database_role"]) == ("shop", "shop")
    assert deployment["ports"] == {"blue": 20000, "green": 20001}


def test_ports_stay_below_the_ephemeral_range() -> None:
    deployment = read({"members.alice.number": 10_999}).variables["deployments"]["alice"]
    assert max(deployment["ports"].values()) < 32_768
    assert deployment["uid"] < 41_000 < read({"members.alice.number": 1}).variables["members"]["alice"]["uid"]


def test_paths_are_made_absolute() -> None:
    around = Surroundings(absolute=lambda path: f"/registry/{path}", options=("plugin",))
    application = read({f"{APPLICATION}.lock": "lock.txt"}, around).variables["applications"]["orders"]
    assert (application["source"], application["lock"]) == ({"directory": "/registry/orders"}, "/registry/lock.txt")


# Sections over several sources

EARLIER = Known(
    groups={"app_servers": ["app1"]},
    servers={"app1": {"number": 21, "addresses": ["10.89.77.21"], "memory": 1024}},
    hosts=["app1"],
    virtual_addresses=["10.89.77.10"],
)
COMMON = read_registry(REGISTRY, Surroundings(options=("plugin",))).variables
LATER = Surroundings(
    known=Known(groups={"app_servers": ["app1"]}, servers=EARLIER.servers, hosts=["app1"], common=COMMON),
    options=("plugin",),
)
ARGUS = {"source": {"directory": "argus"}, "processes": {"web": {"type": "web", "command": "serve {port}"}}}
ADDED: dict[str, Any] = {"plugin": "nectar.backend.members", "applications": {"argus": ARGUS}}
ONLY_MEMBERS: dict[str, Any] = {"servers": DROP, "virtual_addresses": DROP, "members.ann-lee.servers": ["app1"]}


def test_a_further_source_takes_the_policy_of_an_application() -> None:
    first = read({f"{APPLICATION}.rollout": {"shadow": True}})
    known = Known(groups={"app_servers": ["app1"]}, servers=EARLIER.servers, hosts=["app1"], common=first.variables)
    more = {"deployments": {"shop": {"number": 102, "application": "orders"}}}
    added = read_registry(more, Surroundings(known=known)).variables["deployments"]
    assert added["shop"]["rollout"] == {"shadow": True}


def test_members_find_the_servers_of_an_earlier_source() -> None:
    registry = read(ONLY_MEMBERS, Surroundings(known=EARLIER, options=("plugin",)))
    assert registry.servers == []
    assert registry.variables["deployments"]["production"]["hosts"] == ["app1"]
    assert "virtual_addresses" not in registry.variables


def test_servers_alone_need_no_environment() -> None:
    data = {name: REGISTRY[name] for name in ("plugin", "servers", "network_ipv4")}
    registry = read_registry(data, Surroundings(options=("plugin",)))
    assert [server.name for server in registry.servers] == ["lb1", "app1", "app2"]
    assert registry.variables == {"virtual_addresses": []}


def test_a_further_source_adds_applications_and_deployments() -> None:
    added = read_registry({**ADDED, "deployments": {"alerts": {"number": 104, "application": "argus"}}}, LATER)
    assert added.variables.keys() >= {"applications", "deployments"}
    assert added.variables["deployments"].keys() == {"production", "alice", "ann-lee", "alerts"}
    assert added.variables["applications"].keys() == {"orders", "argus"}
    alerts = added.variables["deployments"]["alerts"]
    assert (alerts["url"], alerts["hosts"], alerts["uid"]) == ("https://alerts.nectar.test/", ["app1"], 30104)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({"number": 101}, "number 101 belongs to deployment production of an earlier source", id="number"),
        pytest.param({"number": 3}, "number 3 belongs to retired carol", id="retired number"),
        pytest.param(
            {"database": "ann_lee"}, "database ann_lee belongs to member ann-lee of an earlier", id="database"
        ),
        pytest.param({"server_name": "alice.nectar.test"}, "alice.nectar.test belongs to member alice of", id="name"),
        pytest.param({"ports": {"blue": 10202, "green": 20001}}, "port 10202 of blue belongs to deployment", id="port"),
        pytest.param({"application": "argos"}, "Did you mean argus?", id="application"),
    ],
)
def test_a_further_source_gets_nothing_that_is_taken(more: dict[str, Any], expected: str) -> None:
    entry = {"number": 104, "application": "argus", **more}
    with pytest.raises(RegistryError) as caught:
        read_registry({**ADDED, "deployments": {"alerts": entry}}, LATER)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param(
            {"deployments": {"production": {"number": 104, "application": "argus"}}},
            "are the same name",
            id="deployment",
        ),
        pytest.param(
            {"deployments": {"dave": {"number": 104, "application": "argus"}}}, "are the same name", id="retired"
        ),
        pytest.param(
            {"applications": {"orders": ARGUS}}, "an earlier source has an application of this name", id="application"
        ),
        pytest.param({"members": {"erin": {"number": 5}}}, "only applications, defaults, deployments", id="members"),
    ],
)
def test_a_further_source_takes_no_name_and_holds_no_member(more: dict[str, Any], expected: str) -> None:
    with pytest.raises(RegistryError) as caught:
        read_registry({**ADDED, **more}, LATER)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "known", "expected"),
    [
        pytest.param(
            ONLY_MEMBERS, Known(), "2 of members and 1 of deployments have no server", id="members without servers"
        ),
        pytest.param(
            {"servers": DROP}, EARLIER, "address 10.89.77.10 belongs to virtual_addresses", id="same virtual address"
        ),
        pytest.param(
            {"servers": {"app1": {"number": 30, "groups": ["app_servers"]}}},
            EARLIER,
            "name app1 is taken",
            id="same host",
        ),
        pytest.param(
            {"servers": {"x": {"number": 21, "groups": ["app_servers"]}}},
            EARLIER,
            "21 belongs to server app1",
            id="same number",
        ),
        pytest.param(
            {"servers": {"x": {"number": 5, "bind": "10.89.77.21"}}},
            EARLIER,
            "address 10.89.77.21 belongs to server app1",
            id="same address",
        ),
        pytest.param({}, Known(common=COMMON), "servers come after the members", id="servers after members"),
        pytest.param({}, Known(common=COMMON), "an earlier source has members", id="members twice"),
    ],
)
def test_sources_that_do_not_fit_together(changes: dict[str, Any], known: Known, expected: str) -> None:
    found = problems(changes, Surroundings(known=known, options=("plugin",)))
    assert any(expected in problem for problem in found), found


# What is refused: where, what was found, and what to do

LONG = "a" * 30
TIMER = {"type": "timer", "command": "x", "schedule": "daily"}
REFUSED = [
    # the whole
    pytest.param({"enviroment": "x"}, 'unknown section "enviroment"', "Did you mean environment?", id="unknown section"),
    pytest.param({"colour": "x"}, 'unknown section "colour"', "Take it out.", id="unknown section like no other"),
    pytest.param({"environment": DROP}, "environment is missing", "Add environment.", id="no environment"),
    pytest.param({"environment": "La_b"}, 'environment is "La_b"', "inner hyphens", id="environment is no label"),
    pytest.param({"domain": DROP}, "domain is missing", "Add domain.", id="no domain"),
    pytest.param({"domain": "nectar..test"}, 'domain is "nectar..test"', "a DNS name", id="domain is no name"),
    pytest.param({"members": ["alice"]}, 'members is ["alice"]', "a mapping of names", id="members is a list"),
    pytest.param({"deployments": "x"}, 'deployments is "x"', "a mapping of names", id="deployments is text"),
    pytest.param({"servers": 3}, "servers is 3", "a mapping of names", id="servers is a number"),
    pytest.param({"retired": [3]}, "retired is [3]", "a mapping of names", id="retired is a list"),
    pytest.param({"applications": []}, "applications is []", "a mapping of names", id="applications is a list"),
    pytest.param({"defaults": "orders"}, 'defaults: is "orders"', "a mapping of fields", id="defaults is text"),
    # networks and virtual addresses
    pytest.param({"network_ipv4": "10.0.0.1/24"}, "has host bits set", "an IPv4 network", id="network with host bits"),
    pytest.param({"network_ipv4": 10}, "network_ipv4 is 10", "an IPv4 network", id="network is a number"),
    pytest.param({"network_ipv4": "fd00::/64"}, "network_ipv4 is", "Name it in network_ipv6.", id="other family"),
    pytest.param({"virtual_addresses": 10}, "virtual_addresses: is 10", "a list of addresses", id="no list"),
    pytest.param({"virtual_addresses": ["x"]}, 'holds "x"', "a number in the networks", id="no address"),
    pytest.param({"virtual_addresses": [300]}, "number 300 is outside 10.89.77.0/24", "widen", id="outside the network"),
    pytest.param({"virtual_addresses": [10, 10]}, "holds 10.89.77.10 twice", "Take one", id="virtual address twice"),
    pytest.param({"virtual_addresses": [21]}, "address 10.89.77.21 belongs to virtual_addresses", "Change one", id="a host's"),
    # servers
    pytest.param({"servers.App3": SERVER}, 'server App3: name "App3"', "Call it app3.", id="server name in capitals"),
    pytest.param({"servers.all": SERVER}, "name all is reserved", "Call it all1.", id="server name is reserved"),
    pytest.param({"servers.app_servers": SERVER}, 'name "app_servers"', "a DNS label", id="server name is a group"),
    pytest.param({"servers.app1.nmber": 1}, 'server app1: has the unknown field "nmber"', "Did you mean number?", id="typo"),
    pytest.param({"servers.app1": "x"}, 'server app1: is "x"', "a mapping of fields", id="server is text"),
    pytest.param({"servers.app1.number": DROP}, "number is missing", "Add number: 1, the next free one.", id="unnumbered server"),
    pytest.param({"servers.app1.number": 0}, "number is 0", "Use 1, the next free one.", id="server number too small"),
    pytest.param({"servers.app1.number": True}, "number is true", "a whole number", id="server number is a switch"),
    pytest.param({"servers.app1.number": 22}, "number 22 belongs to server app1", "Use 1, ", id="server number twice"),
    pytest.param({"servers.app1.number": 300}, "number 300 is outside", "widen the network", id="outside its network"),
    pytest.param({"servers.app1.groups": "app_servers"}, "groups is", "a list of texts", id="groups is text"),
    pytest.param({"servers.app1.groups": ["app_server"]}, 'groups holds "app_server"', "Did you mean app_servers?", id="group"),
    pytest.param({"extra_groups": ["a-b"]}, 'extra_groups has "a-b"', "Rename it.", id="extra group with a hyphen"),
    pytest.param({"extra_groups": "x"}, 'extra_groups is "x"', "a list of texts", id="extra groups are text"),
    pytest.param({"servers.app1.bind": ["0.0.0.0"]}, 'bind holds "0.0.0.0"', "other hosts can reach", id="wildcard"),
    pytest.param({"servers.app1.bind": ["a.test"]}, 'bind holds "a.test"', "an address", id="bind is a name"),
    pytest.param({"servers.app1.connect": ["300.1.1.1"]}, 'connect holds "300.1.1.1"', "or DNS name", id="no address"),
    pytest.param({"servers.app1.connect": ["127.0.0.1"]}, 'connect holds "127.0.0.1"', "other hosts", id="loopback"),
    pytest.param({"servers.app1.connect": []}, "connect is []", "a list of them", id="connect is empty"),
    pytest.param({"servers.app1.advertise": 7}, "advertise is 7", "text on one line", id="advertise is a number"),
    pytest.param({"servers.app1.bind": ["10.1.0.1", "10.1.0.1"]}, "holds 10.1.0.1 twice", "Take one", id="bind twice"),
    pytest.param({"servers.app1.bind": ["10.89.77.22"]}, "10.89.77.22 belongs to server app1", "Change one", id="address twice"),
    pytest.param({"servers.app1.connect": "FD6E:6563:77::0:16"}, "fd6e:6563:77::16 belongs to", "Change", id="other spelling"),
    pytest.param({"network_ipv4": DROP, "network_ipv6": DROP}, "server app1: has no address", "network_ipv4", id="nowhere"),
    pytest.param({"servers.app1.memory": 448}, "memory is 448", "Write it as 448M or 2G.", id="memory without unit"),
    pytest.param({"servers.app1.host_keys": ["x y"]}, 'key "x y"', "Paste the whole line", id="host key"),
    pytest.param({"servers.app1.host_keys": ["ssh-rsa " + KEYS["bob"].split()[1]]}, "key ", "a public key", id="key of another type"),
    pytest.param({"servers.app1.variables": {"a-b": 1}}, 'variables has "a-b"', "Rename it.", id="variable name"),
    pytest.param({"servers.app1.variables": {"ansible_host": "x"}}, "variables sets ansible_host", "Use bind", id="derived"),
    pytest.param({"servers.app1.variables": {"groups": "x"}}, "variables sets groups", "Rename it.", id="Ansible's own"),
    # names
    pytest.param({"members.ann_lee": {"number": 9}}, "the same name once written", "Rename one", id="normalised collision"),
    pytest.param({"members.Alice": {"number": 9}}, "member Alice and member alice are the same", "Rename", id="capitals"),
    pytest.param({"members.production": {"number": 9}}, "and deployment production are the same", "Rename", id="a team's"),
    pytest.param({"members.app1": {"number": 9}}, "and server app1 are the same", "Rename", id="a server's"),
    pytest.param({"members.carol": {"number": 9}}, "and retired carol are the same", "tombstone's line back", id="a leaver's"),
    pytest.param({"members.a b": {"number": 9}}, "a systemd unit", "Call it a-b.", id="name with a space"),
    pytest.param({"members.-a": {"number": 9}}, "a DNS label", "Call it a.", id="name with an outer hyphen"),
    pytest.param({f"members.{LONG}": {"number": 9}}, "a unix user (nb-<name> at most 32", f"Call it {LONG[:29]}.", id="long"),
    pytest.param({f"members.{'a' * 64}": {"number": 9}}, "a PostgreSQL identifier", "a DNS label", id="very long"),
    pytest.param({"members.9a": {"number": 9}}, "a PostgreSQL identifier (from a letter", "Call it", id="leading digit"),
    pytest.param({"members.pg-a": {"number": 9}}, "a PostgreSQL identifier", "Call it", id="PostgreSQL's prefix"),
    pytest.param({"members.xn--a": {"number": 9}}, "a DNS label", "Call it", id="punycode"),
    pytest.param({"members.a-blue": {"number": 9}}, "without a slot's ending", "Call it", id="a slot's ending"),
    *(
        pytest.param({f"members.{name}": {"number": 9}}, f"name {name} is reserved", "Call it", id=f"reserved {name}")
        for name in ("all", "localhost", "ungrouped", "nectar", "postgres", "template0", "root", "daemon", "www-data", "lab")
    ),
    pytest.param({"deployments.postgres": {"number": 9}}, "deployment postgres: name postgres is reserved", "Call", id="team"),
    # numbers
    pytest.param({"members.alice.number": DROP}, "member alice: number is missing", "Add number: 5, the next free one.", id="none"),
    pytest.param({"members.alice": None}, "member alice: number is missing", "Add number: 5, ", id="empty entry"),
    pytest.param({"members.alice.number": 2}, "number 2 belongs to member alice", "Use 5, the next free one.", id="twice"),
    pytest.param({"members.alice.number": 101}, "101 belongs to deployment production", "Use 102, ", id="a team's number"),
    pytest.param({"members.alice.number": 3}, "number 3 belongs to retired carol", "Use 5, ", id="a leaver's number"),
    pytest.param({"members.alice.number": 11_000}, "number is 11000", "from 1 to 10999", id="too large"),
    pytest.param({"members.alice.number": "1"}, 'number is "1"', "without quotes", id="quoted"),
    pytest.param({"members.alice.number": 1.5}, "number is 1.5", "a whole number", id="fraction"),
    pytest.param({"deployments.staging": {}}, "deployment staging: number is missing", "Add number: 102, ", id="team"),
    pytest.param({"retired.erin": {}}, "retired erin: number is missing", "Add number: 5, ", id="unnumbered tombstone"),
    pytest.param({"retired.erin": 3}, "number 3 belongs to retired carol", "Use 5, ", id="tombstones share a number"),
    pytest.param({"retired.erin": "3"}, 'retired erin: is "3"', "a mapping of fields", id="tombstone is text"),
    pytest.param({"members.alice.login": "A B"}, 'login "A B"', "Write a-b.", id="login with a space"),
    pytest.param({"members.alice.login": "root"}, "login root is reserved", "Write root-1.", id="the system's login"),
    pytest.param({"members.alice.login": "ann-lee"}, "login ann-lee belongs to member alice", "one of its own", id="login of two"),
    # fields of an entry
    pytest.param({"members.alice.admn": True}, 'unknown field "admn"', "Did you mean admin?", id="unknown field"),
    pytest.param({"members.alice": ["x"]}, 'member alice: is ["x"]', "a mapping of fields", id="entry is a list"),
    pytest.param({"members.alice.admin": "yes"}, 'admin is "yes"', "true or false", id="admin is text"),
    pytest.param({"members.alice.full_name": 3}, "full_name is 3", "Put it in quotes.", id="full name is a number"),
    pytest.param({"deployments.production.admin": True}, 'unknown field "admin"', "Take it out", id="only members are admins"),
    pytest.param({"members.alice.keys": "x"}, "keys is", "a list of texts", id="keys is text"),
    pytest.param({"members.alice.keys": ["x"]}, 'key "x"', "Paste the whole line", id="no key"),
    pytest.param(
        {"members.alice.keys": [KEYS["bob"]], "members.ann-lee.keys": [KEYS["bob"]]}, "is also member alice's", "Have each", id="key of two"
    ),
    pytest.param({"members.alice.servers": ["app3"]}, 'server "app3" is unknown', "Did you mean app", id="unknown server"),
    pytest.param({"members.alice.servers": ["lb1"]}, "server lb1 is not in app_servers", "Name another", id="wrong server"),
    pytest.param({"members.alice.servers": []}, "servers is empty", "Name one", id="no server"),
    pytest.param({"members.alice.servers": [1]}, "servers is [1]", "a list of texts", id="server is a number"),
    pytest.param({"defaults.servers": ["app3"]}, 'defaults: server "app3" is unknown', "Did you mean", id="default server"),
    pytest.param({"defaults.application": DROP}, "application is missing", "under defaults", id="no application"),
    pytest.param({"members.alice.application": "order"}, 'application "order" is unknown', "Did you mean orders?", id="application"),
    pytest.param({"defaults.application": "x"}, 'defaults: application "x" is unknown', "Add it to applications", id="default"),
    pytest.param({"members.alice.environment": {"a-b": "x"}}, 'environment has "a-b"', "Rename it.", id="environment name"),
    pytest.param({"members.alice.environment": {"A": True}}, "environment A is true", "Put it in quotes.", id="switch"),
    pytest.param({"members.alice.environment": {"A": "{secret_x}"}}, "uses {secret_x}", "one of name", id="unknown secret"),
    pytest.param({"members.alice.server_name": "A.test"}, 'server_name is "A.test"', "in lower case", id="server name"),
    pytest.param(
        {"members.alice.server_name": "ann-lee.nectar.test"}, "server_name ann-lee.nectar.test belongs to member alice", "Change", id="host name"
    ),
    pytest.param({"members.alice.server_name": "app1.nectar.test"}, "belongs to server app1", "Change one", id="a server's"),
    pytest.param({"members.alice.server_name": "primary.lab.nectar.test"}, "the primary database", "Change", id="the primary's"),
    pytest.param({"members.alice.database": "a-b"}, 'database is "a-b"', "PostgreSQL identifier", id="database name"),
    pytest.param({"members.alice.database": "a" * 64}, "database is", "at most 63 bytes", id="long database name"),
    pytest.param({"members.alice.database": "ann_lee"}, "database ann_lee belongs to member alice", "Change", id="database"),
    pytest.param({"members.alice.database": "postgres"}, "database postgres is reserved", "Rename", id="reserved database"),
    pytest.param({"members.alice.ports": 3}, "ports is 3", "a port for each slot", id="ports is a number"),
    pytest.param({"members.alice.ports": {"blue": 5432, "green": 20000}}, "port blue is 5432", "from 10000 to 32767", id="low"),
    pytest.param({"members.alice.ports": {"blue": 40000, "green": 20000}}, "port blue is 40000", "to 32767", id="ephemeral"),
    pytest.param({"members.alice.ports": {"blue": 20000, "green": 20000}}, "port 20000 of green", "its own", id="same port"),
    pytest.param({"members.alice.ports": {"blue": 10202, "green": 20000}}, "port 10202 of blue belongs to", "Leave", id="taken"),
    # applications
    pytest.param({"applications.A B": REGISTRY["applications"]["orders"]}, 'name "A B"', "Call it a-b.", id="application name"),
    pytest.param({f"{APPLICATION}.source": DROP}, "source is missing", "Add source.", id="no source"),
    pytest.param({f"{APPLICATION}.source": {}}, "names nothing to install", "one of directory", id="empty source"),
    pytest.param({f"{APPLICATION}.source.wheel": "x"}, "directory and wheel", "one of directory", id="two sources"),
    pytest.param({f"{APPLICATION}.source": {"package": "x"}}, "version is missing", "in quotes", id="no version"),
    pytest.param({f"{APPLICATION}.source.version": "1"}, "version is given", "Take it out.", id="version of a directory"),
    pytest.param({f"{APPLICATION}.source": {"package": "x", "version": 1.0}}, "version is 1.0", "in quotes", id="bare version"),
    pytest.param({f"{APPLICATION}.source": {"git": "https://h.test/a"}}, "revision is missing", "Write it as", id="no revision"),
    pytest.param({f"{APPLICATION}.source": {"git": "/a", "revision": "v1"}}, "git is /a", "one of https", id="no git URL"),
    pytest.param({f"{APPLICATION}.source.revision": "v1"}, "revision is given", "Take it out.", id="revision of a directory"),
    pytest.param({f"{APPLICATION}.source.gti": "x"}, 'unknown field "gti"', "Did you mean git?", id="unknown source"),
    pytest.param({f"{APPLICATION}.backward_compatible": "no"}, 'backward_compatible is "no"', "true or false", id="not a switch"),
    pytest.param({f"{APPLICATION}.migrate_lock_timeout": "5s"}, 'migrate_lock_timeout is "5s"', "without quotes", id="no seconds"),
    pytest.param({f"{APPLICATION}.processes": DROP}, "processes is missing", "Add processes.", id="no processes"),
    pytest.param({f"{APPLICATION}.processes": {}}, "processes is empty", "Add web", id="empty processes"),
    pytest.param({f"{APPLICATION}.processes.web.type": "wbe"}, 'process web: type is "wbe"', "web, worker", id="process type"),
    pytest.param({f"{APPLICATION}.processes.web.command": DROP}, "command is missing", "Add command.", id="no command"),
    pytest.param({f"{APPLICATION}.processes.web.command": "{prot}"}, "command uses {prot}", "Did you mean port?", id="placeholder"),
    pytest.param({f"{APPLICATION}.processes.web.command": "{port"}, "command is", "Double a brace", id="open brace"),
    pytest.param({f"{APPLICATION}.processes.web.command": "{port:d}"}, "uses {port:d}", "Did you mean port?", id="format"),
    pytest.param({f"{APPLICATION}.processes.web.schedule": "daily"}, "schedule is given for a web", "Write it", id="scheduled web"),
    pytest.param({f"{APPLICATION}.processes.t": {"type": "timer", "command": "x"}}, "schedule is missing", "OnCalendar", id="timer"),
    pytest.param({f"{APPLICATION}.processes.w2": {"type": "web", "command": "x"}}, "web and w2 are of type web", "worker", id="webs"),
    pytest.param({f"{APPLICATION}.processes.W": {"type": "worker", "command": "x"}}, 'name "W"', "Call it w.", id="process name"),
    pytest.param({f"{APPLICATION}.migrate": "x"}, "migrate is", "a list of texts", id="migrate is text"),
    pytest.param({f"{APPLICATION}.migrate": ["{databse_name}"]}, "migrate uses {databse_name}", "database_name?", id="migrate"),
    pytest.param({f"{APPLICATION}.health_path": "healthz"}, 'health_path is "healthz"', "starts with /", id="health path"),
    pytest.param({f"{APPLICATION}.ready_path": "/a?b"}, 'ready_path is "/a?b"', "without a query", id="ready path"),
    pytest.param({f"{APPLICATION}.secrets": ["A"]}, 'secrets is ["A"]', "names of a-z", id="secret name"),
    pytest.param({f"{APPLICATION}.secrets": ["previous"]}, 'secrets is ["previous"]', "none of them", id="a name of rotations"),
    pytest.param({f"{APPLICATION}.secrets": []}, "uses {secret_token}", "Add it to secrets.", id="undeclared secret"),
    pytest.param({f"{APPLICATION}.shared_paths": ["../x"]}, 'shared_paths is ["../x"]', "inside the shared", id="shared path"),
    pytest.param({f"{APPLICATION}.shared_paths": ["/x"]}, 'shared_paths is ["/x"]', "without /", id="absolute shared path"),
    # what the budget shares out
    pytest.param({"servers.app2.memory": DROP}, "server app2: memory is missing", "Add memory, such as 1900M", id="no memory"),
    pytest.param({"servers.app1.memory": "448M"}, "app1: memory is 448 MiB, and 552 are needed", "Raise the server's memory to 552M", id="too small"),
    pytest.param({"servers.app1.cores": 0}, "cores is 0", "Write what `nproc` shows", id="no cores"),
    pytest.param({"servers.app1.wal": 512}, "wal is 512", "Write it as 448M or 2G", id="wal without a unit"),
    pytest.param({"budget": {"sytem": "96M"}}, 'unknown field "sytem"', "Did you mean system?", id="reserve misspelt"),
    pytest.param({"budget": {"request_timeout": 5}}, "request_timeout is 5", "as 30", id="requests too short"),
    pytest.param({f"{APPLICATION}.processes.web.memory": 64}, "memory is 64", "Write it as 448M", id="memory of a process without a unit"),
    pytest.param({f"{APPLICATION}.processes.web.workers": 0}, "workers is 0", "or leave it to the budget", id="no workers"),
    pytest.param({f"{APPLICATION}.processes.web.thread": 4}, 'unknown field "thread"', "Did you mean threads?", id="threads misspelt"),
    pytest.param({f"{APPLICATION}.processes.tidy": TIMER | {"threads": 2}}, "threads is given for a timer", "Take it out.", id="threads of a timer"),
    pytest.param({f"{APPLICATION}.environment.WEB_CONCURRENCY": 2}, "which the budget sets", "Write workers: 2 there instead", id="workers by an environment"),
    pytest.param({"members.alice.environment": {"WEB_CONCURRENCY": 2}}, "which the budget sets", "Write workers: 2 there", id="workers by a member"),
    pytest.param({"members.alice.workers": "2"}, 'workers is "2"', "Write it without quotes", id="workers as text"),
    pytest.param({"members.alice.rollout": 3}, "rollout is 3", "Write it as {gates:", id="no policy"),
    pytest.param(
        {"members.alice.rollout": {"stepps": []}},
        'member alice: rollout: has the unknown field "stepps"',
        "Did you mean steps?",
        id="policy's field",
    ),
    pytest.param(
        {f"{APPLICATION}.rollout": {"gates": {"widow": {}}}},
        'application orders: rollout.gates: has the unknown gate "widow"',
        "Did you mean window?",
        id="unknown gate",
    ),
    pytest.param(
        {"defaults.rollout": {"gates": {"http": {"latencyy": 1}}}},
        'defaults: rollout.gates.http: has the unknown field "latencyy"',
        "expected one of",
        id="gate's field",
    ),
    pytest.param(
        {"deployments.production.rollout": {"steps": [{"hosts": 1, "share": 5}]}},
        "deployment production: rollout.steps[0]: the last step",
        "Write it as {hosts: 100%, share: 100}.",
        id="steps that don't end",
    ),
    pytest.param({f"{APPLICATION}.environment": {"A": [1]}}, "environment A is [1]", "Put it in quotes.", id="list"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "found", "remedy"), REFUSED)
def test_refused(changes: dict[str, Any], found: str, remedy: str) -> None:
    reported = problems(changes)
    assert any(found in problem and remedy in problem for problem in reported), "\n".join(reported)


def test_all_problems_are_reported_at_once() -> None:
    reported = problems({"members.alice.number": DROP, "members.bob": {"numbr": 7}, "servers.app1.memory": 1})
    assert len(reported) == 4, "\n".join(reported)


def test_a_policy_says_all_at_once_and_where() -> None:
    window = {"allow": [{"cron": "0 2 * *", "duration": "2h"}], "zone": "Europe/Berlyn"}
    policy = {"steps": [{"hosts": 0, "share": 100}], "gates": {"window": window, "lease": False}}
    with pytest.raises(RegistryError) as caught:
        read({"members.alice.rollout": policy})
    assert [problem.keys[2:] for problem in caught.value.problems] == [
        ("rollout", "steps", 0),
        ("rollout", "gates", "window"),
        ("rollout", "gates", "window", "allow", 0),
        ("rollout", "gates"),
    ]
    said = [str(problem) for problem in caught.value.problems]
    assert said[1:] == [
        'member alice: rollout.gates.window: zone is "Europe/Berlyn"; '
        "expected a time zone's name such as Europe/Berlin. Did you mean Europe/Berlin?",
        'member alice: rollout.gates.window.allow[0]: cron is "0 2 * *": it has 4 fields, not 5; '
        'expected minute, hour, day of the month, month and day of the week. Write it as "0 2 * * 1-5".',
        "member alice: rollout.gates: lease is false; expected a gate that may be left out. "
        "Take it out: it always counts.",
    ]


def test_each_missing_number_is_offered_another() -> None:
    reported = problems({"members.erin": {}, "members.frank": {}})
    assert ["Add number: 5" in reported[0], "Add number: 6" in reported[1]] == [True, True]


def test_the_highest_number_leaves_a_free_one_below() -> None:
    assert (
        "Use 5,"
        in problems(
            {
                "members.ann-lee.number": 10_999,
                "members.alice.number": 10_999,
                "members.b": {"number": 1},
                "members.c": {"number": 2},
            }
        )[0]
    )


def test_a_flood_of_problems_is_quick() -> None:
    members = {
        f"m{number}": {"number": number, "servers": ["app9"]} for number in range(1, 3000) if number not in (3, 4, 101)
    }
    reported = problems({"members": members})
    assert len(reported) == len(members)
    assert "Did you mean" in reported[0]
    assert "Did you mean" not in reported[-1]


@pytest.mark.parametrize("data", [[], "text", 3])
def test_only_a_mapping_is_a_registry(data: object) -> None:
    with pytest.raises(RegistryError, match="a mapping of sections"):
        read_registry(data, Surroundings())


def test_nothing_is_no_registry() -> None:
    with pytest.raises(RegistryError, match="neither servers nor members"):
        read_registry({"plugin": "x"}, Surroundings(options=("plugin",)))


def test_problems_carry_file_and_line_in_the_file_s_order() -> None:
    with pytest.raises(RegistryError) as caught:
        read({"members.alice.number": 2, "servers.app1.memory": 1})
    lines: dict[tuple[Any, ...], int] = {("servers", "app1", "memory"): 4, ("members", "ann-lee", "number"): 9}
    located = str(caught.value.located("members.yml", lines.__getitem__)).splitlines()
    assert located[0].startswith("members.yml:4: server app1: memory is 1; expected whole megabytes")
    assert located[1].startswith("members.yml:9: member ann-lee: number 2 belongs to member alice")
