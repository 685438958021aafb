# Copyright (c) Nectar Backend maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must be made, mended or taken away so that a lab is as the inventory says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from ansible_collections.nectar.backend.plugins.module_utils.lab_definition import (
    LABEL_ADDRESSES,
    LABEL_DEFINITION,
    LABEL_LAB,
    LABEL_STATE,
    Host,
    Lab,
    LabError,
    Subnet,
    Volume,
)
from ansible_collections.nectar.backend.plugins.module_utils.lab_world import Container, World

IMAGE_REPOSITORY = "localhost/nectar-lab"
# Containers that ran once start again with what they hold. One that never ran, or whose removal was cut short, is made anew.
_STARTABLE = frozenset({"exited", "stopped"})

# Arguments of `podman`.
Command = tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What to do, in the order of its fields."""

    build_image: bool = False
    remove: tuple[Command, ...] = ()
    make_filesystems: tuple[Volume, ...] = ()
    make_volumes: tuple[Volume, ...] = ()
    make_network: bool = False
    make_hosts: tuple[Host, ...] = ()
    mend: tuple[Command, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Say whether anything is to be done; hosts that are left alone are only named."""
        return any(value for field, value in asdict(self).items() if field != "strangers")


# What stands in the way


def find_clashes(lab: Lab, world: World) -> list[str]:
    """Name all that isn't the lab's and has what the lab needs, with the way out."""
    return [
        *_clashing_subnets(lab, world),
        *_clashing_routes(lab, world),
        *_clashing_names(lab, world),
        *_clashing_addresses(lab, world),
    ]


def _clashing_subnets(lab: Lab, world: World) -> Iterator[str]:
    for network in world.networks:
        for theirs in network.subnets if network.name != lab.prefix else ():
            for ours in _overlaps(lab.subnets, theirs):
                yield (
                    f"The subnet {ours} is in use by the Podman network {network.name} ({theirs}). {_choose_subnet(ours)}, "
                    f"or remove that network if nobody needs it: podman network rm {network.name}."
                )


def _clashing_routes(lab: Lab, world: World) -> Iterator[str]:
    # Podman's networks are compared by themselves; their devices would only say it again.
    bridges = {network.interface for network in world.networks}
    named = set()
    for route in world.routes:
        for ours in _overlaps(lab.subnets, route.subnet) if route.device not in bridges else ():
            single = route.subnet.prefixlen == route.subnet.max_prefixlen
            what = f"the address {route.subnet[0]}" if single else f"a route to {route.subnet}"
            # A subnet of a device comes with routes to its address, its broadcast and itself: one of them says enough.
            if (ours, route.device) not in named:
                named.add((ours, route.device))
                yield f"The subnet {ours} is in use by this machine: {what} on {route.device or 'no device'}. {_free(ours, route.device)}."


def _clashing_names(lab: Lab, world: World) -> Iterator[str]:
    containers = {host.container for host in lab.hosts}
    volumes = {volume.name for host in lab.hosts for volume in host.volumes}
    taken: list[tuple[str, str, Mapping[str, str]]] = [
        *(("container", item.name, item.labels) for item in world.containers if item.name in containers),
        *(("network", item.name, item.labels) for item in world.networks if item.name == lab.prefix),
        *(("volume", item.name, item.labels) for item in world.volumes if item.name in volumes),
    ]
    for kind, name, labels in taken:
        if _is_ours(lab, labels):
            continue
        state = labels.get(LABEL_STATE)
        whose = f"belongs to the lab {labels.get(LABEL_LAB)} kept in {state}" if state else "was not made by a lab"
        command = f"podman {'rm --force' if kind == 'container' else f'{kind} rm'} {name}"
        yield (
            f"The {kind} {name} exists and {whose}. Choose another name for this lab with NECTAR_LAB, "
            f"or remove the {kind} if nobody needs it: {command}."
        )


def _clashing_addresses(lab: Lab, world: World) -> Iterator[str]:
    """Name hosts of this lab that left the inventory and hold an address that another host now has."""
    wanted = {address: host for host in lab.hosts for address in (host.ipv4, host.ipv6)}
    known = {host.container for host in lab.hosts}
    for container in world.containers:
        if container.name in known or not _is_ours(lab, container.labels):
            continue
        for address in container.labels.get(LABEL_ADDRESSES, "").split():
            if address in wanted:
                yield (
                    f"{wanted[address].name}: the address {address} is held by {container.name}, a host of this lab that the "
                    f"inventory no longer has. Remove that host: podman rm --force {container.name}."
                )


def _guests(lab: Lab, world: World) -> Iterator[str]:
    """Name the containers that aren't the lab's on a network that is about to go."""
    if any(network.name == lab.prefix and _is_ours(lab, network.labels) for network in world.networks):
        for container in world.containers:
            if lab.prefix in container.networks and not _is_ours(lab, container.labels):
                yield (
                    f"The container {container.name} isn't the lab's, and is on its network {lab.prefix}, which has to go. "
                    f"Disconnect it: podman network disconnect {lab.prefix} {container.name}."
                )


def _overlaps(ours: Sequence[Subnet], theirs: Subnet) -> Iterator[Subnet]:
    for subnet in ours:
        if subnet.version == theirs.version and subnet.overlaps(theirs):
            yield subnet


