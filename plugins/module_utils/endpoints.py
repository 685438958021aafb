# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Endpoints, the addresses proposed for them and who proposes them; bad input is refused as a whole, before any probe."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    SWITCH,
    Field,
    Problem,
    Report,
    Spot,
    check_entry,
    is_list_of_text,
    is_mapping,
    is_number,
    is_text,
    public_key,
    show,
)

IPAddress: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
IPNetwork: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

PROBES = ("tcp", "tls", "http", "ssh", "postgresql")
SOURCES = ("registry", "inventory", "facts", "cloud")
# Sources that a lookup or the past adds; nobody writes them.
DNS = "dns"
LAST_GOOD = "last_good"
ROLES = ("primary", "replica", "any")
ACCEPTED = ("proven", "reachable")
ALLOWABLE = ("loopback", "link_local", "bridge")
FAMILIES = ("ipv4", "ipv6")
OUTCOMES = ("answered", "no_such_name", "failed")
SYSTEM = "system"

NAME_LIMIT = 253
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
SERVICE = re.compile(r"_[a-z0-9-]+\._(tcp|udp|sctp)\..+")
# IDNA 2003, which Python's codec speaks, turns these into other letters than IDNA 2008 does: another name, another server.
AMBIGUOUS_LETTERS = {
    "ß": "sharp s",
    "ς": "final sigma",
    "\u200c": "zero width non-joiner",
    "\u200d": "zero width joiner",
}
# Fields that mean something to some probes only; given to others, they would seem to prove what nobody looks at.
FIELDS_OF_PROBES = {
    "server_name": ("tls", "http", "postgresql"),
    "ca_file": ("tls", "http", "postgresql"),
    "tls": ("http", "postgresql"),
    "path": ("http",),
    "status": ("http",),
    "identity": ("http",),
    "host_keys": ("ssh",),
    "host_key_alias": ("ssh",),
    "private_key_file": ("ssh",),
    "user": ("ssh", "postgresql"),
    "password": ("postgresql",),
    "database": ("postgresql",),
    "role": ("postgresql",),
}


class EndpointError(Exception):
    """Everything that is wrong with what was asked."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@functools.lru_cache(maxsize=65_536)
def to_ip(text: str) -> IPAddress:
    """An address as a value; of thousands, each is read only once."""
    return ipaddress.ip_address(text)


@dataclass(frozen=True)
class Source:
    """Who proposes an address.

    `order` is the place that the user gave it in the registry or inventory, or the priority of an SRV record.
    """

    kind: str
    order: int | None = None
    age: float | None = None
    interface: str = ""
    server: str = ""

    @property
    def label(self) -> str:
        """What people call it: `registry`, `dns:10.89.77.41`, `facts:docker0`."""
        part = self.server or self.interface
        return f"{self.kind}:{part}" if part else self.kind


@dataclass(frozen=True)
class Candidate:
    """An address, in its one spelling, and port with everybody who proposes it."""

    address: str
    port: int
    sources: tuple[Source, ...] = ()

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(source.kind for source in self.sources)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(source.label for source in self.sources))

    @property
    def ip(self) -> IPAddress:
        return to_ip(self.address)

    @property
    def age(self) -> float | None:
        """Seconds since the youngest of those who propose it knew it; None when one knows it now."""
        ages = [source.age for source in self.sources]
        known = [age for age in ages if age is not None]
        return min(known) if known and len(known) == len(ages) else None

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Endpoint:
    """What is to be reached, how that is proven, and where it may be."""

    name: str
    probe: str
    port: int
    candidates: tuple[Candidate, ...] = ()
    names: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    server_name: str = ""
    tls: bool = True
    ca_file: str = ""
    path: str = "/"
    status: tuple[int, ...] = (200,)
    identity: Mapping[str, Any] = field(default_factory=dict)
    host_keys: tuple[str, ...] = ()
    host_key_alias: str = ""
    user: str = ""
    private_key_file: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    role: str = "any"
    accept: str = "proven"
    allow: frozenset[str] = frozenset()
    prefer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What holds for all endpoints of one call; times in seconds."""

    timeout: float = 4.0
    attempts: int = 3
    parallel: int = 10_000
    max_age: float = 86_400.0
    name_servers: tuple[str, ...] = (SYSTEM,)
    forbidden_networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """What an SRV record says."""

    target: str
    port: int
    priority: int = 0
    weight: int = 0


@dataclass(frozen=True)
class Lookup:
    """What one name server said to one question; `outcome` is one of OUTCOMES, `type` A, AAAA or SRV."""

    server: str
    name: str
    type: str
    outcome: str
    addresses: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class LastGood:
    """The answer that was chosen the last time, and how many seconds ago it was proven."""

    address: str
    port: int
    age: float = 0.0


