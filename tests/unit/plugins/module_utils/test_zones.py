"""From an environment to the text of its zones."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.zones import (
    Record,
    ZoneError,
    environment_records,
    layer,
    render_zone,
    server_addresses,
    zone_files,
)

BOTH = ["192.0.2.21", "2001:db8::21"]
SERVER = {"name": "app1", "bind": BOTH, "advertise": BOTH[0]}
ALICE = {"server_name": "alice.example.org"}


def zone(**fields: Any) -> dict[str, Any]:
    """A zone with one record, and what else is asked for."""
    records = [{"name": "app1", "type": "A", "value": "192.0.2.21"}]
    whole = {"name": "example.org", "records": records, "extra_records": [], "name_servers": ["app1.example.org"]}
    return {**whole, "ttl": 60, **fields}


def lines(found: list[dict[str, str]]) -> list[str]:
    return [f"{record['name']} {record['type']} {record['value']}" for record in found]


@pytest.mark.parametrize(
    ("servers", "deployments", "door", "expected"),
    [
        pytest.param([SERVER], [], [], ["app1 A 192.0.2.21", "app1 AAAA 2001:db8::21"], id="a server, by family"),
        pytest.param(
            [{**SERVER, "advertise": "198.51.100.1"}],
            [],
            [],
            ["app1 A 198.51.100.1"],
            id="a server that says another address",
        ),
        pytest.param(
            [],
            [ALICE],
            ["192.0.2.10"],
            ["alice A 192.0.2.10", "_https._tcp.alice SRV 0 0 443 alice.example.org."],
            id="a deployment is where HTTPS is served",
        ),
        pytest.param(
            [], [{"server_name": "shop.example.com"}], ["192.0.2.10"], [], id="somebody else's domain is left out"
        ),
        pytest.param([], [{"server_name": "notexample.org"}], ["192.0.2.10"], [], id="an ending alone is no domain"),
        pytest.param(
            [],
            [{"server_name": "example.org"}],
            ["2001:db8::10"],
            ["@ AAAA 2001:db8::10", "_https._tcp SRV 0 0 443 example.org."],
            id="the domain itself",
        ),
        pytest.param(
            [],
            [{"server_name": "a.b.example.org"}],
            ["192.0.2.10"],
            ["a.b A 192.0.2.10", "_https._tcp.a.b SRV 0 0 443 a.b.example.org."],
            id="a name of several labels",
        ),
    ],
)
def test_records(servers: list[Any], deployments: list[Any], door: list[str], expected: list[str]) -> None:
    assert lines(environment_records("example.org", servers, deployments, door)) == expected


def test_a_server_is_found_where_it_listens() -> None:
    assert server_addresses(SERVER) == BOTH


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        pytest.param([], ["a A 192.0.2.1", "a AAAA 2001:db8::1"], id="nothing on top"),
        pytest.param(
            [(Record("a", "A", "192.0.2.2"), False)],
            ["a A 192.0.2.1", "a AAAA 2001:db8::1", "a A 192.0.2.2"],
            id="beside",
        ),
        pytest.param(
            [(Record("a", "A", "192.0.2.2"), True)], ["a AAAA 2001:db8::1", "a A 192.0.2.2"], id="in place of its type"
        ),
        pytest.param(
            [(Record("a", "A", "192.0.2.1"), False)], ["a A 192.0.2.1", "a AAAA 2001:db8::1"], id="once, if the same"
        ),
    ],
)
def test_layers(extra: list[tuple[Record, bool]], expected: list[str]) -> None:
    below = [Record("a", "A", "192.0.2.1"), Record("a", "AAAA", "2001:db8::1")]
    assert [record.line for record in layer(below, extra)] == expected


def serial(text: str) -> int:
    found = re.search(r"SOA \S+ \S+ (\d+) ", text)
    assert found
    return int(found.group(1))


def test_the_serial_changes_with_the_content_alone() -> None:
    one, same, other = (
        serial(render_zone("example.org", ["ns.example.org"], 60, [Record("ns", "A", address)]))
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")
    )
    assert one == same != other
    assert 0 < one < 2**31


def test_a_zone_is_complete() -> None:
    (file,) = zone_files(zone(), "/zones")
    assert file["path"] == "/zones/example.org.zone"
    assert file["validate"] == "named-checkzone -q example.org %s"
    assert re.sub(r" \d{2,10} 3600", " SERIAL 3600", file["content"]).splitlines() == [
        "$ORIGIN example.org.",
        "$TTL 60",
        "@ SOA app1.example.org. hostmaster.example.org. SERIAL 3600 600 604800 60",
        "@ NS app1.example.org.",
        "app1 A 192.0.2.21",
    ]


def test_views_and_further_zones_have_files_of_their_own() -> None:
    files = zone_files(
        zone(extra_records=[{"name": "b", "type": "A", "value": "192.0.2.3"}]),
        "/zones",
        [
            {"name": "other.test", "records": [{"name": "@", "type": "A", "value": "192.0.2.4"}]},
            {"name": "fetched.test", "primaries": ["192.0.2.5"]},
        ],
        [
            {
                "name": "inside",
                "clients": ["192.0.2.0/24"],
                "records": [{"name": "app1", "type": "A", "value": "192.0.2.9", "replace": True}],
            }
        ],
    )
    contents = {file["path"]: file["content"].splitlines()[4:] for file in files}
    assert contents == {
        "/zones/example.org.zone": ["app1 A 192.0.2.21", "b A 192.0.2.3"],
        "/zones/example.org.inside.zone": ["b A 192.0.2.3", "app1 A 192.0.2.9"],
        "/zones/other.test.zone": ["@ A 192.0.2.4"],
    }


@pytest.mark.parametrize(
    ("fields", "zones", "views", "expected"),
    [
        pytest.param(
            {"name": "Example"}, [], [], "name_server_zone: 'Example'; expected a DNS name", id="a zone's name"
        ),
        pytest.param({"name": "a." * 130 + "b"}, [], [], "expected a DNS name", id="a name that is too long"),
        pytest.param({"name_servers": []}, [], [], "name_server_names is empty", id="no name server"),
        pytest.param(
            {"records": [{"name": "a"}]},
            [],
            [],
            "name_server_records: record 1 has name; expected name, type",
            id="half a record",
        ),
        pytest.param(
            {"extra_records": [{"name": "a b", "type": "A", "value": "192.0.2.1"}]},
            [],
            [],
            "name_server_extra_records: record 1: name 'a b'",
            id="a record's name",
        ),
        pytest.param(
            {"records": [{"name": "a", "type": "HINFO", "value": "x"}]},
            [],
            [],
            "type 'HINFO'; expected one of A,",
            id="a type",
        ),
        pytest.param(
            {"records": [{"name": "a", "type": "A", "value": "::1"}]},
            [],
            [],
            "value '::1' of a; expected an address for A",
            id="a family",
        ),
        pytest.param(
            {"records": [{"name": "a", "type": "TXT", "value": "x\ny A 1"}]},
            [],
            [],
            "expected one line of text",
            id="two lines",
        ),
        pytest.param(
            {}, [{"name": "example.org", "records": []}], [], "the zone example.org is there already", id="a zone twice"
        ),
        pytest.param(
            {}, [{"name": "b.test"}], [], "either records or primaries in the zone b.test", id="a zone of nothing"
        ),
        pytest.param(
            {}, [{"nome": "b.test"}], [], "name_server_zones: entry 1 has nome; expected name", id="an unknown field"
        ),
        pytest.param(
            {}, [], [{"name": "inside"}], "name_server_views: inside: clients is empty", id="a view for nobody"
        ),
        pytest.param(
            {},
            [],
            [{"name": "everyone", "clients": ["any"]}],
            "expected a label other than everyone",
            id="a view's name",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(
    fields: dict[str, Any], zones: list[Any], views: list[Any], expected: str
) -> None:
    with pytest.raises(ZoneError) as error:
        zone_files(zone(**fields), "/zones", zones, views)
    assert expected in str(error.value)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ZoneError) as error:
        zone_files(zone(name="Bad", name_servers=[]), "/zones", [{}], [{}])
    assert all(
        name in str(error.value)
        for name in ("name_server_zone", "name_server_names", "name_server_zones", "name_server_views")
    )
