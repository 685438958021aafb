# Copyright (c) Nectar Backend maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab shall have, derived from the inventory's servers."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

LABEL_LAB = "nectar.lab"
LABEL_STATE = "nectar.lab.state"
LABEL_ADDRESSES = "nectar.lab.addresses"
LABEL_DEFINITION = "nectar.lab.definition"
# Where a host finds its own SSH key and its operator's when it boots; the image's `lab-seed` reads them there.
SEED_FOLDER = "/var/lib/lab-seed"

# Less than this, and systemd doesn't start.
LEAST_MEMORY = 64

Subnet: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
_FAMILIES = (4, 6)


class LabError(ValueError):
    """A lab that can't be made as asked; holds every problem that was found, not only the first."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Volume:
    """A filesystem of a limited size that a host mounts."""

    name: str
    path: str
    device: str
    size: int


@dataclass(frozen=True)
class Host:
    """A server of the inventory, as a container."""

    name: str
    container: str
    ipv4: str
    ipv6: str
    mac: str
    memory: int
    volumes: tuple[Volume, ...]
    mounts: tuple[str, ...]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Lab:
    """All that one lab shall have."""

    name: str
    prefix: str
    state: str
    image: str
    subnets: tuple[Subnet, ...]
    hosts: tuple[Host, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Say what marks a thing as this lab's; the state folder tells two people's labs of one name apart."""
        return {LABEL_LAB: self.name, LABEL_STATE: self.state}

    @property
    def net_config(self) -> list[dict[str, str]]:
        """Give the subnets with their gateways, as Podman wants them."""
        return [{"subnet": str(subnet), "gateway": str(subnet[1])} for subnet in self.subnets]


def define_lab(
    *,
    name: str,
    state: str,
    image: str,
    subnets: Sequence[str],
    servers: Sequence[Mapping[str, Any]] = (),
    volumes: Sequence[Mapping[str, Any]] = (),
    volume_hosts: Sequence[str] = (),
    release: str = "",
    settings: Mapping[str, Any] | None = None,
    identities: Mapping[str, str] | None = None,
) -> Lab:
    """Derive the lab from the inventory's servers, or say all that stands against it.

    Whatever else a host is made with is in `settings`, for all, and in `identities`, by host.
    """
    problems: list[str] = []
    parsed = tuple(_collect(_parse_subnets(subnets), problems))
    lab = Lab(name=name, prefix=f"nectar-{name}", state=state, image=image, subnets=parsed)
    hosts = []
    for server in servers:
        wrong = [*_entry_problems(server)]
        addresses = tuple(_collect(_parse_addresses(server, parsed), wrong))
        problems += wrong
        if wrong or len(addresses) != len(_FAMILIES):
            continue
        given = volumes if server["name"] in volume_hosts else ()
        made = tuple(_define_volume(volume, lab, server["name"], release) for volume in given)
        extra = {"settings": settings or {}, "identity": (identities or {}).get(server["name"], "")}
        hosts.append(_define_host(lab, server, addresses, made, extra))
    problems += _find_twins(hosts)
    if problems:
        raise LabError(problems)
    return replace(lab, hosts=tuple(hosts))


def _define_host(
    lab: Lab,
    server: Mapping[str, Any],
    addresses: Sequence[Address],
    volumes: tuple[Volume, ...],
    extra: Mapping[str, Any],
) -> Host:
    name = server["name"]
    ipv4, ipv6 = (str(address) for address in addresses)
    facts = {
        "hostname": name,
        "image": lab.image,
        "addresses": [ipv4, ipv6],
        "memory": server["memory"],
        "volumes": [asdict(volume) for volume in volumes],
        **extra,
    }
    return Host(
        name=name,
        container=f"{lab.prefix}-{name}",
        ipv4=ipv4,
        ipv6=ipv6,
        mac=derive_mac(ipaddress.IPv4Address(ipv4)),
        memory=server["memory"],
        volumes=volumes,
        mounts=(
            *(f"{volume.name}:{volume.path}" for volume in volumes),
            f"{lab.state}/hosts/{name}:{SEED_FOLDER}/host:ro",
            f"{lab.state}/ssh/operator.pub:{SEED_FOLDER}/operator.pub:ro",
        ),
        labels={**lab.labels, LABEL_ADDRESSES: f"{ipv4} {ipv6}", LABEL_DEFINITION: fingerprint(facts)},
    )


def derive_mac(address: ipaddress.IPv4Address) -> str:
    """Give the hardware address that goes with an address; neighbours then know a restarted host at once."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x00" + address.packed)


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Shorten what defines a host to a value that fits a label."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _collect(items: Iterator[Any], problems: list[str]) -> Iterator[Any]:
    """Pass the good ones on, and put the problems to the others."""
    for item in items:
        if isinstance(item, str):
            problems.append(item)
        else:
            yield item


def _entry_problems(server: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(server.get("name"), str):
        yield f"lab_servers: {dict(server)} has no name; give each server its name in the inventory."
    memory = server.get("memory")
    if not isinstance(memory, int) or isinstance(memory, bool) or memory < LEAST_MEMORY:
        yield f"{server.get('name')}: memory is {memory!r}; expected whole MiB, at least {LEAST_MEMORY}."


def _parse_subnets(subnets: Sequence[str]) -> Iterator[Subnet | str]:
    for version, text in zip(_FAMILIES, subnets, strict=True):
        variable = f"NECTAR_NETWORK_IPV{version}"
        try:
            subnet = ipaddress.ip_network(text)
        except ValueError as error:
            yield f"{variable}: {text!r} is no subnet ({error}); give one such as 10.89.77.0/24 or fd6e:6563:77::/64."
            continue
        if subnet.version != version:
            yield f"{variable}: {text!r} is IPv{subnet.version}; expected IPv{version}."
        else:
            yield subnet


def _parse_addresses(server: Mapping[str, Any], subnets: Sequence[Subnet]) -> Iterator[Address | str]:
    """Find the host's one address in each of the lab's subnets."""
    name = server.get("name")
    addresses = []
    for text in server.get("addresses", ()):
        try:
            addresses.append(ipaddress.ip_address(text))
        except ValueError:
            yield f"{name}: addresses: {text!r} is no address; give IPv4 and IPv6 addresses."
    for subnet in subnets:
        found = [address for address in addresses if address in subnet]
        if len(found) != 1:
            yield (
                f"{name}: addresses: {len(found)} of them lie in the lab's subnet {subnet}, expected one; "
                f"set NECTAR_NETWORK_IPV{subnet.version} alike for the inventory and the lab, or mend the server's entry."
            )
        elif found[0] in (subnet[0], subnet[1]):
            yield f"{name}: addresses: {found[0]} is the subnet's own or its gateway's; give the server another."
        else:
            yield found[0]


def _define_volume(volume: Mapping[str, Any], lab: Lab, host: str, release: str) -> Volume:
    """Place a volume; release and size are in the file's name, so that a change of either makes a new, empty one."""
    name, size = volume["name"], int(volume["size"])
    return Volume(
        name=f"{lab.prefix}-{host}-{name}",
        path=str(volume["path"]),
        device=f"{lab.state}/volumes/{host}-{name}-{release}-{size}M.ext4",
        size=size,
    )


def _find_twins(hosts: Sequence[Host]) -> Iterator[str]:
    for field in ("name", "ipv4", "ipv6"):
        seen: dict[str, str] = {}
        for host in hosts:
            value = getattr(host, field)
            if value in seen:
                yield f"{host.name}: {field} {value} is already {seen[value]}'s; give each server its own."
            seen.setdefault(value, host.name)