def index_lookups(lookups: Iterable[Lookup]) -> dict[str, list[Lookup]]:
    """Lookups by the name that was asked for."""
    index: dict[str, list[Lookup]] = {}
    for lookup in lookups:
        index.setdefault(lookup.name, []).append(lookup)
    return index


def lookups_of(endpoint: Endpoint, index: Mapping[str, Sequence[Lookup]]) -> list[Lookup]:
    """The lookups that an endpoint rests on: its names, its services, and the targets of these."""
    services = [lookup for name in endpoint.services for lookup in index.get(name, ()) if lookup.type == "SRV"]
    targets = [service.target for lookup in services for service in lookup.services]
    names = dict.fromkeys((*endpoint.names, *targets))
    return [*services, *(lookup for name in names for lookup in index.get(name, ()) if lookup.type != "SRV")]


def propose(endpoint: Endpoint, lookups: Mapping[str, Sequence[Lookup]], last_good: LastGood | None = None) -> Endpoint:
    """The endpoint with what name servers and the past propose too; the order in which answers came leaves no trace."""
    found: list[Candidate] = []
    for name in endpoint.names:
        found += _answers(lookups.get(name, ()), endpoint.port)
    for name in endpoint.services:
        for lookup in lookups.get(name, ()):
            for service in lookup.services:
                same_server = [item for item in lookups.get(service.target, ()) if item.server == lookup.server]
                found += _answers(same_server, service.port, service.priority)
    found.sort(key=lambda item: (item.ip.version, item.ip.packed, item.port, item.labels, item.sources[0].order or 0))
    if last_good:
        past = Source(LAST_GOOD, age=last_good.age)
        found.append(Candidate(str(to_ip(last_good.address)), last_good.port, (past,)))
    if not found:
        return endpoint
    return replace(endpoint, candidates=merge((*endpoint.candidates, *found)))


def _answers(lookups: Iterable[Lookup], port: int, priority: int | None = None) -> list[Candidate]:
    return [
        Candidate(str(to_ip(address)), port, (Source(DNS, order=priority, server=lookup.server),))
        for lookup in lookups
        for address in lookup.addresses
    ]


