# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a certificate still serves, and what is asked for when it doesn't."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.certificates import (
    DAY,
    Certificate,
    CertificateError,
    find_reasons,
    parse_certificate,
    parse_names,
    parse_wanted,
    render_request_config,
)

NOW = 1_700_000_000
KEY = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----"
WANTED = parse_wanted("db1", ["DNS:db1", "IP:192.0.2.7"], 30)
DESCRIBED = f"""\
subject=CN=db1
notAfter=Nov 14 22:13:20 2023 GMT
X509v3 Subject Alternative Name:\x20
    DNS:db1, IP Address:192.0.2.7, IP Address:FD6E:6563:CC:0:0:0:0:B
{KEY}
"""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(["IP:192.0.2.7", "DNS:DB1"], ("DNS:db1", "IP:192.0.2.7"), id="sorted and lower case"),
        pytest.param(["IP:FD6E:0:0:0:0:0:0:B"], ("IP:fd6e::b",), id="short"),
        pytest.param(["DNS:a", "DNS:A"], ("DNS:a",), id="once"),
        pytest.param(["DNS:*.nectar.test"], ("DNS:*.nectar.test",), id="a wildcard"),
    ],
)
def test_names(values: list[str], expected: tuple[str, ...]) -> None:
    assert parse_names(values) == expected


@pytest.mark.parametrize(
    "value",
    ["db1", "DNS:", "DNS:a b", "DNS:a,IP:192.0.2.9", "DNS:a\nCA:TRUE", "IP:db1", "IP:192.0.2.0/24", "URI:x", "DNS:-a"],
)
def test_names_that_no_certificate_can_have(value: str) -> None:
    with pytest.raises(CertificateError, match="is neither DNS:<host name> nor IP:<address>"):
        parse_names([value])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("db1", [], 30), "subject_alt_names: the list is empty", id="no names"),
        pytest.param(("a\nb", ["DNS:a"], 30), "common_name: 'a\\nb' must have", id="a line break"),
        pytest.param(("a" * 65, ["DNS:a"], 30), f"common_name: '{'a' * 65}' must have", id="too long"),
        pytest.param(("a", ["DNS:a"], -1), "renew_before: -1 must be a number of days", id="less than no days"),
    ],
)
def test_impossible_wishes(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(CertificateError) as caught:
        parse_wanted(*arguments)
    assert str(caught.value).startswith(message)


def test_a_description_is_read() -> None:
    names = ("DNS:db1", "IP:192.0.2.7", "IP:fd6e:6563:cc::b")
    assert parse_certificate(DESCRIBED) == Certificate("db1", names, NOW, KEY)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(DESCRIBED.replace("notAfter", "notBefore"), id="no end"),
        pytest.param(DESCRIBED.replace("PUBLIC", "PRIVATE"), id="no key"),
    ],
)
def test_what_is_no_description(text: str) -> None:
    with pytest.raises(CertificateError, match="can't be read"):
        parse_certificate(text)


def certificate(**changes: Any) -> Certificate:
    """Describe a certificate with 100 days to go, but for the changes."""
    facts = {"common_name": "db1", "names": WANTED.names, "not_after": NOW + 100 * DAY, "public_key": KEY}
    return Certificate(**{**facts, **changes})


@pytest.mark.parametrize(
    ("present", "is_trusted", "reasons"),
    [
        pytest.param(certificate(), True, (), id="serves"),
        pytest.param(None, True, ("there is none",), id="none"),
        pytest.param(certificate(not_after=NOW + 30 * DAY), True, (), id="exactly the days asked for"),
        pytest.param(certificate(not_after=NOW + 30 * DAY - 1), True, ("it ends in 29 days",), id="a second less"),
        pytest.param(certificate(not_after=NOW - 3 * DAY), True, ("it ended 3 days ago",), id="ended"),
        pytest.param(certificate(public_key="other"), True, ("it belongs to another key",), id="another key"),
        pytest.param(
            certificate(names=("DNS:db1",)),
            True,
            ("it is for db1 DNS:db1, not for db1 DNS:db1 IP:192.0.2.7",),
            id="other names",
        ),
        pytest.param(
            certificate(common_name="old"),
            True,
            ("it is for old DNS:db1 IP:192.0.2.7, not for db1 DNS:db1 IP:192.0.2.7",),
            id="another common name",
        ),
        pytest.param(certificate(), False, ("the environment's authority did not sign it",), id="another authority"),
    ],
)
def test_reasons(present: Certificate | None, is_trusted: bool, reasons: tuple[str, ...]) -> None:
    assert find_reasons(present, WANTED, f"{KEY}\n", NOW, is_trusted) == reasons


def test_without_a_common_name_any_will_do() -> None:
    wanted = parse_wanted("", list(WANTED.names), 30)
    assert find_reasons(certificate(common_name="whatever"), wanted, KEY, NOW, is_trusted=True) == ()


def test_a_request_says_what_is_wanted_and_no_more() -> None:
    config = render_request_config(WANTED)
    assert "subjectAltName = DNS:db1,IP:192.0.2.7\n" in config
    assert "basicConstraints = critical,CA:FALSE\n" in config
