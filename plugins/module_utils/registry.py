# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The member registry: from short entries to every name, number, port, user, database and URL.

Plain data goes in, plain data or one RegistryError with every problem comes out; no file is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.budget import Server as BudgetServer
from ansible_collections.nectar.backend.plugins.module_utils.budget import Settings
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import MOST_INDEXES, check_indexes
from ansible_collections.nectar.backend.plugins.module_utils.registry_applications import (
    COUNT,
    read_applications,
    read_environment,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_budget import (
    budget_of,
    read_settings,
    server_of,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    DNS_LABEL,
    MAPPING,
    NUMBER,
    SWITCH,
    TEXT,
    TEXTS,
    Field,
    RegistryError,
    Report,
    Spot,
    broken_rules,
    check_entry,
    check_keys,
    check_section,
    clean_label,
    is_dns_name,
    is_identifier,
    is_number,
    normalise,
    show,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_rollout import (
    ROLLOUT,
    merge_rollout,
    read_rollout,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_servers import Known, Server, ServerReader

SERVER_SECTIONS = ("network_ipv4", "network_ipv6", "virtual_addresses", "extra_groups", "servers", "host_keys_file")
MEMBER_SECTIONS = (
    "environment",
    "domain",
    "budget",
    "applications",
    "defaults",
    "deployments",
    "members",
    "retired",
    "member_keys_file",
)
SECTIONS = (*SERVER_SECTIONS, *MEMBER_SECTIONS)
# What a further source may add once members and deployments have been read.
ADDED_SECTIONS = ("applications", "defaults", "deployments")
# What those that have been read became, and a further source has to fit in with.
COMMON_VARIABLES = (
    "environment_name",
    "domain",
    "applications",
    "members",
    "deployments",
    "retired",
    "budget_settings",
)

HIGHEST_NUMBER = 10_999
FIRST_PORT = 10_000  # ports 10002 to 31999: above the services' own, below the ephemeral range
LAST_PORT = 32_767
DEPLOYMENT_UID = 30_000  # 30001 to 40999
LOGIN_UID = 41_000  # 41001 to 51999
SLOTS = ("blue", "green")

RESERVED_WORDS = """
    all ungrouped localhost nectar primary none public postgres template0 template1 replication pgbouncer patroni haproxy etcd
    root admin www mail blue green
"""
RESERVED = frozenset(RESERVED_WORDS.split())
# Accounts that Debian and the services bring along: a member logs in under their own name.
SYSTEM_WORDS = """
    daemon bin sys sync games man lp news uucp proxy backup list irc nobody sshd messagebus debian sudo adm staff users ssh
    operator keepalived prometheus polkitd tcpdump dnsmasq unbound chrony ntp ftp www-data
"""
SYSTEM_USERS = frozenset(SYSTEM_WORDS.split())


def _is_ports(value: object) -> bool:
    return isinstance(value, dict) and set(value) == set(SLOTS) and all(is_number(port) for port in value.values())


DEPLOYMENT_FIELDS = {
    "number": NUMBER,
    "application": TEXT,
    "servers": TEXTS,
    "environment": MAPPING,
    "workers": COUNT,
    "rollout": ROLLOUT,
    "indexes": Field(
        lambda value: isinstance(value, list) and len(value) <= MOST_INDEXES,
        f"a list of at most {MOST_INDEXES} indexes",
        "write it as [{table: orders, columns: [customer_id]}]",
    ),
    "server_name": Field(is_dns_name, "a DNS name in lower case", "write it as app.example.org"),
    "database": Field(
        is_identifier,
        "a PostgreSQL identifier (a-z, 0-9 and _, from a letter, at most 63 bytes)",
        "shorten or rename it",
    ),
    "ports": Field(
        _is_ports, "a port for each slot", "write it as {blue: 20000, green: 20001}, or leave it to the number"
    ),
}
MEMBER_FIELDS = {**DEPLOYMENT_FIELDS, "full_name": TEXT, "login": TEXT, "admin": SWITCH, "keys": TEXTS}
DEFAULT_FIELDS = {name: DEPLOYMENT_FIELDS[name] for name in ("application", "servers", "environment", "rollout")}


@dataclass(frozen=True)
class Registry:
    """What one source adds to the inventory."""

    servers: list[Server]
    groups: tuple[str, ...]
    variables: dict[str, Any]
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What the registry's file does not hold itself."""

    known: Known = field(default_factory=Known)
    host_keys: Mapping[str, Any] = field(default_factory=dict)
    member_keys: Mapping[str, Any] = field(default_factory=dict)
    options: Collection[str] = ()
    absolute: Callable[[str], str] = str


def read_registry(data: Any, around: Surroundings) -> Registry:
    """Check and derive one source; raise RegistryError with every problem."""
    report = Report()
    if not isinstance(data, dict):
        report.add(Spot(()), f"the registry is {show(data)}", "a mapping of sections", "see docs/registry.md")
        report.raise_problems()
    _refuse_unknown_sections(report, data, around.options)
    server_reader = ServerReader(report, data, around.host_keys, around.known)
    servers = server_reader.read()
    variables: dict[str, Any] = {}
    if server_reader.virtual_addresses or not around.known.virtual_addresses:
        variables["virtual_addresses"] = server_reader.virtual_addresses
    deployments = {}
    if any(data.get(name) is not None for name in MEMBER_SECTIONS):
        reader = MemberReader(report, data, around, servers)
        variables.update(reader.read())
        deployments = reader.deployments
        budget = budget_of(
            report, reader.settings, _all_servers(servers, around.known), variables, [s.name for s in servers]
        )
        variables["budget"] = budget.figures
        for name, share in budget.shares.items():
            deployments[name]["share"] = share
    elif not servers:
        report.add(
            Spot(()),
            "the registry has neither servers nor members",
            "at least one of these sections",
            "see docs/registry.md",
        )
    report.raise_problems()
    return Registry(servers, tuple(server_reader.extra_groups), variables, deployments)


def _all_servers(servers: Iterable[Server], known: Known) -> Iterator[BudgetServer]:
    """The servers of this source and of earlier ones, as the budget sees them."""
    groups: dict[str, list[str]] = {}
    for group, hosts in known.groups.items():
        for host in hosts:
            groups.setdefault(host, []).append(group)
    yield from (server_of(host, found, known.servers.get(host, {})) for host, found in groups.items())
    yield from (server_of(server.name, server.groups, server.variables) for server in servers)


def _refuse_unknown_sections(report: Report, data: Mapping[Any, Any], options: Collection[str]) -> None:
    known = (*SECTIONS, *options)
    for name in data:
        if name not in known:
            report.add(
                Spot((name,)),
                f"the unknown section {show(name)}",
                f"one of {', '.join(SECTIONS)}",
                report.suggest(name, known, "take it out"),
            )


class MemberReader:
    """Check and derive members, team deployments and tombstones."""

    def __init__(
        self, report: Report, data: Mapping[str, Any], around: Surroundings, servers: Iterable[Server]
    ) -> None:
        self.report = report
        self.around = around
        self.once = [name for name in MEMBER_SECTIONS if name not in ADDED_SECTIONS and name in data]
        self.earlier: Mapping[str, Any] = {} if self.once else around.known.common
        self.environment = self.earlier.get("environment_name") or self._label(data, "environment", is_label=True)
        self.domain = self.earlier.get("domain") or self._label(data, "domain", is_label=False)
        self.team = check_section(report, data, "deployments")
        self.people = check_section(report, data, "members")
        self.retired = check_section(report, data, "retired")
        self.applications = self._applications(data)
        self.app_servers = [
            *around.known.groups.get("app_servers", ()),
            *(item.name for item in servers if "app_servers" in item.groups),
        ]
        self.can_serve = frozenset(self.app_servers)
        self.servers = {*around.known.hosts, *(item.name for item in servers)}
        self.numbers: dict[int, str] = {}
        self.names: dict[str, str] = {normalise(name): f"server {name}" for name in self.servers}
        self.databases: dict[str, str] = {}
        self.ports: dict[int, str] = {}
        self.server_names = self._host_names()
        self.logins: dict[str, str] = {}
        self.login_keys: dict[str, str] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.defaults = self._defaults(data)
        self._claim_earlier()
        self.settings = Settings(**self.earlier["budget_settings"]) if self.earlier else read_settings(report, data)

    def read(self) -> dict[str, Any]:
        """The variables of the whole environment."""
        if self.around.known.common and self.once:
            self.report.add(
                Spot((self.once[0],)),
                "an earlier source has members and deployments",
                f"only {', '.join(ADDED_SECTIONS)} in a further one",
                f"move {', '.join(self.once)} into the earlier one",
            )
        if not self.app_servers and (self.team or self.people):
            self._refuse_without_servers()
        retired = self._read_retired()
        for name, entry in self.team.items():
            self._deployment(Spot(("deployments", name), f"deployment {name}"), name, entry, None)
        if self.earlier:
            self.deployments = {**self.earlier["deployments"], **self.deployments}
            return {"applications": self.applications, "deployments": self.deployments}
        members = [self._member(name, entry) for name, entry in self.people.items()]
        return {
            "environment_name": self.environment,
            "domain": self.domain,
            "primary_name": self._primary_name(),
            "applications": self.applications,
            "members": {member["name"]: member for member in members},
            "deployments": self.deployments,
            "retired": retired,
            "budget_settings": asdict(self.settings),
        }

    def _applications(self, data: Mapping[str, Any]) -> dict[str, Any]:
        earlier = self.earlier.get("applications", {})
        own = read_applications(self.report, data, self.around.absolute)
        for name in own.keys() & earlier.keys():
            spot = Spot(("applications", name), f"application {name}")
            self.report.add(spot, "an earlier source has an application of this name", "each name once", "rename it")
        return {**earlier, **own}

    def _claim_earlier(self) -> None:
        """Keep what earlier sources gave away from being given again."""
        for name, entry in self.earlier.get("retired", {}).items():
            self.numbers[entry["number"]] = self.names[normalise(name)] = f"retired {name}"
        for name, entry in self.earlier.get("deployments", {}).items():
            owner = f"{'member' if entry['member'] else 'deployment'} {name} of an earlier source"
            self.numbers[entry["number"]] = self.names[normalise(name)] = owner
            self.databases[entry["database"]] = self.server_names[entry["server_name"]] = owner
            self.ports.update((port, f"{owner} ({slot})") for slot, port in entry["ports"].items())

    def _label(self, data: Mapping[str, Any], name: str, *, is_label: bool) -> str:
        value = data.get(name)
        expected = "a DNS label such as lab" if is_label else "a DNS name such as nectar.test"
        if value is None:
            self.report.add(Spot((name,)), f"{name} is missing", expected, f"add {name}")
        elif not isinstance(value, str) or not (DNS_LABEL.fullmatch(value) if is_label else is_dns_name(value)):
            self.report.add(Spot((name,)), f"{name} is {show(value)}", expected, "use a-z, 0-9 and inner hyphens")
        return str(value)

    def _primary_name(self) -> str:
        return f"primary.{self.environment}.{self.domain}"

    def _host_names(self) -> dict[str, str]:
        names = {f"{name}.{self.domain}": f"server {name}" for name in self.servers}
        return names | {self._primary_name(): "the primary database"}

    def _refuse_without_servers(self) -> None:
        section = "members" if self.people else "deployments"
        found = f"{len(self.people)} of members and {len(self.team)} of deployments have no server to run on"
        remedy = "name the servers' source before this one, as in `-i inventories/lab/ha -i inventories/lab/members.yml`, or add a section servers"
        self.report.add(Spot((section,)), found, "at least one server in the group app_servers", remedy)

    def _defaults(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if data.get("defaults") is None:
            return {"environment": {}, "rollout": {}}
        spot = Spot(("defaults",), "defaults")
        fields = check_entry(self.report, spot, data["defaults"], DEFAULT_FIELDS)
        fields["environment"] = read_environment(
            self.report, spot.at("environment"), fields.get("environment", {}), None
        )
        fields["rollout"] = read_rollout(self.report, spot, fields)
        if "application" in fields:
            self._check_application(spot.at("application"), fields["application"])
        if "servers" in fields:
            fields["servers"] = self._check_servers(spot.at("servers"), fields["servers"])
        return fields

    # Names and numbers

    def _check_name(self, spot: Spot, name: object, kind: str) -> bool:
        """Whether the name is still free; a taken one takes its database and server name along."""
        broken = broken_rules(name)
        if broken:
            self.report.add(spot, f"name {show(name)}", "; ".join(broken), f"call it {clean_label(name)}")
        normal = normalise(str(name))
        if (
            normal in RESERVED
            or (kind == "member" and str(name) in SYSTEM_USERS)
            or normal == normalise(self.environment)
        ):
            self.report.add(
                spot, f"name {name} is reserved", "a name that nothing else uses", f"call it {clean_label(name)}-1"
            )
        return self._claim_name(spot, normal, f"{kind} {name}")

    def _claim_name(self, spot: Spot, normal: str, owner: str) -> bool:
        holder = self.names.setdefault(normal, owner)
        if holder != owner:
            remedy = (
                "move the tombstone's line back, with its number"
                if holder.startswith("retired")
                else "rename one of the two"
            )
            self.report.add(
                spot,
                f"{owner} and {holder} are the same name once written for DNS and PostgreSQL",
                "each name once",
                remedy,
            )
        return holder == owner

    def _number(self, spot: Spot, entry: object, fields: Mapping[str, Any], section: Mapping[Any, Any]) -> int:
        """The entry's number, or 0 once it is refused."""
        written = isinstance(entry, dict) and "number" in entry
        if not written:
            self._refuse_number(spot, "number is missing", section, "add number: ")
            return 0
        if "number" not in fields:
            return 0  # mistyped, and reported as that
        number = int(fields["number"])
        if not 1 <= number <= HIGHEST_NUMBER:
            self._refuse_number(spot.at("number"), f"number is {number}", section)
        elif number in self.numbers:
            self._refuse_number(spot.at("number"), f"number {number} belongs to {self.numbers[number]}", section)
        else:
            self.numbers[number] = spot.where
            return number
        return 0

    def _refuse_number(self, spot: Spot, found: str, section: Mapping[Any, Any], verb: str = "use ") -> None:
        expected = f"a number of its own for life, from 1 to {HIGHEST_NUMBER}"
        self.report.add(spot, found, expected, f"{verb}{self._next_number(section)}, the next free one")

    def _next_number(self, section: Mapping[Any, Any]) -> int:
        """One above the section's own: a gap below may be a number that was once given. Each call offers another."""
        taken = {
            number for entries in (self.team, self.people, self.retired) for number in _written_numbers(entries)
        } | set(self.numbers)
        number = max(_written_numbers(section), default=0) + 1
        while number in taken:
            number += 1
        if number > HIGHEST_NUMBER:
            number = next((free for free in range(1, HIGHEST_NUMBER + 1) if free not in taken), HIGHEST_NUMBER)
        self.numbers[number] = "an entry above that needs one"
        return number

    def _read_retired(self) -> dict[str, dict[str, Any]]:
        """What was derived from each tombstone while it lived, by which its remains are found."""
        retired = {}
        for name, entry in self.retired.items():
            spot = Spot(("retired", name), f"retired {name}")
            full = {"number": entry} if is_number(entry) else entry
            fields = check_entry(self.report, spot, full, MEMBER_FIELDS)
            number = self._number(spot, full, fields, self.retired)
            self._claim_name(spot, normalise(str(name)), f"retired {name}")
            retired[str(name)] = {
                **_remains(str(name), number, fields),
                "login": fields.get("login", str(name)),
                "login_uid": LOGIN_UID + number,
            }
        return retired

    # Members and deployments

    def _member(self, name: object, entry: object) -> dict[str, Any]:
        spot = Spot(("members", name), f"member {name}")
        fields = self._deployment(spot, name, entry, str(name))
        keys = [
            *self._login_keys(spot.at("keys"), fields.get("keys", [])),
            *self._login_keys(spot, self.around.member_keys.get(str(name)) or []),
        ]
        number = self.deployments[str(name)]["number"]
        login = fields.get("login", str(name))
        self._check_login(spot, login, is_own="login" in fields)
        return {
            "name": str(name),
            "number": number,
            "full_name": fields.get("full_name", str(name)),
            "admin": fields.get("admin", True),
            "keys": list(dict.fromkeys(keys)),
            "user": login,
            "uid": LOGIN_UID + number,
            "deployment": str(name),
        }

    def _check_login(self, spot: Spot, login: str, *, is_own: bool) -> None:
        """Refuse a login that no account can have, or that is another's; a name that serves as one is checked as a name."""
        at = spot.at("login")
        if is_own and broken_rules(login):
            self.report.add(at, f"login {show(login)}", "; ".join(broken_rules(login)), f"write {clean_label(login)}")
        elif is_own and login in RESERVED | SYSTEM_USERS:
            self.report.add(at, f"login {login} is reserved", "a name that nothing else uses", f"write {login}-1")
        self._claim(at if is_own else spot, self.logins, login, "login")

    def _login_keys(self, spot: Spot, lines: list[object]) -> list[str]:
        keys = check_keys(self.report, spot, lines)
        for key in keys:
            holder = self.login_keys.setdefault(key, spot.where)
            if holder != spot.where:
                self.report.add(
                    spot,
                    f"key {show(key)} is also {holder}'s",
                    "a key of one person",
                    "have each make a key of their own",
                )
        return keys

    def _deployment(self, spot: Spot, name: object, entry: object, member: str | None) -> dict[str, Any]:
        """Check an entry and derive its deployment; answer the entry's valid fields."""
        free = self._check_name(spot, name, "deployment" if member is None else "member")
        fields = check_entry(self.report, spot, entry, DEPLOYMENT_FIELDS if member is None else MEMBER_FIELDS)
        number = self._number(spot, entry, fields, self.team if member is None else self.people)
        application = self._application(spot, fields)
        server_name = fields.get("server_name") or f"{name}.{self.domain}"
        remains = _remains(str(name), number, fields)
        database = remains["database"]
        if free or "server_name" in fields:
            self._claim(spot.at("server_name"), self.server_names, server_name, "server_name")
        if free or "database" in fields:
            self._claim(spot.at("database"), self.databases, database, "database")
        if database in RESERVED and "database" in fields:
            self.report.add(
                spot.at("database"), f"database {database} is reserved", "a name that nothing else uses", "rename it"
            )
        self.deployments[str(name)] = {
            **remains,
            "kind": "team" if member is None else "member",
            "member": member,
            "application": application,
            "hosts": self._hosts(spot, fields),
            "server_name": server_name,
            "url": f"https://{server_name}/",
            "ports": self._ports(spot, fields, number),
            "environment": self._environment(spot, fields, application),
            **({"workers": fields["workers"]} if "workers" in fields else {}),
            **self._rollout(spot, fields, application),
            **(
                {"indexes": check_indexes(self.report, spot.at("indexes"), fields["indexes"])}
                if "indexes" in fields
                else {}
            ),
        }
        return fields

    def _claim(self, spot: Spot, owners: dict[Any, str], value: object, name: str) -> None:
        holder = owners.setdefault(value, spot.where)
        if holder != spot.where:
            self.report.add(
                spot,
                f"{name} {value} belongs to {holder}",
                "one of its own",
                f"change one of the two, or leave {name} to its default",
            )

    def _application(self, spot: Spot, fields: Mapping[str, Any]) -> str:
        if "application" in fields:
            self._check_application(spot.at("application"), fields["application"])
        elif "application" not in self.defaults:
            self.report.add(
                spot,
                "application is missing",
                f"one of {', '.join(self.applications) or 'the applications'}",
                "add application, here or under defaults",
            )
        return str(fields.get("application", self.defaults.get("application", "")))

    def _check_application(self, spot: Spot, name: str) -> None:
        if name not in self.applications:
            known = ", ".join(self.applications) or "the section applications, which is empty"
            self.report.add(
                spot,
                f"application {show(name)} is unknown",
                f"one of {known}",
                self.report.suggest(name, self.applications, "add it to applications"),
            )

    def _hosts(self, spot: Spot, fields: Mapping[str, Any]) -> list[str]:
        if "servers" in fields:
            return self._check_servers(spot.at("servers"), fields["servers"])
        hosts: list[str] = self.defaults.get("servers", self.app_servers)
        return hosts

    def _check_servers(self, spot: Spot, names: list[str]) -> list[str]:
        if not names:
            self.report.add(
                spot,
                "servers is empty",
                "at least one server of app_servers",
                "name one, or leave servers out for all of them",
            )
        for name in names:
            if name not in self.servers:
                self.report.add(
                    spot,
                    f"server {show(name)} is unknown",
                    "servers of this inventory",
                    self.report.suggest(name, self.app_servers, "add it to servers"),
                )
            elif name not in self.can_serve:
                self.report.add(
                    spot,
                    f"server {name} is not in app_servers",
                    "servers that run applications",
                    "name another, or add it to that group",
                )
        return list(dict.fromkeys(names))

    def _ports(self, spot: Spot, fields: Mapping[str, Any], number: int) -> dict[str, int]:
        ports = fields.get("ports") or {slot: FIRST_PORT + 2 * number + index for index, slot in enumerate(SLOTS)}
        if not number and "ports" not in fields:
            return ports  # the number is refused, its ports would only repeat that
        for slot, port in ports.items():
            if "ports" in fields and not FIRST_PORT <= port <= LAST_PORT:
                self.report.add(
                    spot.at("ports"),
                    f"port {slot} is {port}",
                    f"a port from {FIRST_PORT} to {LAST_PORT}",
                    "leave ports to the number",
                )
            self._claim_port(spot.at("ports"), slot, port)
        return ports

    def _claim_port(self, spot: Spot, slot: str, port: int) -> None:
        owner = f"{spot.where} ({slot})"
        holder = self.ports.setdefault(port, owner)
        if holder != owner:
            self.report.add(
                spot, f"port {port} of {slot} belongs to {holder}", "a port of its own", "leave ports to the number"
            )

    def _environment(self, spot: Spot, fields: Mapping[str, Any], application: str) -> dict[str, str]:
        common: dict[str, str] = self.defaults["environment"]
        if "environment" not in fields:
            return common
        secrets = self.applications.get(application, {}).get("secrets")
        return {**common, **read_environment(self.report, spot.at("environment"), fields["environment"], secrets)}

    def _rollout(self, spot: Spot, fields: Mapping[str, Any], application: str) -> dict[str, Any]:
        own = read_rollout(self.report, spot, fields)
        return merge_rollout(self.defaults["rollout"], self.applications.get(application, {}).get("rollout", {}), own)


def _remains(name: str, number: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a deployment has on hosts for as long as it isn't retired on purpose."""
    database = fields.get("database") or normalise(name)
    return {
        "name": name,
        "number": number,
        "user": f"nb-{name}",
        "uid": DEPLOYMENT_UID + number,
        "database": database,
        "database_role": database,
    }


def _written_numbers(section: Mapping[Any, Any]) -> list[int]:
    """The valid numbers that a section's entries write down."""
    written = (entry.get("number") if isinstance(entry, dict) else entry for entry in section.values())
    return [
        number
        for number in written
        if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= HIGHEST_NUMBER
    ]


__all__ = ["MEMBER_SECTIONS", "SECTIONS", "Known", "Registry", "RegistryError", "Surroundings", "read_registry"]
