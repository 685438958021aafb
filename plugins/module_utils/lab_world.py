# Copyright (c) Nectar Backend maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Podman and the kernel say that there is, read from what they print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.lab_definition import Subnet

# Routes that say where nothing goes; an address below them is in nobody's use.
_ROUTES_TO_NOWHERE = frozenset({"unreachable", "blackhole", "prohibit", "throw"})


@dataclass(frozen=True)
class Container:
    """A container that there is."""

    name: str
    state: str
    networks: tuple[str, ...]
    labels: Mapping[str, str]
    image: str = ""


@dataclass(frozen=True)
class Network:
    """A Podman network that there is."""

    name: str
    interface: str
    subnets: tuple[Subnet, ...]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class StoredVolume:
    """A Podman volume that there is."""

    name: str
    device: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Route:
    """A route or an address of the machine."""

    subnet: Subnet
    device: str


@dataclass(frozen=True)
class World:
    """What Podman and the kernel say that there is."""

    containers: tuple[Container, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[StoredVolume, ...] = ()
    images: frozenset[str] = frozenset()
    routes: tuple[Route, ...] = ()
    filesystems: frozenset[str] = frozenset()


def read_world(
    *,
    containers: Sequence[Mapping[str, Any]],
    networks: Sequence[Mapping[str, Any]],
    volumes: Sequence[Mapping[str, Any]],
    images: Sequence[Mapping[str, Any]],
    routes: Sequence[Mapping[str, Any]],
    filesystems: Iterable[str] = (),
) -> World:
    """Read what `podman … --format json` and `ip -json route` print."""
    return World(
        containers=tuple(
            Container(
                name=name,
                state=str(entry.get("State", "")).lower(),
                networks=tuple(entry.get("Networks") or ()),
                labels=entry.get("Labels") or {},
                image=entry.get("Image") or "",
            )
            for entry in containers
            for name in (entry.get("Names") or ())[:1]
        ),
        networks=tuple(
            Network(
                name=entry["name"],
                interface=entry.get("network_interface") or "",
                subnets=tuple(ip_network(subnet["subnet"]) for subnet in entry.get("subnets") or ()),
                labels=entry.get("labels") or {},
            )
            for entry in networks
        ),
        volumes=tuple(
            StoredVolume(
                name=entry["Name"],
                device=(entry.get("Options") or {}).get("device", ""),
                labels=entry.get("Labels") or {},
            )
            for entry in volumes
        ),
        images=frozenset(name for entry in images for name in entry.get("Names") or ()),
        routes=tuple(_read_routes(routes)),
        filesystems=frozenset(filesystems),
    )


def _read_routes(routes: Sequence[Mapping[str, Any]]) -> Iterator[Route]:
    for entry in routes:
        if entry.get("type") in _ROUTES_TO_NOWHERE or entry.get("dst") == "default":
            continue
        subnet = ip_network(entry["dst"], strict=False)
        # Two halves of everything are how VPNs write a default route.
        if subnet.prefixlen > 1:
            yield Route(subnet=subnet, device=entry.get("dev", ""))
