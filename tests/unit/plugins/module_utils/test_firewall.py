# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What rules of the firewall say in nftables' words, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.firewall import FirewallError, parse_rules, render_rules


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param({"port": 443}, ['tcp dport { 443 } accept comment "web"'], id="any source"),
        pytest.param(
            {"port": 443, "sources": []}, ['tcp dport { 443 } accept comment "web"'], id="an empty list is any"
        ),
        pytest.param({"port": "8000-8010"}, ['tcp dport { 8000-8010 } accept comment "web"'], id="a range"),
        pytest.param({"port": [80, "443", 80]}, ['tcp dport { 80, 443 } accept comment "web"'], id="several"),
        pytest.param({"port": 53, "protocol": "udp"}, ['udp dport { 53 } accept comment "web"'], id="udp"),
        pytest.param(
            {"port": 1, "sources": ["192.0.2.7"], "comment": "who"},
            ['ip saddr { 192.0.2.7 } tcp dport { 1 } accept comment "who"'],
            id="one address",
        ),
        pytest.param(
            {"port": 1, "sources": ["2001:DB8::/64", "192.0.2.0/24"]},
            [
                'ip saddr { 192.0.2.0/24 } tcp dport { 1 } accept comment "web"',
                'ip6 saddr { 2001:db8::/64 } tcp dport { 1 } accept comment "web"',
            ],
            id="both families",
        ),
        pytest.param(
            {"port": 1, "sources": ["192.0.2.9", "192.0.2.0/24", "192.0.2.9"]},
            ['ip saddr { 192.0.2.0/24 } tcp dport { 1 } accept comment "web"'],
            id="overlapping sources",
        ),
        pytest.param(
            {"protocol": "vrrp", "sources": ["192.0.2.7", "2001:db8::7"]},
            [
                'ip saddr { 192.0.2.7 } meta l4proto 112 accept comment "web"',
                'ip6 saddr { 2001:db8::7 } meta l4proto 112 accept comment "web"',
            ],
            id="vrrp",
        ),
    ],
)
def test_statements(rule: dict[str, Any], expected: list[str]) -> None:
    (parsed,) = parse_rules("web", [rule])
    assert list(parsed.statements) == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param({}, "web: rule 1: port: None is no port", id="no port"),
        pytest.param({"port": 0}, "web: rule 1: port: 0 is no port", id="zero"),
        pytest.param({"port": 65536}, "web: rule 1: port: 65536 is no port", id="too high"),
        pytest.param({"port": "9-8"}, "web: rule 1: port: '9-8' is no port", id="a range backwards"),
        pytest.param({"port": True}, "web: rule 1: port: True is no port", id="a truth value"),
        pytest.param({"port": "http"}, "web: rule 1: port: 'http' is no port", id="a word"),
        pytest.param({"port": []}, "web: rule 1: port: the list is empty", id="no ports"),
        pytest.param(
            {"port": 1, "protocol": "sctp"}, "web: rule 1: protocol: 'sctp' is none of tcp, udp and vrrp", id="protocol"
        ),
        pytest.param(
            {"port": 1, "protocol": "vrrp"}, "web: rule 1: port: vrrp has no ports; leave it out", id="vrrp with a port"
        ),
        pytest.param(
            {"port": 1, "sources": "192.0.2.7"}, "web: rule 1: sources: '192.0.2.7' must be a list", id="no list"
        ),
        pytest.param(
            {"port": 1, "sources": ["db1"]}, "web: rule 1: sources: 'db1' is no address or network", id="a name"
        ),
        pytest.param(
            {"port": 1, "sources": ["192.0.2.7/24"]},
            "web: rule 1: sources: '192.0.2.7/24' is no address or network",
            id="host bits",
        ),
        pytest.param(
            {"port": 1, "source": []}, "web: rule 1: unknown field 'source'; the fields are port", id="a misspelt field"
        ),
        pytest.param({"port": 1, "comment": 'a" drop'}, "web: rule 1: comment: 'a\" drop' must be", id="a quote"),
    ],
)
def test_refused_rules(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(FirewallError) as caught:
        parse_rules("web", [rule])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["", "../x", "a b", "Web", "-x"])
def test_refused_names(name: str) -> None:
    with pytest.raises(FirewallError, match="can't name a file of rules"):
        parse_rules(name, [])


def test_the_file_adds_to_one_chain() -> None:
    assert render_rules("web", [{"port": 80}, {"port": 443}]).splitlines()[1:] == [
        "table inet nectar {",
        "\tchain allow {",
        '\t\ttcp dport { 80 } accept comment "web"',
        '\t\ttcp dport { 443 } accept comment "web"',
        "\t}",
        "}",
    ]