def merge(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """One candidate for each address and port, in the order in which they are first named."""
    merged: dict[tuple[str, int], Candidate] = {}
    for item in candidates:
        key = (item.address, item.port)
        known = merged.get(key)
        merged[key] = replace(known, sources=tuple(dict.fromkeys((*known.sources, *item.sources)))) if known else item
    return tuple(merged.values())


def is_port(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 1 <= value <= 65_535


def is_path(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"/[!-~]*", value) is not None


def is_status_list(value: object) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(is_number(item) and item in range(100, 600) for item in value)
    )


def is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def one_of(words: Sequence[str]) -> Field:
    expected = f"one of {', '.join(words)}"
    return Field(lambda value: isinstance(value, str) and value in words, expected, f"write {expected}")


def some_of(words: Sequence[str]) -> Field:
    return Field(
        lambda value: isinstance(value, list) and all(isinstance(item, str) and item in words for item in value),
        f"a list of {', '.join(words)}",
        f"write it as [{words[0]}]",
    )


TEXT = Field(is_text, "text on one line", "put it in quotes")
TEXTS = Field(is_list_of_text, "a list of texts", "write it as [one, two]")
PORT = Field(is_port, "a whole number from 1 to 65535", "write the port on which the service listens")
AGE = Field(is_seconds, "seconds since the source was asked, 0 or more", "write it as 3600")
ANYTHING = Field(lambda value: True, "")  # looked at more closely afterwards
LIST = Field(lambda value: isinstance(value, list), "a list", "write it as [one, two]")

ENDPOINT_FIELDS: dict[str, Field] = {
    "name": replace(TEXT, required=True),
    "probe": replace(one_of(PROBES), required=True),
    "port": replace(PORT, required=True),
    "candidates": Field(
        lambda value: isinstance(value, list), "a list", "write it as [{address: …, source: registry}]"
    ),
    "names": TEXTS,
    "services": TEXTS,
    "server_name": TEXT,
    "tls": SWITCH,
    "ca_file": TEXT,
    "path": Field(is_path, "a path from / on, in ASCII and without spaces", "encode other letters as %XX"),
    "status": Field(is_status_list, "a list of HTTP status codes from 100 to 599", "write it as [200]"),
    "identity": Field(
        lambda value: is_mapping(value) and bool(value),
        "a mapping that is not empty",
        "write it as {deployment: alice}",
    ),
    "host_keys": LIST,
    "host_key_alias": TEXT,
    "user": TEXT,
    "private_key_file": TEXT,
    "password": TEXT,
    "database": TEXT,
    "role": one_of(ROLES),
    "accept": one_of(ACCEPTED),
    "allow": some_of(ALLOWABLE),
    "prefer": TEXTS,
}
CANDIDATE_FIELDS: dict[str, Field] = {
    "address": replace(ANYTHING, expected="an IP address", required=True),
    "source": replace(one_of(SOURCES), required=True),
    "port": PORT,
    "interface": TEXT,
    "age": AGE,
}
SETTINGS_FIELDS: dict[str, Field] = {
    "timeout": Field(
        lambda value: is_seconds(value) and 0 < value <= 300, "seconds above 0, at most 300", "write it as 4.0"
    ),
    "attempts": Field(
        lambda value: is_number(value) and 1 <= value <= 10, "a whole number from 1 to 10", "write it as 3"
    ),
    "parallel": Field(
        lambda value: is_number(value) and 1 <= value <= 100_000, "a whole number from 1 to 100000", "write it as 1000"
    ),
    "max_age": Field(lambda value: is_seconds(value) and value > 0, "seconds above 0", "write it as 86400"),
    "name_servers": TEXTS,
    "forbidden_networks": TEXTS,
}


def parse_endpoints(raw: object) -> list[Endpoint]:
    """The endpoints of one call, or everything that is wrong with them."""
    return parse_request(raw, {})[0]


def parse_settings(raw: Mapping[str, Any]) -> Settings:
    """The settings of one call, or everything that is wrong with them."""
    report = Report()
    settings = _settings(report, raw)
    _refuse(report)
    return settings


def parse_request(raw: object, settings: Mapping[str, Any]) -> tuple[list[Endpoint], Settings]:
    """Endpoints and settings together, or everything that is wrong with either."""
    report = Report()
    parsed = _settings(report, settings)
    endpoints = _endpoints(report, raw, parsed)
    _refuse(report)
    return endpoints, parsed


def _refuse(report: Report) -> None:
    if report.problems:
        raise EndpointError(report.problems)


def _given(entry: object) -> object:
    """Ansible fills in None for what a user left out."""
    return {key: value for key, value in entry.items() if value is not None} if isinstance(entry, dict) else entry


def _settings(report: Report, raw: Mapping[str, Any]) -> Settings:
    spot = Spot(())
    known = {key: value for key, value in raw.items() if key in SETTINGS_FIELDS}
    valid = check_entry(report, spot, _given(known), SETTINGS_FIELDS)
    for server in valid.get("name_servers", []):
        if server != SYSTEM:
            _address(report, spot, "name_servers", server, "write `system` or the server's IP address")
    for network in valid.get("forbidden_networks", []):
        _network(report, spot, "forbidden_networks", network)
    _refuse_repeated(report, spot, "name_servers", valid.get("name_servers", []))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in valid.items()}
    return Settings(**values)


def _endpoints(report: Report, raw: object, settings: Settings) -> list[Endpoint]:
    if not isinstance(raw, list) or not raw:
        report.add(Spot(()), f"endpoints is {show(raw)}", "a list that is not empty", "write it as [{name: …}]")
        return []
    endpoints = [_endpoint(report, index, entry, settings) for index, entry in enumerate(raw)]
    seen: set[str] = set()
    for endpoint in endpoints:
        if endpoint and endpoint.name in seen:
            report.add(
                Spot((), f"endpoint {endpoint.name}"),
                f"name {show(endpoint.name)} is used twice",
                "a name of its own for each endpoint",
                "rename one, or put the candidates of both under one",
            )
        seen.update({endpoint.name} if endpoint else ())
    return [endpoint for endpoint in endpoints if endpoint]


