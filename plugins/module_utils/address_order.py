# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of several destinations to prefer: RFC 6724, section 6, as far as it can be known from outside the kernel.

Rule 1 (unusable) is what the probe decided before. Rules 3, 4 and 7 (deprecated, home and encapsulated addresses) need
facts that a source address alone doesn't tell. Rule 10 keeps the order of a DNS answer, which is chance: nothing is
settled by it.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.nectar.backend.plugins.module_utils.endpoints import IPAddress

LINK_LOCAL, SITE_LOCAL, GLOBAL = 2, 5, 14
# Section 2.1's default table, longest prefix first: prefix, precedence, label.
POLICY = tuple(
    (ipaddress.IPv6Network(prefix), precedence, label)
    for prefix, precedence, label in (
        ("::1/128", 50, 0),
        ("::ffff:0:0/96", 35, 4),
        ("::/96", 1, 3),
        ("2001::/32", 5, 5),
        ("2002::/16", 30, 2),
        ("3ffe::/16", 1, 12),
        ("fec0::/10", 1, 11),
        ("fc00::/7", 3, 13),
        ("::/0", 40, 1),
    )
)
# How much of a source address names its network, where nobody says: an IPv6 interface id has 64 bits, and IPv4 networks
# of servers are mostly /24. Compared further, the order of two hosts of one network would be an accident of numbering.
NETWORK_BITS = {4: 24, 6: 64}
RULES = ("matching scope", "matching label", "higher precedence", "smaller scope", "longest matching prefix")
Key = tuple[bool, bool, int, int, int]


def order_key(destination: str, source: str) -> Key:
    """A key that sorts destinations best first; its places are RULES.

    `source` is the address that the kernel chose for this destination, with a prefix length where that is known, or "".
    """
    target = ipaddress.ip_address(destination)
    precedence, label = policy(target)
    if not source:
        return (True, True, -precedence, scope(target), 0)
    origin = ipaddress.ip_interface(source)
    return (
        scope(target) != scope(origin.ip),
        label != policy(origin.ip)[1],
        -precedence,
        scope(target),
        -common_prefix(origin, target),
    )


def deciding_rule(better: Key, worse: Key) -> str:
    """The name of the first rule in which two keys differ, or "" where nothing is between them."""
    return next((rule for rule, one, other in zip(RULES, better, worse, strict=True) if one != other), "")


def scope(address: IPAddress) -> int:
    """Section 3.1 and 3.2: private IPv4 addresses are global, loopback is link-local."""
    if address.is_multicast and isinstance(address, ipaddress.IPv6Address):
        return address.packed[1] & 0x0F
    if address.is_loopback or address.is_link_local:
        return LINK_LOCAL
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return SITE_LOCAL
    return GLOBAL


def policy(address: IPAddress) -> tuple[int, int]:
    """Precedence and label of an address; IPv4 stands in the table as it is mapped into IPv6."""
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | int(address)) if address.version == 4 else address
    return next((precedence, label) for network, precedence, label in POLICY if mapped in network)


def common_prefix(source: ipaddress.IPv4Interface | ipaddress.IPv6Interface, destination: IPAddress) -> int:
    """Leading bits that both share, at most as many as name the source's network; 0 across families."""
    if source.version != destination.version:
        return 0
    length = source.network.prefixlen
    limit = length if length < source.max_prefixlen else NETWORK_BITS[source.version]
    differing = int(source.ip) ^ int(destination)
    return min(limit, source.max_prefixlen - differing.bit_length())
