# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An environment's names as DNS records, and zones as the text of their files.

A zone's serial is a digest of its content: it changes when the content does, and never by the clock. No other server reads these zones by
transfer, so nobody needs it to grow.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT")
FAMILIES = {4: "A", 6: "AAAA"}
NAME = re.compile(r"@|(?:\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
ZONE = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
LONGEST = 253
HTTPS_PORT = 443
RECORD_FIELDS = frozenset({"name", "type", "value", "replace"})


class ZoneError(ValueError):
    """Zones that can't be written; names every problem with its field, value and remedy."""


@dataclass(frozen=True)
class Record:
    """One record, named as in its zone's file."""

    name: str
    type: str
    value: str

    @property
    def line(self) -> str:
        return f"{self.name} {self.type} {self.value}"


def environment_records(
    domain: str,
    servers: Iterable[Mapping[str, Any]],
    deployments: Iterable[Mapping[str, Any]],
    door: Sequence[str],
) -> list[dict[str, str]]:
    """The records of an environment: every server, and every deployment at the door, which is where HTTPS is served.

    A deployment that is served under a name outside of the domain is left to whoever owns that name.
    """
    records = [record for server in servers for record in _addresses(str(server["name"]), server_addresses(server))]
    for deployment in deployments:
        full = str(deployment["server_name"])
        if full == domain or full.endswith(f".{domain}"):
            name = "@" if full == domain else full.removesuffix(f".{domain}")
            records += _addresses(name, door)
            service = "_https._tcp" if name == "@" else f"_https._tcp.{name}"
            records.append(Record(service, "SRV", f"0 0 {HTTPS_PORT} {full}."))
    return [{"name": record.name, "type": record.type, "value": record.value} for record in records]


def server_addresses(server: Mapping[str, Any]) -> list[str]:
    """Where other servers reach it: what it listens on, or the one address that it advertises instead."""
    bind, advertise = list(server["bind"]), str(server["advertise"])
    return bind if advertise in bind else [advertise]


def _addresses(name: str, addresses: Iterable[str]) -> list[Record]:
    return [Record(name, FAMILIES[ipaddress.ip_address(address).version], address) for address in addresses]


def zone_files(
    zone: Mapping[str, Any],
    directory: str,
    zones: Sequence[Mapping[str, Any]] = (),
    views: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, str]]:
    """The files of the environment's zone, of each view of it, and of further zones; each is judged before it lands.

    `zone` has name, records, extra_records, name_servers and ttl.
    """
    problems: list[str] = []
    _check_name_servers(problems, zone)
    name = _check_zone_name(problems, "name_server_zone", zone["name"])
    derived = _read_records(problems, "name_server_records", zone["records"])
    everyone = layer(derived, _read_layer(problems, "name_server_extra_records", zone["extra_records"]))
    contents = {(name, name): everyone}
    for place, entry in _named(problems, "name_server_views", views, {"name", "clients", "records"}):
        if not LABEL.fullmatch(str(entry["name"])) or entry["name"] == "everyone":
            problems.append(f"{place}: name {entry['name']!r}; expected a label other than everyone; rename the view")
        if not entry.get("clients"):
            problems.append(f"{place}: clients is empty; expected addresses or networks; say who sees this view")
        own = _read_layer(problems, place, entry.get("records", ()))
        contents[(f"{name}.{entry['name']}", name)] = layer(everyone, own)
    for place, entry in _named(problems, "name_server_zones", zones, {"name", "records", "primaries"}):
        other = _check_zone_name(problems, place, entry["name"])
        if (other, other) in contents:
            problems.append(f"{place}: the zone {other} is there already; expected each zone once; take one out")
        if ("primaries" in entry) == ("records" in entry):
            problems.append(f"{place}: expected either records or primaries in the zone {other}; keep one of the two")
        elif "records" in entry:
            contents[(other, other)] = layer([], _read_layer(problems, place, entry["records"]))
    if problems:
        raise ZoneError("; ".join(problems))
    return [
        {
            "path": f"{directory}/{file}.zone",
            "content": render_zone(origin, zone["name_servers"], zone["ttl"], records),
            "validate": f"named-checkzone -q {origin} %s",
        }
        for (file, origin), records in contents.items()
    ]


