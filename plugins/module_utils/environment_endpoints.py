# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the registry to what must be proven, and from where: an environment's endpoints, and the paths between its hosts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.databases import login_of
from ansible_collections.nectar.backend.plugins.module_utils.slots import choose_deployments

CONTROLLER = "controller"
DOOR = "door"
IDENTITY_PATH = "/.well-known/nectar"
LOOPBACK = "127.0.0.1"
# Names of endpoints that only ask whether a path is open; what is proven bears the name of what it serves.
PATH = "path:"


@dataclass(frozen=True)
class Rule:
    """Who reaches a service on the hosts of a group. `closed` says that nobody else may."""

    service: str
    group: str
    must: tuple[str, ...]
    closed: bool


# What the roles open in the firewall, said from the other side.
SERVERS = ("loadbalancers", "app_servers", "database_servers", "ops_servers")
RULES = (
    Rule("ssh", "all", (CONTROLLER, "ops_servers"), closed=False),
    Rule("https", DOOR, (CONTROLLER, *SERVERS), closed=False),
    Rule("names", "name_servers", SERVERS, closed=False),
    Rule("postgresql", "database_servers", ("app_servers", "database_servers"), closed=True),
    Rule("patroni", "database_servers", ("app_servers", "database_servers"), closed=True),
    Rule("etcd", "database_servers", ("database_servers",), closed=True),
    Rule("etcd_members", "database_servers", ("database_servers",), closed=True),
    Rule("slots", "app_servers", ("loadbalancers",), closed=True),
    Rule("identity", "app_servers", ("loadbalancers",), closed=True),
)
POOLER_OF_OTHERS = "others' databases, pooler"
DIRECT_OF_OTHERS = "others' databases, direct"
SERVICES = (*(rule.service for rule in RULES), POOLER_OF_OTHERS, DIRECT_OF_OTHERS)


@dataclass(frozen=True)
class Path:
    """From one place to one service of one host, which must be open, or must not be."""

    viewpoint: str
    endpoint: str  # the endpoint that asks, by name
    service: str
    target: str
    must: bool


@dataclass(frozen=True)
class Environment:
    """What the inventory knows."""

    servers: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, Sequence[str]]
    deployments: Mapping[str, Mapping[str, Any]]
    secrets: Mapping[str, Mapping[str, Any]]
    primary_name: str
    ports: Mapping[str, int]
    ca_files: Mapping[str, str]  # of the controller and of the servers
    virtual_addresses: Sequence[str] = ()
    name_servers: Sequence[str] = ()
    hosts: Sequence[str] = ()  # servers that are looked at and looked from
    names: Sequence[str] = field(default_factory=tuple)  # deployments that are looked at


def make_environment(
    known: Mapping[str, Any],
    names: Sequence[str] = (),
    members: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
) -> Environment:
    """An environment, narrowed to deployments, to those of members, and to servers."""
    servers = {server["name"]: server for server in known["servers"]}
    return Environment(
        **{key: value for key, value in known.items() if key != "servers"},
        servers=servers,
        hosts=[name for name in servers if hosts is None or name in hosts],
        names=choose_deployments(known["deployments"], names, members),
    )


def plan_connections(environment: Environment) -> dict[str, Any]:
    """By viewpoint what is to be resolved there, and all paths that these answer for.

    Logins stand apart, to be made a few at a time: connections to a database are counted, and its users need them.
    """
    endpoints = {CONTROLLER: [*ssh(environment), *https(environment)], **{name: [] for name in environment.hosts}}
    logins = {name: databases(environment, name) for name in endpoints}
    paths: list[Path] = []
    for viewpoint in endpoints:
        for found, asked in (
            (_paths(environment, viewpoint), endpoints[viewpoint]),
            (_isolation(environment, viewpoint), logins[viewpoint]),
        ):
            for path, endpoint in found:
                paths.append(path)
                asked.append(endpoint)
    return {"endpoints": endpoints, "logins": logins, "paths": [asdict(path) for path in paths]}


def ssh(environment: Environment) -> list[dict[str, Any]]:
    """Every server as whom its host key proves it; one without a known key is only found to answer."""
    return [
        {
            "name": f"ssh/{name}",
            "probe": "ssh",
            "port": environment.ports["ssh"],
            "candidates": _proposed(environment.servers[name]["connect"]),
            "host_key_alias": name,
            **(
                {"host_keys": keys} if (keys := environment.servers[name].get("host_keys")) else {"accept": "reachable"}
            ),
        }
        for name in environment.hosts
    ]


def https(environment: Environment, *, with_names: bool = True) -> list[dict[str, Any]]:
    """Every deployment as what its identity document and certificate say, through the door that users use."""
    return [
        {
            "name": f"{name}/https",
            "probe": "http",
            "port": environment.ports["https"],
            "candidates": _proposed(door(environment)),
            "server_name": environment.deployments[name]["server_name"],
            "ca_file": environment.ca_files["controller"],
            "path": IDENTITY_PATH,
            "identity": {"deployment": name},
            **(
                {"names": [environment.deployments[name]["server_name"]]}
                if with_names and environment.name_servers
                else {}
            ),
        }
        for name in environment.names
    ]


def door(environment: Environment) -> list[str]:
    """The addresses at which deployments are served."""
    balancers = environment.groups.get("loadbalancers", ())
    return list(environment.virtual_addresses) or [
        address for name in balancers for address in environment.servers[name]["connect"]
    ]