def _endpoint(report: Report, index: int, raw: object, settings: Settings) -> Endpoint | None:
    name = raw.get("name") if isinstance(raw, dict) else None
    spot = Spot((), f"endpoint {name}" if is_text(name) else f"endpoint {index + 1}")
    valid = check_entry(report, spot, _given(raw), ENDPOINT_FIELDS)
    if not isinstance(raw, dict):
        return None
    probe = valid.get("probe", "")
    values: dict[str, Any] = {
        **valid,
        "name": valid.get("name", spot.where),
        "probe": probe,
        "port": valid.get("port", 0),
        "accept": valid.get("accept", "reachable" if probe == "tcp" else "proven"),
        "allow": frozenset(valid.get("allow", ())),
        "prefer": tuple(valid.get("prefer", ())),
        "status": tuple(valid.get("status", (200,))),
        "candidates": _candidates(report, spot, valid.get("candidates", []), valid.get("port")),
        "names": _names(report, spot, "names", valid.get("names", [])),
        "services": _names(report, spot, "services", valid.get("services", [])),
        "host_keys": _host_keys(report, spot, valid.get("host_keys", [])),
    }
    for key in ("server_name", "host_key_alias"):
        values[key] = _name(report, spot, key, valid[key]) or "" if key in valid else ""
    for choice in values["prefer"]:
        if choice not in FAMILIES:
            _network(report, spot, "prefer", choice, " or ipv4 or ipv6")
    # By what was written, valid or not: what is wrong is told once, without what follows from it.
    written = {key: value for key, value in raw.items() if value is not None}
    _check_origin(report, spot, written, settings)
    if probe:
        _check_fields(report, spot, probe, valid)
        _check_provable(report, spot, probe, written)
    return Endpoint(**values)


def _check_origin(report: Report, spot: Spot, given: Mapping[str, Any], settings: Settings) -> None:
    if not any(given.get(key) for key in ("candidates", "names", "services")):
        report.add(
            spot,
            f"candidates is {show(given.get('candidates', []))}, and there are neither names nor services",
            "at least one address, or a name to look up",
            "add candidates, names or services",
        )
    if (given.get("names") or given.get("services")) and not settings.name_servers:
        report.add(
            spot,
            "names are to be looked up, and name_servers is []",
            "at least one name server",
            "write name_servers: [system], or take names and services out",
        )


def _check_fields(report: Report, spot: Spot, probe: str, valid: Mapping[str, Any]) -> None:
    for key, probes in FIELDS_OF_PROBES.items():
        if key in valid and probe not in probes:
            value = "given" if key == "password" else show(valid[key])
            report.add(
                spot,
                f"{key} is {value}, which the probe {probe} does not look at",
                f"{key} only with {' or '.join(probes)}",
                f"take {key} out, or choose another probe",
            )
    if valid.get("tls") is False:
        for key in ("server_name", "ca_file") if probe == "postgresql" else ("ca_file",):
            if key in valid:
                report.add(
                    spot,
                    f"{key} is {show(valid[key])}, and tls is false",
                    f"{key} only where TLS is spoken",
                    f"take {key} out, or write tls: true",
                )


def _check_provable(report: Report, spot: Spot, probe: str, given: Mapping[str, Any]) -> None:
    """What could never be proven is said before anything is probed."""
    if given.get("accept", "reachable" if probe == "tcp" else "proven") != "proven":
        return
    tls = given.get("tls", True) is not False
    named = tls and bool(given.get("server_name"))
    login = bool(given.get("user")) and bool(given.get("password"))
    proofs = {
        "tcp": ("a probe that sees who answers, for a TCP connection proves nobody", False),
        "tls": ("server_name", named),
        "http": ("server_name or identity" if tls else "identity", named or bool(given.get("identity"))),
        "ssh": ("host_keys", bool(given.get("host_keys"))),
        "postgresql": ("server_name, or user and password" if tls else "user and password", named or login),
    }
    proof, is_provable = proofs[probe]
    if not is_provable:
        report.add(
            spot,
            'accept is "proven", and nothing that the endpoint asks for proves who answers',
            proof,
            "add it, or write accept: reachable",
        )
    elif probe == "postgresql" and given.get("role") in ("primary", "replica") and not given.get("user"):
        report.add(
            spot,
            f"role is {show(given['role'])}, and user is missing",
            "a user to log in as, for only then a server says which role it has",
            "add user (and password), or write role: any",
        )


def _candidates(report: Report, spot: Spot, entries: Sequence[object], port: int | None) -> tuple[Candidate, ...]:
    found: list[Candidate] = []
    seen: set[tuple[str, int, str]] = set()
    orders: dict[str, int] = {}
    for index, entry in enumerate(entries):
        place = spot.of(f"candidate {index + 1}")
        valid = check_entry(report, place, _given(entry), CANDIDATE_FIELDS)
        address = _address(report, place, "address", valid["address"]) if "address" in valid else None
        if address is None or "source" not in valid:
            continue
        kind, own_port = valid["source"], valid.get("port", port or 0)
        key = (str(address), own_port, kind)
        if key in seen:
            report.add(
                place,
                f"address {show(str(address))} with port {own_port} is a duplicate: {kind} names it already",
                "each address and port once for each source",
                "take one of them out",
            )
            continue
        seen.add(key)
        order = orders[kind] = orders.get(kind, -1) + 1
        source = Source(
            kind,
            order=order if kind in ("registry", "inventory") else None,
            age=valid.get("age"),
            interface=valid.get("interface", ""),
        )
        found.append(Candidate(str(address), own_port, (source,)))
    return merge(found)


