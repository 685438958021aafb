# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab needs, what stands in its way, and what is done for it, by what there is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.lab_definition import Lab, LabError, define_lab, derive_mac
from ansible_collections.nectar.backend.plugins.module_utils.lab_plan import Plan, plan_absent, plan_present
from ansible_collections.nectar.backend.plugins.module_utils.lab_world import (
    Container,
    Network,
    Route,
    StoredVolume,
    World,
    read_world,
)

STATE = "/home/alice/.local/state/nectar/lab"
SUBNETS = ("10.89.77.0/24", "fd6e:6563:77::/64")
WAL = f"{STATE}/volumes/db1-wal-trixie-512M.ext4"
APP1 = {"name": "app1", "addresses": ["10.89.77.21", "fd6e:6563:77::15"], "memory": 640, "groups": ["app_servers"]}
DB1 = {"name": "db1", "addresses": ["10.89.77.31", "fd6e:6563:77::1f"], "memory": 512}


def lab(**changes: Any) -> Lab:
    """Two hosts, one of them with a filesystem of its own."""
    wanted: dict[str, Any] = {
        "name": "lab",
        "state": STATE,
        "image": "localhost/nectar-lab:trixie-0",
        "subnets": SUBNETS,
        "servers": [APP1, DB1],
        "volumes": [{"name": "wal", "path": "/var/lib/postgresql-wal", "size": 512}],
        "volume_hosts": ["db1"],
        "release": "trixie",
    }
    return define_lab(**{**wanted, **changes})


def whole(wanted: Lab) -> World:
    """Everything is as the lab wants it."""
    return World(
        containers=tuple(
            Container(name=host.container, state="running", networks=(wanted.prefix,), labels=host.labels)
            for host in wanted.hosts
        ),
        networks=(
            Network("podman", "podman0", (ip_network("10.88.0.0/16"),), {}),
            Network(wanted.prefix, "podman1", wanted.subnets, wanted.labels),
        ),
        volumes=(StoredVolume("nectar-lab-db1-wal", WAL, wanted.labels),),
        images=frozenset({wanted.image}),
        routes=(Route(ip_network("10.89.77.0/24"), "podman1"), Route(ip_network("192.0.2.0/24"), "eth0")),
        filesystems=frozenset({WAL}),
    )


def host(world: World, name: str, **changes: Any) -> World:
    """Change one host."""
    return replace(world, containers=tuple(replace(c, **changes) if c.name == name else c for c in world.containers))


def names(plan: Plan) -> dict[str, Any]:
    """Say what the plan does, by name, leaving out what it doesn't."""
    return {
        key: value
        for key, value in {
            "image": plan.build_image,
            "remove": plan.remove,
            "filesystems": tuple(volume.device for volume in plan.make_filesystems),
            "volumes": tuple(volume.name for volume in plan.make_volumes),
            "network": plan.make_network,
            "hosts": tuple(made.name for made in plan.make_hosts),
            "mend": plan.mend,
            "strangers": plan.strangers,
        }.items()
        if value
    }


def test_a_host_has_all_that_podman_needs_to_know() -> None:
    db1 = lab().hosts[1]
    assert (db1.container, db1.ipv4, db1.ipv6, db1.mac) == (
        "nectar-lab-db1",
        "10.89.77.31",
        "fd6e:6563:77::1f",
        "02:00:0a:59:4d:1f",
    )
    assert db1.mounts[0] == "nectar-lab-db1-wal:/var/lib/postgresql-wal"
    assert f"{STATE}/hosts/db1:/var/lib/lab-seed/host:ro" in db1.mounts
    assert db1.labels["nectar.lab"] == "lab"