def _choose_subnet(ours: Subnet) -> str:
    return f"Choose a free one with NECTAR_NETWORK_IPV{ours.version}"


def _free(ours: Subnet, device: str) -> str:
    """A bridge that bears Podman's name but belongs to none of its networks is what a network left behind."""
    if re.fullmatch(r"podman[0-9]+", device):
        return f"No Podman network has that device any more: remove it with `sudo ip link delete {device}`"
    return _choose_subnet(ours)


def _is_ours(lab: Lab, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in lab.labels.items())


# What to do


def plan_present(lab: Lab, world: World) -> Plan:
    """Say what makes the lab whole; refuse where something that isn't the lab's is in the way."""
    network = next((network for network in world.networks if network.name == lab.prefix), None)
    # Other subnets leave no host an address: all that hangs on the old network goes with it.
    moved = network is not None and set(network.subnets) != set(lab.subnets)
    _refuse([*find_clashes(lab, world), *(_guests(lab, world) if moved else ())])
    containers = {item.name: item for item in world.containers if _is_ours(lab, item.labels)}
    wrong_volumes = set(_wrong_volumes(lab, world))
    doomed = {
        item.name
        for item in containers.values()
        if moved or any(item.name == host.container and _is_spoiled(host, item, wrong_volumes) for host in lab.hosts)
    }
    kept = [host for host in lab.hosts if host.container in containers and host.container not in doomed]
    known = {host.container for host in lab.hosts}
    return Plan(
        build_image=lab.image not in world.images,
        remove=remove_commands(
            containers=sorted(doomed),
            volumes=sorted(wrong_volumes & {volume.name for volume in world.volumes}),
            networks=[lab.prefix] if moved else [],
        ),
        make_filesystems=tuple(volume for volume in _volumes(lab) if volume.device not in world.filesystems),
        make_volumes=tuple(volume for volume in _volumes(lab) if volume.name in wrong_volumes),
        make_network=network is None or moved,
        make_hosts=tuple(host for host in lab.hosts if host not in kept),
        mend=mend_commands(
            lab.prefix,
            paused=[host.container for host in kept if containers[host.container].state == "paused"],
            apart=[host for host in kept if lab.prefix not in containers[host.container].networks],
            stopped=[
                host.container for host in kept if network is None or containers[host.container].state in _STARTABLE
            ],
        ),
        strangers=tuple(sorted(set(containers) - known - doomed)),
    )


def plan_absent(lab: Lab, world: World, *, images: bool = False) -> Plan:
    """Say what must go so that nothing of this lab is left; on request the images too that no other lab uses."""
    _refuse(list(_guests(lab, world)))
    used = {item.image for item in world.containers if not _is_ours(lab, item.labels)}
    return Plan(
        remove=remove_commands(
            containers=[item.name for item in world.containers if _is_ours(lab, item.labels)],
            volumes=[item.name for item in world.volumes if _is_ours(lab, item.labels)],
            networks=[item.name for item in world.networks if _is_ours(lab, item.labels)],
            images=sorted(name for name in world.images - used if images and name.startswith(f"{IMAGE_REPOSITORY}:")),
        ),
        strangers=tuple(
            f"{item.name} (kept in {item.labels.get(LABEL_STATE)})"
            for item in world.containers
            if item.labels.get(LABEL_LAB) == lab.name and not _is_ours(lab, item.labels)
        ),
    )


def remove_commands(
    *, containers: Sequence[str], volumes: Sequence[str], networks: Sequence[str], images: Sequence[str] = ()
) -> tuple[Command, ...]:
    """Remove users before what they use. One call removes many side by side; a host that goes needs no time to stop."""
    wanted = (
        (("rm", "--force", "--time", "0"), containers),
        (("volume", "rm"), volumes),
        (("network", "rm"), networks),
        (("rmi",), images),
    )
    return tuple((*command, *names) for command, names in wanted if names)


def mend_commands(
    network: str, *, paused: Sequence[str], apart: Sequence[Host], stopped: Sequence[str]
) -> tuple[Command, ...]:
    """Bring hosts back that are whole but asleep, cut off or stopped."""
    return (
        *((("unpause", *paused),) if paused else ()),
        *(
            (
                "network",
                "connect",
                "--ip",
                host.ipv4,
                "--ip6",
                host.ipv6,
                "--mac-address",
                host.mac,
                network,
                host.container,
            )
            for host in apart
        ),
        *((("restart", "--time", "5", *stopped),) if stopped else ()),
    )


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise LabError(problems)


def _volumes(lab: Lab) -> Iterator[Volume]:
    for host in lab.hosts:
        yield from host.volumes


def _wrong_volumes(lab: Lab, world: World) -> Iterator[str]:
    """Name the volumes that are missing, lie on another file than they should, or have lost theirs."""
    stored = {volume.name: volume.device for volume in world.volumes}
    for volume in _volumes(lab):
        if stored.get(volume.name) != volume.device or volume.device not in world.filesystems:
            yield volume.name


def _is_spoiled(host: Host, container: Container, wrong_volumes: set[str]) -> bool:
    """Say whether a host can only be made anew."""
    return (
        container.labels.get(LABEL_DEFINITION) != host.labels[LABEL_DEFINITION]
        or container.state not in _STARTABLE | {"running", "paused"}
        or any(volume.name in wrong_volumes for volume in host.volumes)
    )