def layer(records: Sequence[Record], extra: Sequence[tuple[Record, bool]]) -> list[Record]:
    """Records with others on top; one that replaces takes the place of those of its name and type."""
    gone = {(record.name, record.type) for record, replaces in extra if replaces}
    kept = [record for record in records if (record.name, record.type) not in gone]
    return list(dict.fromkeys([*kept, *(record for record, _replaces in extra)]))


def render_zone(origin: str, name_servers: Sequence[str], ttl: int, records: Sequence[Record]) -> str:
    """A zone's file; the same content always has the same serial."""
    body = "".join(f"@ NS {name}.\n" for name in name_servers) + "".join(f"{record.line}\n" for record in records)
    digest = hashlib.sha256(f"{origin} {ttl}\n{body}".encode()).digest()
    serial = int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1
    start = f"@ SOA {name_servers[0]}. hostmaster.{origin}. {serial} 3600 600 604800 {ttl}\n"
    return f"$ORIGIN {origin}.\n$TTL {ttl}\n{start}{body}"


def _check_name_servers(problems: list[str], zone: Mapping[str, Any]) -> None:
    if not zone["name_servers"]:
        problems.append("name_server_names is empty; expected full names of name servers; name at least this host")
    for name in zone["name_servers"]:
        _check_zone_name(problems, "name_server_names", name)


def _check_zone_name(problems: list[str], place: str, name: object) -> str:
    if not isinstance(name, str) or len(name) > LONGEST or not ZONE.fullmatch(name):
        problems.append(
            f"{place}: {name!r}; expected a DNS name such as example.org; use a-z, 0-9, inner hyphens, dots"
        )
    return str(name)


def _named(
    problems: list[str], place: str, entries: Sequence[Mapping[str, Any]], fields: set[str]
) -> list[tuple[str, Mapping[str, Any]]]:
    """The entries that have a name and only known fields, each with its place for messages."""
    found = []
    for number, entry in enumerate(entries, start=1):
        if "name" not in entry or not fields.issuperset(entry):
            wanted = ", ".join(sorted(fields))
            problems.append(f"{place}: entry {number} has {', '.join(entry)}; expected name, of {wanted}; correct it")
        else:
            found.append((f"{place}: {entry['name']}", entry))
    return found


def _read_records(problems: list[str], place: str, entries: Sequence[Mapping[str, Any]]) -> list[Record]:
    return [record for record, _replaces in _read_layer(problems, place, entries)]


def _read_layer(problems: list[str], place: str, entries: Sequence[Mapping[str, Any]]) -> list[tuple[Record, bool]]:
    records = []
    for number, entry in enumerate(entries, start=1):
        where = f"{place}: record {number}"
        if not RECORD_FIELDS.issuperset(entry) or not {"name", "type", "value"}.issubset(entry):
            problems.append(
                f"{where} has {', '.join(entry)}; expected name, type, value and at most replace; correct it"
            )
            continue
        record = Record(str(entry["name"]), str(entry["type"]), str(entry["value"]))
        problems += [f"{where}: {problem}" for problem in find_problems(record)]
        records.append((record, bool(entry.get("replace", False))))
    return records


def find_problems(record: Record) -> list[str]:
    """What keeps a record from being written."""
    problems = []
    if len(record.name) > LONGEST or not NAME.fullmatch(record.name):
        problems.append(f"name {record.name!r}; expected a name as in a zone's file, or @; use a-z, 0-9, - and dots")
    if record.type not in TYPES:
        problems.append(f"type {record.type!r}; expected one of {', '.join(TYPES)}; write it in capitals")
    if not record.value or any(not character.isprintable() for character in record.value):
        problems.append(f"value {record.value!r}; expected one line of text; correct it")
    elif record.type in FAMILIES.values() and not _is_address(record):
        problems.append(f"value {record.value!r} of {record.name}; expected an address for {record.type}; correct it")
    return problems


def _is_address(record: Record) -> bool:
    try:
        return FAMILIES[ipaddress.ip_address(record.value).version] == record.type
    except ValueError:
        return False