def test_hardware_addresses_are_local_and_differ_with_the_address() -> None:
    assert derive_mac(IPv4Address("10.89.77.21")) == "02:00:0a:59:4d:15"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param(
            {"subnets": ("10.89.77.5/24", SUBNETS[1])},
            "NECTAR_NETWORK_IPV4: '10.89.77.5/24' is no subnet",
            id="host bits",
        ),
        pytest.param({"subnets": (SUBNETS[1], SUBNETS[1])}, "is IPv6; expected IPv4", id="wrong family"),
        pytest.param(
            {"subnets": ("10.89.78.0/24", SUBNETS[1])},
            "app1: addresses: 0 of them lie in",
            id="address of another subnet",
        ),
        pytest.param(
            {"servers": [{**APP1, "addresses": ["10.89.77.21"]}]},
            "subnet fd6e:6563:77::/64, expected one",
            id="no IPv6",
        ),
        pytest.param(
            {"servers": [{**APP1, "addresses": ["10.89.77.x"]}]}, "app1: addresses: '10.89.77.x' is no", id="no address"
        ),
        pytest.param(
            {"servers": [{**APP1, "addresses": ["10.89.77.1", "fd6e:6563:77::15"]}]},
            "or its gateway's",
            id="the gateway",
        ),
        pytest.param(
            {"servers": [{**APP1, "memory": "640M"}]},
            "app1: memory is '640M'; expected whole MiB",
            id="memory with a unit",
        ),
        pytest.param({"servers": [{"memory": 640}]}, "lab_servers: {'memory': 640} has no name", id="no name"),
        pytest.param({"servers": [{**APP1, "memory": True}]}, "app1: memory is True", id="memory is a switch"),
        pytest.param(
            {"servers": [APP1, {**APP1, "name": "app2"}]},
            "app2: ipv4 10.89.77.21 is already app1's",
            id="address twice",
        ),
    ],
)
def test_impossible_labs_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(LabError) as refused:
        lab(**changes)
    assert problem in str(refused.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(LabError) as refused:
        lab(servers=[{**APP1, "memory": 1}, {**DB1, "addresses": []}])
    assert len(refused.value.problems) == 3


def test_a_whole_lab_needs_nothing() -> None:
    plan = plan_present(lab(), whole(lab()))
    assert names(plan) == {}
    assert not plan.changes


def test_an_empty_machine_needs_everything() -> None:
    plan = plan_present(lab(), World())
    assert plan.changes
    assert names(plan) == {
        "image": True,
        "filesystems": (WAL,),
        "volumes": ("nectar-lab-db1-wal",),
        "network": True,
        "hosts": ("app1", "db1"),
    }


REMOVE_DB1 = ("rm", "--force", "--time", "0", "nectar-lab-db1")
CONNECT = (
    "network",
    "connect",
    "--ip",
    "10.89.77.21",
    "--ip6",
    "fd6e:6563:77::15",
    "--mac-address",
    "02:00:0a:59:4d:15",
)


@pytest.mark.parametrize(
    ("world", "done"),
    [
        pytest.param(
            host(whole(lab()), "nectar-lab-app1", state="exited"),
            {"mend": (("restart", "--time", "5", "nectar-lab-app1"),)},
            id="a stopped host starts again with what it holds",
        ),
        pytest.param(
            host(whole(lab()), "nectar-lab-app1", state="paused"),
            {"mend": (("unpause", "nectar-lab-app1"),)},
            id="a paused host wakes",
        ),
        pytest.param(
            host(whole(lab()), "nectar-lab-app1", networks=()),
            {"mend": ((*CONNECT, "nectar-lab", "nectar-lab-app1"),)},
            id="a host that was cut off gets its own address back",
        ),
        pytest.param(
            host(whole(lab()), "nectar-lab-db1", state="created"),
            {"remove": (REMOVE_DB1,), "hosts": ("db1",)},
            id="a host that never ran is made anew",
        ),
        pytest.param(
            replace(whole(lab()), containers=whole(lab()).containers[:1]),
            {"hosts": ("db1",)},
            id="a missing host is made, its data kept",
        ),
        pytest.param(
            replace(whole(lab()), volumes=()),
            {"remove": (REMOVE_DB1,), "volumes": ("nectar-lab-db1-wal",), "hosts": ("db1",)},
            id="a missing volume comes back on its file",
        ),
        pytest.param(
            replace(whole(lab()), filesystems=frozenset()),
            {
                "remove": (REMOVE_DB1, ("volume", "rm", "nectar-lab-db1-wal")),
                "filesystems": (WAL,),
                "volumes": ("nectar-lab-db1-wal",),
                "hosts": ("db1",),
            },
            id="a lost or half-made file is made anew, and its volume and host with it",
        ),
        pytest.param(
            replace(whole(lab()), networks=(), routes=()),
            {"network": True, "mend": (("restart", "--time", "5", "nectar-lab-app1", "nectar-lab-db1"),)},
            id="a missing network is made, and its hosts join it",
        ),
        pytest.param(replace(whole(lab()), images=frozenset()), {"image": True}, id="a missing image is built"),
        pytest.param(
            whole(lab(servers=[APP1, DB1, {**APP1, "name": "old", "addresses": ["10.89.77.99", "fd6e:6563:77::99"]}])),
            {"strangers": ("nectar-lab-old",)},
            id="a host that left the inventory is named and left alone",
        ),
    ],
)
def test_what_is_missing_or_broken_is_mended(world: World, done: dict[str, Any]) -> None:
    assert names(plan_present(lab(), world)) == done


REBUILT = {"remove": (("rm", "--force", "--time", "0", "nectar-lab-app1", "nectar-lab-db1"),), "hosts": ("app1", "db1")}


@pytest.mark.parametrize(
    ("changes", "done"),
    [
        pytest.param(
            {"servers": [APP1, {**DB1, "memory": 768}]},
            {"remove": (REMOVE_DB1,), "hosts": ("db1",)},
            id="memory: the host, not its data",
        ),
        pytest.param(
            {"servers": [APP1, {**DB1, "addresses": ["10.89.77.32", "fd6e:6563:77::20"]}]},
            {"remove": (REMOVE_DB1,), "hosts": ("db1",)},
            id="address",
        ),
        pytest.param({"image": "localhost/nectar-lab:trixie-1"}, REBUILT | {"image": True}, id="image: data stay"),
        pytest.param({"settings": {"sysctls": {"net.ipv4.ip_nonlocal_bind": 1}}}, REBUILT, id="settings"),
        pytest.param(
            {"identities": {"db1": "ssh-ed25519 AAAA"}}, {"remove": (REMOVE_DB1,), "hosts": ("db1",)}, id="SSH key"
        ),
        pytest.param(
            {"release": "bookworm"},
            {
                "remove": (REMOVE_DB1, ("volume", "rm", "nectar-lab-db1-wal")),
                "filesystems": (f"{STATE}/volumes/db1-wal-bookworm-512M.ext4",),
                "volumes": ("nectar-lab-db1-wal",),
                "hosts": ("db1",),
            },
            id="release: data go too",
        ),
        pytest.param(
            {
                "subnets": ("10.89.79.0/24", "fd6e:6563:79::/64"),
                "servers": [{**APP1, "addresses": ["10.89.79.21", "fd6e:6563:79::15"]}],
                "volume_hosts": [],
            },
            {
                "remove": (
                    ("rm", "--force", "--time", "0", "nectar-lab-app1", "nectar-lab-db1"),
                    ("network", "rm", "nectar-lab"),
                ),
                "network": True,
                "hosts": ("app1",),
            },
            id="subnet: the network and all on it",
        ),
    ],
)
def test_what_changed_is_made_anew(changes: dict[str, Any], done: dict[str, Any]) -> None:
    assert names(plan_present(lab(**changes), whole(lab()))) == done


OTHERS = {"nectar.lab": "lab", "nectar.lab.state": "/home/bob/.local/state/nectar/lab"}


@pytest.mark.parametrize(
    ("world", "problems"),
    [
        pytest.param(
            World(networks=(Network("office", "podman3", (ip_network("10.89.0.0/16"),), {}),)),
            [
                "The subnet 10.89.77.0/24 is in use by the Podman network office (10.89.0.0/16). Choose a free one with "
                "NECTAR_NETWORK_IPV4, or remove that network if nobody needs it: podman network rm office."
            ],
            id="another network",
        ),
        pytest.param(
            World(
                routes=tuple(
                    Route(ip_network(net), "wg0") for net in ("10.89.77.0/24", "10.89.77.1/32", "10.89.77.255/32")
                ),
            ),
            [
                "The subnet 10.89.77.0/24 is in use by this machine: a route to 10.89.77.0/24 on wg0. Choose a free one with NECTAR_NETWORK_IPV4."
            ],
            id="a route, told once",
        ),
        pytest.param(
            World(routes=(Route(ip_network("10.89.77.0/24"), "podman3"),)),
            [
                "The subnet 10.89.77.0/24 is in use by this machine: a route to 10.89.77.0/24 on podman3. No Podman network has that "
                "device any more: remove it with `sudo ip link delete podman3`."
            ],
            id="the bridge of a network that is gone",
        ),
        pytest.param(
            World(routes=(Route(ip_network("fd6e:6563:77::5/128"), "eth0"),)),
            [
                "The subnet fd6e:6563:77::/64 is in use by this machine: the address fd6e:6563:77::5 on eth0. "
                "Choose a free one with NECTAR_NETWORK_IPV6."
            ],
            id="an address",
        ),
        pytest.param(
            World(containers=(Container("nectar-lab-app1", "running", (), {}),)),
            [
                "The container nectar-lab-app1 exists and was not made by a lab. Choose another name for this lab with NECTAR_LAB, "
                "or remove the container if nobody needs it: podman rm --force nectar-lab-app1."
            ],
            id="a container of nobody's lab",
        ),
        pytest.param(
            World(networks=(Network("nectar-lab", "podman1", (), OTHERS),)),
            [
                "The network nectar-lab exists and belongs to the lab lab kept in /home/bob/.local/state/nectar/lab. Choose another "
                "name for this lab with NECTAR_LAB, or remove the network if nobody needs it: podman network rm nectar-lab."
            ],
            id="the network of another person's lab",
        ),
        pytest.param(
            World(
                containers=(
                    Container(
                        "nectar-lab-one",
                        "running",
                        (),
                        {**lab().labels, "nectar.lab.addresses": "10.89.77.21 fd6e:6563:77::99"},
                    ),
                )
            ),
            [
                "app1: the address 10.89.77.21 is held by nectar-lab-one, a host of this lab that the inventory no longer has. "
                "Remove that host: podman rm --force nectar-lab-one."
            ],
            id="an address held by a host that left the inventory",
        ),
    ],
)
def test_what_is_somebody_elses_is_named_and_left_alone(world: World, problems: list[str]) -> None:
    with pytest.raises(LabError) as refused:
        plan_present(lab(), world)
    assert list(refused.value.problems) == problems


@pytest.mark.parametrize(
    "route",
    [
        pytest.param({"dst": "default", "dev": "eth0"}, id="the default route"),
        pytest.param({"dst": "0.0.0.0/1", "dev": "tun0"}, id="half of everything"),
        pytest.param({"dst": "10.0.0.0/8", "type": "unreachable"}, id="a route to nowhere"),
        pytest.param({"dst": "10.89.78.0/24", "dev": "eth0"}, id="a neighbouring subnet"),
        pytest.param({"dst": "fe80::/64", "dev": "eth0"}, id="link-local"),
    ],
)
def test_harmless_routes_are_no_clash(route: dict[str, str]) -> None:
    world = read_world(containers=[], networks=[], volumes=[], images=[], routes=[route])
    assert plan_present(lab(), world).make_network


def test_what_podman_prints_is_understood() -> None:
    world = read_world(
        containers=[{"Names": ["nectar-lab-app1"], "State": "Running", "Networks": ["nectar-lab"], "Labels": None}],
        networks=[
            {
                "name": "podman",
                "network_interface": "podman0",
                "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
            }
        ],
        volumes=[{"Name": "wal", "Options": {"device": WAL, "o": "loop", "type": "ext4"}, "Labels": {"a": "b"}}],
        images=[{"Names": ["localhost/nectar-lab:trixie-0"]}, {"Names": None}],
        routes=[{"dst": "10.88.0.1", "type": "local", "dev": "podman0"}],
    )
    assert world == World(
        containers=(Container("nectar-lab-app1", "running", ("nectar-lab",), {}),),
        networks=(Network("podman", "podman0", (ip_network("10.88.0.0/16"),), {}),),
        volumes=(StoredVolume("wal", WAL, {"a": "b"}),),
        images=frozenset({"localhost/nectar-lab:trixie-0"}),
        routes=(Route(ip_network("10.88.0.1/32"), "podman0"),),
    )


def test_an_absent_lab_takes_only_its_own() -> None:
    mine = whole(lab())
    world = replace(
        mine,
        containers=(
            *mine.containers,
            Container("web", "running", ("podman",), {}),
            Container("nectar-lab-x", "running", (), OTHERS),
        ),
        volumes=(*mine.volumes, StoredVolume("pictures", "", {})),
    )
    assert names(plan_absent(define_lab(name="lab", state=STATE, image="", subnets=SUBNETS), world)) == {
        "remove": (
            ("rm", "--force", "--time", "0", "nectar-lab-app1", "nectar-lab-db1"),
            ("volume", "rm", "nectar-lab-db1-wal"),
            ("network", "rm", "nectar-lab"),
        ),
        "strangers": ("nectar-lab-x (kept in /home/bob/.local/state/nectar/lab)",),
    }


def test_an_image_that_another_lab_uses_stays() -> None:
    other = Container("nectar-molecule-one", "running", (), {}, image="localhost/nectar-lab:bookworm-0")
    world = World(images=frozenset({"localhost/nectar-lab:trixie-0", other.image}), containers=(other,))
    assert plan_absent(lab(), world, images=True).remove == (("rmi", "localhost/nectar-lab:trixie-0"),)


def test_images_go_on_request_and_others_images_stay() -> None:
    world = World(
        images=frozenset(
            {"localhost/nectar-lab:trixie-0", "localhost/nectar-lab:bookworm-0", "docker.io/library/debian:12"}
        )
    )
    assert not plan_absent(lab(), world).changes
    assert plan_absent(lab(), world, images=True).remove == (
        ("rmi", "localhost/nectar-lab:bookworm-0", "localhost/nectar-lab:trixie-0"),
    )


@pytest.mark.parametrize(
    "ending", [pytest.param("absent", id="the lab goes"), pytest.param("moved", id="its subnet changes")]
)
def test_a_guest_on_a_network_that_has_to_go_is_named(ending: str) -> None:
    mine = whole(lab())
    world = replace(mine, containers=(*mine.containers, Container("client", "running", ("nectar-lab",), {})))
    assert names(plan_present(lab(), world)) == {}
    with pytest.raises(LabError, match="podman network disconnect nectar-lab client"):
        if ending == "absent":
            plan_absent(lab(), world)
        else:
            plan_present(lab(subnets=("10.89.79.0/24", "fd6e:6563:79::/64"), servers=[]), world)
