# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server lets in, as rules of nftables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
COMMENT = re.compile(r"[A-Za-z0-9 .,:;/()_+-]{1,100}\Z")
PORT_RANGE = re.compile(r"(\d+)-(\d+)\Z")
FIELDS = ("port", "protocol", "sources", "comment")

# By number, since /etc/protocols isn't everywhere.
PROTOCOLS_WITHOUT_PORTS = {"vrrp": 112}
PROTOCOLS_WITH_PORTS = ("tcp", "udp")


class FirewallError(ValueError):
    """A rule that can't be written, with its field and the remedy."""


@dataclass(frozen=True)
class Rule:
    """Who may reach which port."""

    protocol: str
    ports: tuple[str, ...]
    sources_v4: tuple[str, ...]
    sources_v6: tuple[str, ...]
    comment: str

    @property
    def statements(self) -> tuple[str, ...]:
        """Say the rule in nftables' words: one statement, or one for each family of sources."""
        if not self.sources_v4 and not self.sources_v6:
            return (self._statement(""),)
        families = (("ip saddr", self.sources_v4), ("ip6 saddr", self.sources_v6))
        return tuple(self._statement(f"{field} {{ {', '.join(sources)} }} ") for field, sources in families if sources)

    def _statement(self, source: str) -> str:
        if self.protocol in PROTOCOLS_WITHOUT_PORTS:
            what = f"meta l4proto {PROTOCOLS_WITHOUT_PORTS[self.protocol]}"
        else:
            what = f"{self.protocol} dport {{ {', '.join(self.ports)} }}"
        return f'{source}{what} accept comment "{self.comment}"'


def parse_rules(name: str, rules: Sequence[Mapping[str, object]]) -> tuple[Rule, ...]:
    """Read the rules of one file; refuse the first that can't be written."""
    if not NAME.match(name):
        raise FirewallError(f"name: {name!r} can't name a file of rules: use lower case letters, digits, - and _")
    return tuple(_parse_rule(rule, f"{name}: rule {number}", name) for number, rule in enumerate(rules, start=1))


def render_rules(name: str, rules: Sequence[Mapping[str, object]]) -> str:
    """Write the file that lets these rules in."""
    statements = [statement for rule in parse_rules(name, rules) for statement in rule.statements]
    lines = "".join(f"\t\t{statement}\n" for statement in statements)
    return f"# Written by Ansible (nectar.backend.firewall).\ntable inet nectar {{\n\tchain allow {{\n{lines}\t}}\n}}\n"


def _parse_rule(rule: Mapping[str, object], where: str, name: str) -> Rule:
    unknown = sorted(set(rule) - set(FIELDS))
    if unknown:
        raise FirewallError(f"{where}: unknown field {unknown[0]!r}; the fields are {', '.join(FIELDS)}")
    protocol = rule.get("protocol") or "tcp"
    if protocol not in (*PROTOCOLS_WITH_PORTS, *PROTOCOLS_WITHOUT_PORTS):
        raise FirewallError(f"{where}: protocol: {protocol!r} is none of tcp, udp and vrrp")
    comment = rule.get("comment") or name
    if not isinstance(comment, str) or not COMMENT.match(comment):
        raise FirewallError(f"{where}: comment: {comment!r} must be up to 100 plain characters without quotes")
    networks = _parse_sources(rule.get("sources") or [], where)
    return Rule(
        protocol=str(protocol),
        ports=_parse_ports(rule.get("port"), str(protocol), where),
        sources_v4=_collapse(network for network in networks if isinstance(network, ipaddress.IPv4Network)),
        sources_v6=_collapse(network for network in networks if isinstance(network, ipaddress.IPv6Network)),
        comment=comment,
    )


def _parse_ports(value: object, protocol: str, where: str) -> tuple[str, ...]:
    if protocol in PROTOCOLS_WITHOUT_PORTS:
        if value is not None:
            raise FirewallError(f"{where}: port: {protocol} has no ports; leave it out")
        return ()
    values = value if isinstance(value, list) else [value]
    if not values:
        raise FirewallError(f"{where}: port: the list is empty; name a port")
    return tuple(dict.fromkeys(_parse_port(port, where) for port in values))


def _parse_port(value: object, where: str) -> str:
    text = str(value)
    span = PORT_RANGE.match(text)
    bounds = [int(bound) for bound in span.groups()] if span else [int(text)] if text.isdecimal() else []
    if isinstance(value, bool) or not bounds or bounds != sorted(bounds) or not 1 <= bounds[0] <= bounds[-1] <= 65535:
        raise FirewallError(
            f"{where}: port: {value!r} is no port; give a number from 1 to 65535, or a range like 8000-8010"
        )
    return "-".join(map(str, bounds))


def _parse_sources(values: object, where: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    if not isinstance(values, list):
        raise FirewallError(f"{where}: sources: {values!r} must be a list of addresses and networks")
    return [_parse_source(value, where) for value in values]


def _parse_source(value: object, where: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(str(value))
    except ValueError as error:
        raise FirewallError(
            f"{where}: sources: {value!r} is no address or network ({error}); write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64"
        ) from None


def _collapse(networks: object) -> tuple[str, ...]:
    # nftables refuses overlapping entries, and order must not depend on the caller's.
    merged = ipaddress.collapse_addresses(networks)  # type: ignore[arg-type]
    return tuple(str(network.network_address) if network.num_addresses == 1 else str(network) for network in merged)