def _address(report: Report, spot: Spot, key: str, value: object, otherwise: str = "") -> IPAddress | None:
    """An address that means the same on every host."""

    def refuse(found: str, remedy: str) -> None:
        report.add(
            spot, f"{key} {show(value)} {found}", "an IPv4 or IPv6 address that means the same everywhere", remedy
        )

    if not isinstance(value, str):
        refuse("is not text", otherwise or 'write it in quotes, such as "192.0.2.10"')
        return None
    if "%" in value:
        refuse("has a zone id, which has a meaning on one host alone", "use an address of another scope")
        return None
    try:
        address = to_ip(value)
    except ValueError:
        refuse("is no IP address", otherwise or "write an address; a name belongs under names, a network nowhere here")
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        refuse("is an IPv4-mapped IPv6 address", f"write {address.ipv4_mapped}")
        return None
    return address


def _network(report: Report, spot: Spot, key: str, value: str, more: str = "") -> None:
    remedy = 'write it as "10.0.0.0/24"'
    try:
        ipaddress.ip_network(value)
    except ValueError:
        with contextlib.suppress(ValueError):
            remedy = f"write {ipaddress.ip_network(value, strict=False)}"
        report.add(spot, f"{key} {show(value)} is no network", f"a network with its first address{more}", remedy)


def _names(report: Report, spot: Spot, key: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names as DNS asks for them, each once."""
    encoded = [(name, _name(report, spot, key, name)) for name in names]
    for name, code in encoded:
        if key == "services" and code and not SERVICE.fullmatch(code):
            report.add(
                spot, f"services {show(name)} is no service", "_service._protocol.name", f"write _https._tcp.{code}"
            )
    kept = [code for _name, code in encoded if code]
    _refuse_repeated(report, spot, key, kept)
    return tuple(dict.fromkeys(kept))


def _refuse_repeated(report: Report, spot: Spot, key: str, values: Sequence[str]) -> None:
    for value in dict.fromkeys(value for value in values if values.count(value) > 1):
        report.add(spot, f"{key} {show(value)} is a duplicate", "each one once", "take one of them out")


def _name(report: Report, spot: Spot, key: str, value: str) -> str | None:
    """A name in DNS's own letters (IDNA 2003, as Python's standard library knows it), lower case, without a last dot."""

    def refuse(found: str, expected: str, remedy: str) -> None:
        report.add(spot, f"{key} {show(value)} {found}", expected, remedy)

    bare = value.removesuffix(".")
    letters = [name for letter, name in AMBIGUOUS_LETTERS.items() if letter in bare]
    if letters:
        refuse(
            f"holds a {letters[0]}, for which the two editions of IDNA look up different names",
            "a name that means one thing",
            "write it in its encoded form, xn--…",
        )
        return None
    try:
        labels = [_encode_label(label) for label in bare.split(".")]
    except UnicodeError as error:
        refuse(f"is no valid internationalised name ({error})", "a name that IDNA can encode", "correct its spelling")
        return None
    encoded = ".".join(labels)
    if len(encoded) > NAME_LIMIT:
        refuse(f"has {len(encoded)} octets", f"a name of at most {NAME_LIMIT} octets", "shorten it")
        return None
    broken = [label for label in labels if not LABEL.fullmatch(label)]
    if broken:
        refuse(
            f"has the label {show(broken[0])}",
            "labels of 1 to 63 letters, digits and inner hyphens",
            "correct its spelling",
        )
        return None
    return encoded


def _encode_label(label: str) -> str:
    """One label in ASCII; what claims to be encoded already must decode."""
    lower = label.lower()
    if lower.startswith("xn--"):
        # IDNA 2003 can't decode what only IDNA 2008 allows (a sharp s): its punycode must be sound, no more.
        lower.removeprefix("xn--").encode("ascii").decode("punycode")
        return lower
    return lower if lower.isascii() else lower.encode("idna").decode("ascii")


def _host_keys(report: Report, spot: Spot, lines: Sequence[object]) -> tuple[str, ...]:
    keys: dict[str, None] = {}
    for line in lines:
        key = public_key(line)
        if key is None:
            report.add(
                spot,
                f"host_keys {show(line)} is no public key",
                "a public key such as `ssh-ed25519 AAAA…`",
                "copy the whole line of the server's /etc/ssh/ssh_host_*_key.pub",
            )
        else:
            keys[key] = None
    return tuple(keys)
