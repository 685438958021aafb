# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers of an environment: their addresses, host keys, groups and variables."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    DNS_LABEL,
    MAPPING,
    MEMORY,
    NUMBER,
    TEXT,
    TEXTS,
    Field,
    Report,
    Spot,
    check_entry,
    check_keys,
    check_section,
    clean_label,
    is_dns_name,
    is_list_of_text,
    is_number,
    is_text,
    mebibytes,
    show,
)

GROUPS = ("loadbalancers", "app_servers", "database_servers", "ops_servers")
RESERVED = frozenset({"all", "ungrouped", "localhost", "nectar", "primary"})
# Variables that the plugin itself derives, and those that Ansible keeps for itself.
DERIVED_VARIABLES = frozenset({"server", "ansible_host", "ansible_ssh_common_args"})
MAGIC_VARIABLES = frozenset({"inventory_hostname", "group_names", "groups", "hostvars", "environment", "vars", "omit"})
MOST_CORES = 1024
FAMILIES = {"network_ipv4": 4, "network_ipv6": 6}
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _is_cores(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 1 <= value <= MOST_CORES


def _is_addresses(value: object) -> bool:
    return is_text(value) or (is_list_of_text(value) and bool(value))


ADDRESSES = Field(_is_addresses, "an address or a list of them", 'write it as [192.0.2.11, "2001:db8::11"]')
FIELDS = {
    "number": NUMBER,
    "groups": TEXTS,
    "bind": ADDRESSES,
    "connect": ADDRESSES,
    "advertise": TEXT,
    "host_keys": TEXTS,
    "memory": MEMORY,
    "cores": Field(_is_cores, f"a whole number from 1 to {MOST_CORES}", "write what `nproc` shows there"),
    "wal": MEMORY,
    "variables": MAPPING,
}


@dataclass(frozen=True)
class Server:
    """One host of the inventory."""

    name: str
    groups: tuple[str, ...]
    variables: dict[str, Any]  # what becomes the host's variable `server`
    extra: dict[str, Any]  # the entry's own variables


@dataclass
class Known:
    """What earlier sources of the same inventory hold; `common` is what their members and deployments became."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: Collection[str] = ()
    virtual_addresses: list[str] = field(default_factory=list)
    common: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Networks:
    """The networks from which numbers become addresses, in the order of preference."""

    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
    stated: bool

    def addresses(self, number: int) -> list[str]:
        """The address of this number in each network that is large enough for it."""
        return [_address(network, number) for network in self.networks if self.holds(network, number)]

    @staticmethod
    def holds(network: ipaddress.IPv4Network | ipaddress.IPv6Network, number: int) -> bool:
        return 0 < number < network.num_addresses - 1

    def too_small_for(self, number: int) -> list[str]:
        return [str(network) for network in self.networks if not self.holds(network, number)]


def _address(network: ipaddress.IPv4Network | ipaddress.IPv6Network, number: int) -> str:
    return str(network.network_address + number)


def read_networks(report: Report, data: Mapping[str, Any]) -> Networks:
    """The stated networks; a family without one has no derived addresses."""
    stated = {name: data[name] for name in FAMILIES if data.get(name) is not None}
    networks = []
    for name, value in stated.items():
        family = FAMILIES[name]
        try:
            network = ipaddress.ip_network(value if isinstance(value, str) else "")
        except ValueError as error:
            report.add(
                Spot((name,)),
                f"{name} is {show(value)} ({error})",
                f"an IPv{family} network",
                "write its first address and length, as 192.0.2.0/24",
            )
            continue
        if network.version != family:
            report.add(
                Spot((name,)),
                f"{name} is {show(value)}",
                f"an IPv{family} network",
                f"name it in network_ipv{network.version}",
            )
            continue
        networks.append(network)
    return Networks(networks, bool(stated))


class ServerReader:
    """Check and derive the servers of one source."""

    def __init__(self, report: Report, data: Mapping[str, Any], host_keys: Mapping[str, Any], known: Known) -> None:
        self.report = report
        self.known = known
        self.host_keys = host_keys
        self.section = check_section(report, data, "servers")
        self.networks = read_networks(report, data)
        self.extra_groups = self._read_extra_groups(data)
        self.numbers = {entry["number"]: f"server {name}" for name, entry in known.servers.items()}
        self.owners = {
            address: f"server {name}" for name, entry in known.servers.items() for address in entry["addresses"]
        }
        self.owners.update((address, "virtual_addresses") for address in known.virtual_addresses)
        self.virtual_addresses = self._read_virtual_addresses(data)

    def read(self) -> list[Server]:
        if self.section and self.known.common:
            self.report.add(
                Spot(("servers",)),
                "servers come after the members that they serve",
                "servers first",
                "name this source before members.yml",
            )
        return [self._server(name, entry) for name, entry in self.section.items()]

    def _read_extra_groups(self, data: Mapping[str, Any]) -> list[str]:
        value = data.get("extra_groups")
        spot = Spot(("extra_groups",))
        if value is None:
            return []
        if not is_list_of_text(value):
            self.report.add(spot, f"extra_groups is {show(value)}", TEXTS.expected, TEXTS.remedy)
            return []
        for name in value:
            if not IDENTIFIER.fullmatch(name) or name in RESERVED:
                self.report.add(
                    spot,
                    f"extra_groups has {show(name)}",
                    "group names of letters, digits and underscores",
                    "rename it",
                )
        return list(value)

    def _read_virtual_addresses(self, data: Mapping[str, Any]) -> list[str]:
        value = data.get("virtual_addresses")
        spot = Spot(("virtual_addresses",), "virtual_addresses")
        if value is None:
            return []
        if not isinstance(value, list):
            self.report.add(
                spot, f"is {show(value)}", "a list of addresses or numbers", "write it as [10] or [192.0.2.10]"
            )
            return []
        found: list[str] = []
        for index, item in enumerate(value):
            found += self._virtual_address(spot.at(index), item)
        for address in found:
            if found.count(address) > 1:
                self.report.add(spot, f"holds {address} twice", "each address once", "take one of the two out")
            self._claim(spot, address, "virtual_addresses")
        return list(dict.fromkeys(found))

    def _virtual_address(self, spot: Spot, item: object) -> list[str]:
        if isinstance(item, int) and not isinstance(item, bool):
            self._check_fits(spot, item)
            return self.networks.addresses(item)
        address = _host_address(item)
        if address is None:
            self.report.add(
                spot,
                f"holds {show(item)}",
                "an address of a host or a number in the networks",
                "write it as 10 or 192.0.2.10",
            )
        return [address] if address else []

    def _server(self, name: object, entry: object) -> Server:
        spot = Spot(("servers", name), f"server {name}")
        self._check_name(spot, name)
        fields = check_entry(self.report, spot, entry, FIELDS)
        number = self._number(spot, entry, fields)
        written = set(entry) if isinstance(entry, dict) else set()
        addresses = self._addresses(spot, fields, written, number)
        keys = self._keys(spot, str(name), fields)
        server = {"name": str(name), "number": number, **addresses, "host_keys": keys}
        server.update((name, mebibytes(fields[name])) for name in ("memory", "wal") if name in fields)
        if "cores" in fields:
            server["cores"] = fields["cores"]
        return Server(str(name), self._groups(spot, fields), server, self._variables(spot, fields))

    def _check_name(self, spot: Spot, name: object) -> None:
        if not isinstance(name, str) or not DNS_LABEL.fullmatch(name):
            self.report.add(
                spot,
                f"name {show(name)}",
                "a DNS label (a-z, 0-9 and inner hyphens, at most 63)",
                f"call it {clean_label(name)}",
            )
        elif name in RESERVED or name in GROUPS or name in self.extra_groups:
            self.report.add(
                spot, f"name {name} is reserved or a group's", "a host's own name", f"call it {name.replace('_', '-')}1"
            )
        elif name in self.known.hosts:
            self.report.add(
                spot,
                f"name {name} is taken by a host of an earlier source",
                "each host once",
                "take one of the two out, or rename it",
            )

    def _number(self, spot: Spot, entry: object, fields: Mapping[str, Any]) -> int:
        if "number" not in fields:
            if not isinstance(entry, dict) or "number" not in entry:
                self.report.add(
                    spot,
                    "number is missing",
                    "a number of its own",
                    f"add number: {self._next_number()}, the next free one",
                )
            return 0
        number = int(fields["number"])
        if number < 1:
            self.report.add(
                spot.at("number"),
                f"number is {number}",
                "a whole number from 1",
                f"use {self._next_number()}, the next free one",
            )
        elif number in self.numbers:
            holder = self.numbers[number]
            self.report.add(
                spot.at("number"),
                f"number {number} belongs to {holder}",
                "a number of its own",
                f"use {self._next_number()}, the next free one",
            )
        else:
            self.numbers[number] = spot.where
        return number

    def _next_number(self) -> int:
        """The lowest that nothing uses; each call offers another."""
        written = {
            entry["number"]
            for entry in self.section.values()
            if isinstance(entry, dict) and is_number(entry.get("number"))
        }
        number = next(free for free in itertools.count(1) if free not in written and free not in self.numbers)
        self.numbers[number] = "an entry that needs one"
        return number

    def _check_fits(self, spot: Spot, number: int) -> None:
        for network in self.networks.too_small_for(number):
            self.report.add(
                spot,
                f"number {number} is outside {network}",
                "a number that the network holds",
                "use a smaller number, or widen the network",
            )

    def _addresses(
        self, spot: Spot, fields: Mapping[str, Any], written: Collection[object], number: int
    ) -> dict[str, Any]:
        bind = self._address_list(spot, fields, "bind", names=False)
        connect = self._address_list(spot, fields, "connect", names=True)
        advertise = self._address_list(spot, fields, "advertise", names=False)
        own = bind or advertise or [item for item in connect if _host_address(item)]
        if not own and number and self.networks.stated:
            self._check_fits(spot.at("number"), number)
            own = self.networks.addresses(number)
        elif (
            not own
            and not self.networks.stated
            and (connect or not {"bind", "connect", "advertise"}.intersection(written))
        ):
            self.report.add(
                spot,
                "has no address of its own",
                "bind, connect or advertise, or a network to number it in",
                "add bind: [192.0.2.11] or network_ipv4",
            )
        own_bind = bind or own
        addresses = {"bind": own_bind, "connect": connect or own_bind, "advertise": (advertise or own_bind or [""])[0]}
        everything = list(dict.fromkeys([*own_bind, *addresses["connect"], *advertise]))
        for address in everything:
            self._claim(spot, address, spot.where)
        return {**addresses, "addresses": everything}

    def _address_list(self, spot: Spot, fields: Mapping[str, Any], name: str, *, names: bool) -> list[str]:
        value = fields.get(name)
        items = [value] if isinstance(value, str) else value or []
        found: list[str] = []
        for item in items:
            address = _host_address(item) or (item if names and _is_host_name(item) else None)
            if address is None:
                expected = (
                    "an address or DNS name that other hosts can reach"
                    if names
                    else "an address that other hosts can reach"
                )
                self.report.add(
                    spot.at(name), f"{name} holds {show(item)}", expected, 'write it as 192.0.2.11 or "2001:db8::11"'
                )
            elif address in found:
                self.report.add(
                    spot.at(name), f"{name} holds {address} twice", "each address once", "take one of the two out"
                )
            else:
                found.append(address)
        return found

    def _claim(self, spot: Spot, address: str, owner: str) -> None:
        holder = self.owners.setdefault(address, owner)
        if holder != owner or (owner == "virtual_addresses" and address in self.known.virtual_addresses):
            self.report.add(
                spot, f"address {address} belongs to {holder}", "an address of its own", "change one of the two"
            )

    def _keys(self, spot: Spot, name: str, fields: Mapping[str, Any]) -> list[str]:
        if "host_keys" in fields:
            return check_keys(self.report, spot.at("host_keys"), fields["host_keys"])
        return check_keys(self.report, spot, self.host_keys.get(name) or [])

    def _groups(self, spot: Spot, fields: Mapping[str, Any]) -> tuple[str, ...]:
        known = (*GROUPS, *self.extra_groups)
        for name in fields.get("groups", ()):
            if name not in known:
                remedy = self.report.suggest(name, known, f"add {name} to extra_groups, or take it out")
                self.report.add(
                    spot.at("groups"), f"groups holds {show(name)}", f"groups out of {', '.join(known)}", remedy
                )
        return tuple(dict.fromkeys(fields.get("groups", ())))

    def _variables(self, spot: Spot, fields: Mapping[str, Any]) -> dict[str, Any]:
        variables = fields.get("variables", {})
        for name in variables:
            if not isinstance(name, str) or not IDENTIFIER.fullmatch(name):
                self.report.add(
                    spot.at("variables", name),
                    f"variables has {show(name)}",
                    "a name of letters, digits and underscores",
                    "rename it",
                )
            elif name in DERIVED_VARIABLES or name in MAGIC_VARIABLES:
                remedy = "use bind, connect and host_keys" if name in DERIVED_VARIABLES else "rename it"
                self.report.add(
                    spot.at("variables", name), f"variables sets {name}", "a variable that nothing else derives", remedy
                )
        return dict(variables)


def _host_address(value: object) -> str | None:
    """A unicast address in its shortest spelling; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    useless = address.is_unspecified or address.is_multicast or address.is_loopback or address.is_link_local
    return None if useless else str(address)


def _is_host_name(value: str) -> bool:
    return is_dns_name(value) and not re.fullmatch(r"[0-9.]+", value)
