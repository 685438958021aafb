# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RFC 6724: the examples of its section 10.2 that don't turn on home or deprecated addresses, and its tables."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_order import (
    GLOBAL,
    LINK_LOCAL,
    SITE_LOCAL,
    common_prefix,
    deciding_rule,
    order_key,
    policy,
    scope,
)


@pytest.mark.parametrize(
    ("better", "worse", "rule"),
    [
        pytest.param(
            ("2001:db8:1::1", "2001:db8:1::2"), ("198.51.100.121", "169.254.13.78"), "matching scope",
            id="10.2: IPv4 would be reached from a link-local source",
        ),
        pytest.param(
            ("198.51.100.121", "198.51.100.117"), ("2001:db8:1::1", "fe80::1"), "matching scope",
            id="10.2: IPv6 would be reached from a link-local source",
        ),
        pytest.param(
            ("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4"), "higher precedence",
            id="10.2: both fit, and IPv6 has the higher precedence",
        ),
        pytest.param(
            ("fe80::1", "fe80::2"), ("2001:db8:1::1", "2001:db8:1::2"), "smaller scope",
            id="10.2: the link-local destination has the smaller scope",
        ),
        pytest.param(
            ("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:3ffe::1", "2001:db8:3f44::2"), "longest matching prefix",
            id="10.2: the first destination is in the source's own network",
        ),
        pytest.param(
            ("2002:c633:6401::1", "2002:c633:6401::2"), ("2001:db8:1::1", "2002:c633:6401::2"), "matching label",
            id="10.2: a 6to4 source belongs to a 6to4 destination",
        ),
        pytest.param(
            ("2001:db8:1::1", "2001:db8:1::2"), ("2002:c633:6401::1", "2002:c633:6401::2"), "higher precedence",
            id="10.2: with a source for each, native goes before 6to4",
        ),
        pytest.param(
            ("10.89.77.10", "10.89.77.1/24"), ("10.89.78.10", "10.89.77.1/24"), "longest matching prefix",
            id="a destination in the source's IPv4 network is nearer",
        ),
        pytest.param(
            ("10.89.77.10", "10.89.77.1"), ("fd6e::10", ""), "matching scope", id="what no source is known for comes last"
        ),
    ],
)  # fmt: skip
def test_pairs(better: tuple[str, str], worse: tuple[str, str], rule: str) -> None:
    first, second = order_key(*better), order_key(*worse)
    assert first < second
    assert deciding_rule(first, second) == rule


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("10.89.77.10", "10.89.77.1"), ("10.89.77.200", "10.89.77.1"), id="two hosts of one IPv4 network"),
        pytest.param(
            ("10.89.1.1", "10.89.77.1/16"), ("10.89.77.2", "10.89.77.1/16"), id="of one that is known to be wide"
        ),
        pytest.param(
            ("2001:db8::1", "2001:db8::2"), ("2001:db8::ffff:1", "2001:db8::2"), id="two hosts of one IPv6 network"
        ),
    ],
)
def test_nothing_between(one: tuple[str, str], other: tuple[str, str]) -> None:
    first, second = order_key(*one), order_key(*other)
    assert first == second
    assert deciding_rule(first, second) == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::1", (50, 0)),
        ("2001:db8::1", (40, 1)),
        ("10.0.0.1", (35, 4)),
        ("2002:c633:6401::1", (30, 2)),
        ("2001::1", (5, 5)),
        ("fd6e::1", (3, 13)),
        ("::10.0.0.1", (1, 3)),
        ("fec0::1", (1, 11)),
        ("3ffe::1", (1, 12)),
    ],
)
def test_policy_table(address: str, expected: tuple[int, int]) -> None:
    assert policy(ipaddress.ip_address(address)) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", LINK_LOCAL),
        ("::1", LINK_LOCAL),
        ("169.254.1.1", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("fec0::1", SITE_LOCAL),
        ("10.0.0.1", GLOBAL),
        ("fd6e::1", GLOBAL),
        ("2001:db8::1", GLOBAL),
        ("ff05::1", SITE_LOCAL),
    ],
)
def test_scopes(address: str, expected: int) -> None:
    assert scope(ipaddress.ip_address(address)) == expected


@pytest.mark.parametrize(
    ("source", "destination", "bits"),
    [
        pytest.param("10.89.77.1/24", "10.89.77.9", 24, id="no further than the network goes"),
        pytest.param("10.89.77.1/20", "10.89.78.9", 20, id="the known length counts"),
        pytest.param("10.89.77.1", "10.89.77.9", 24, id="an unknown IPv4 length is taken for 24"),
        pytest.param("2001:db8::1", "2001:db8::2", 64, id="an unknown IPv6 length is 64"),
        pytest.param("10.89.77.1/24", "10.88.77.1", 15, id="the first bit that differs ends it"),
        pytest.param("2001:db8::1/64", "10.0.0.1", 0, id="families have nothing in common"),
    ],
)
def test_common_prefix(source: str, destination: str, bits: int) -> None:
    assert common_prefix(ipaddress.ip_interface(source), ipaddress.ip_address(destination)) == bits