def databases(environment: Environment, host: str) -> list[dict[str, Any]]:
    """The ways of an application server's deployments to the primary, through the pooler and past it."""
    return [
        endpoint
        for name in environment.names
        if host in environment.deployments[name]["hosts"]
        for endpoint in (
            {"name": f"{name}/pooler", **pooler(environment, name, name)},
            {"name": f"{name}/primary", **primary(environment, name, name)},
        )
    ]


def pooler(environment: Environment, name: str, database: str) -> dict[str, Any]:
    """A deployment's role at a database through the pooler, which knows its password and leads to the primary."""
    return {**_login(environment, name, database), "port": environment.ports["pooler"], "tls": False}


def primary(environment: Environment, name: str, database: str) -> dict[str, Any]:
    """A deployment's role at a database of the primary itself."""
    return {
        **_login(environment, name, database),
        "port": environment.ports["primary"],
        "server_name": environment.primary_name,
        "ca_file": environment.ca_files["servers"],
    }


def _login(environment: Environment, name: str, database: str) -> dict[str, Any]:
    return {
        "probe": "postgresql",
        "candidates": _proposed([LOOPBACK]),
        "allow": ["loopback"],
        "user": login_of(environment.deployments[name]["database_role"], environment.secrets[name]),
        "password": environment.secrets[name]["database_password"],
        "database": environment.deployments[database]["database"],
        "role": "primary",
    }


def _proposed(addresses: Iterable[str]) -> list[dict[str, Any]]:
    return [{"address": address, "source": "registry"} for address in dict.fromkeys(addresses)]


def _paths(environment: Environment, viewpoint: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    groups = _groups_of(environment, viewpoint)
    for rule in RULES:
        must = bool(groups & set(rule.must))
        if not must and not rule.closed:
            continue
        for target in _targets(environment, rule.group):
            ports = _ports(environment, rule.service, target)
            # A host lets everything in from itself.
            if target == viewpoint or not ports:
                continue
            name = f"{PATH}{rule.service}@{target}"
            addresses = _addresses(environment, rule.service, target, must=must)
            candidates = [
                {"address": address, "port": port, "source": "registry"} for address in addresses for port in ports
            ]
            endpoint = {"name": name, "probe": "tcp", "port": ports[0], "candidates": candidates}
            yield Path(viewpoint, name, rule.service, target, must), endpoint


def _groups_of(environment: Environment, viewpoint: str) -> set[str]:
    if viewpoint == CONTROLLER:
        return {CONTROLLER}
    return {name for name, hosts in environment.groups.items() if viewpoint in hosts}


def _targets(environment: Environment, group: str) -> list[str]:
    if group == DOOR:
        return [DOOR]
    if group == "name_servers":
        return [
            name for name in environment.hosts if environment.servers[name]["advertise"] in environment.name_servers
        ]
    members = environment.servers if group == "all" else environment.groups.get(group, ())
    return [name for name in environment.hosts if name in members]


def _ports(environment: Environment, service: str, target: str) -> list[int]:
    if service == "slots":
        return sorted(
            port
            for name in environment.names
            if target in environment.deployments[name]["hosts"]
            for port in environment.deployments[name]["ports"].values()
        )
    return [environment.ports[service]]


def _addresses(environment: Environment, service: str, target: str, *, must: bool) -> list[str]:
    """Where a service must answer: where it is told to be found. Where it must not: anywhere."""
    if target == DOOR:
        return door(environment)
    server = environment.servers[target]
    if not must:
        return list(dict.fromkeys([*server["bind"], *server["connect"]]))
    return list(server["connect"]) if service == "ssh" else [server["advertise"]]


def _isolation(environment: Environment, viewpoint: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every role at the database of the next deployment: each role and each database has its turn, and none may get in."""
    here = [name for name, entry in environment.deployments.items() if viewpoint in entry["hosts"]]
    if len(here) < 2:
        return
    for name, other in zip(here, [*here[1:], here[0]], strict=True):
        if name not in environment.names:
            continue
        for service, way in ((POOLER_OF_OTHERS, pooler), (DIRECT_OF_OTHERS, primary)):
            label = f"{PATH}{name} at {other}'s, {'pooler' if way is pooler else 'direct'}"
            yield Path(viewpoint, label, service, other, must=False), {"name": label, **way(environment, name, other)}


def plan_proof(environment: Environment, needs: str, *, has_authority: bool) -> dict[str, Any]:
    """What a play must know before it starts, as plan_connections says it: the way in, for a deploy also doors and the primary."""
    if needs == "deploy":
        return {
            "endpoints": {CONTROLLER: [*ssh(environment), *https(environment, with_names=False)]},
            "logins": {
                host: [item for item in databases(environment, host) if item["name"].endswith("/primary")]
                for host in environment.groups.get("app_servers", ())
            },
        }
    balancers = set(environment.groups.get("loadbalancers", ())) & set(environment.hosts)
    virtual = _virtual(environment, has_authority=has_authority) if balancers else []
    return {"endpoints": {CONTROLLER: [*ssh(environment), *virtual]}, "logins": {}}


def _virtual(environment: Environment, *, has_authority: bool) -> list[dict[str, Any]]:
    """Who answers at a virtual address: a load balancer of this environment, nobody yet, or somebody else."""
    name = next((entry["server_name"] for entry in environment.deployments.values()), "")
    proof = {"probe": "tls", "server_name": name, "ca_file": environment.ca_files["controller"]}
    return [
        {
            "name": f"virtual/{address}",
            **(proof if has_authority and name else {"probe": "tcp"}),
            "port": environment.ports["https"],
            "candidates": _proposed([address]),
        }
        for address in environment.virtual_addresses
    ]
