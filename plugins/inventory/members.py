# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: members
short_description: Servers, members and deployments of an environment from one registry
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Reads an environment's member registry, checks it, and derives from each short entry every name, number, port,
    user, database, URL and group.
  - The sections may be split over several sources of one inventory. Servers come first, so that a registry of members
    is shared by several topologies. Applications and their deployments may also follow the members, each in a source of its own.
  - Everything that is wrong is reported at once, with file, line, field, value and remedy. An unreadable registry ends
    the command with exit code 4. It is never handed on to another inventory plugin, and never becomes an empty inventory.
  - Servers become hosts. Members and deployments become the variables C(members) and C(deployments) of the group C(all).
  - What the servers have is shared out. The figures are the variable C(budget), and each deployment has its C(share). A plan that can't
    hold is refused like any other mistake.
notes:
  - A file belongs to this plugin when it names the plugin; one called C(members.yml) or C(servers.yml) also when it is
    no inventory of another kind, so that a broken registry is refused and not skipped.
  - Expressions of O(compose), O(groups) and O(keyed_groups) also see C(server_deployments) and C(server_members), the
    names of the deployments and members whose deployments run on the host.
  - Values of the registry are data and never templated, except O(servers)' C(variables).
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: The plugin that reads the file.
    type: str
    required: true
    choices: [nectar.backend.members]
  environment:
    description: Name of the environment, a DNS label.
    type: str
  domain:
    description: Domain below which each deployment is served, as C(<name>.<domain>).
    type: str
  network_ipv4:
    description:
      - Network in which a server that names no addresses gets the address of its number.
      - C(${NAME:-default}) is filled from the controller's environment.
    type: str
  network_ipv6:
    description: The same for IPv6.
    type: str
  virtual_addresses:
    description: Addresses that move between load balancers; a number stands for its address in each network.
    type: list
    elements: raw
    default: []
  extra_groups:
    description: Groups of servers other than C(loadbalancers), C(app_servers), C(database_servers) and C(ops_servers).
    type: list
    elements: str
    default: []
  servers:
    description:
      - Servers by name. Each has a C(number) and C(groups), and may have C(bind), C(connect) and C(advertise) addresses,
        C(host_keys), C(memory), C(cores), C(wal) and C(variables). Those in C(app_servers) and C(database_servers) need C(memory).
    type: dict
  host_keys_file:
    description:
      - YAML file with a list of SSH host keys by server, for servers whose entry names none. It may be absent.
      - C(${NAME:-default}) and C(~) are filled in; a relative path starts at the registry's folder.
    type: str
  budget:
    description:
      - What the budget shares out otherwise, C(request_timeout) in seconds, and the memory that a host keeps for C(system) and for the
        services of each of its groups.
    type: dict
    default: {}
  applications:
    description: Applications by name, with C(source), C(processes) and what else they need to run.
    type: dict
  defaults:
    description: C(application), C(servers) and C(environment) of every deployment that names none.
    type: dict
  deployments:
    description: The team's own deployments by name, each with a C(number).
    type: dict
  members:
    description: Members by name, each with a C(number); each has one deployment of the same name.
    type: dict
  retired:
    description: Tombstones by name, each with the C(number) that is never given again.
    type: dict
  member_keys_file:
    description: YAML file with a list of SSH public keys by member, beside those in the entries. Written as O(host_keys_file).
    type: str
  member_groups:
    description: Whether to make a group C(member_<name>) of the servers that run the member's deployment.
    type: bool
    default: false
  deployment_groups:
    description: Whether to make a group C(deployment_<name>) of the servers that run the deployment.
    type: bool
    default: false
"""

EXAMPLES = r"""
---
# inventories/example/members.yml: one file holds everything
plugin: nectar.backend.members
environment: example
domain: example.org
servers:
  one: {number: 1, groups: [loadbalancers, app_servers, database_servers, ops_servers], memory: 1900M, connect: [192.0.2.11, "2001:db8::11"]}
applications:
  orders:
    source: {directory: ../../examples/orders}
    processes:
      web: {type: web, command: "gunicorn --bind {address}:{port} orders.app:app"}
defaults: {application: orders}
deployments:
  production: {number: 101}
members:
  alice: {number: 1}
  bob: {number: 2}
retired:
  carol: {number: 3}

---
# Two further groups of hosts by member, and a variable of each host
plugin: nectar.backend.members
network_ipv4: ${NECTAR_NETWORK_IPV4:-192.0.2.0/24}
servers:
  app1: {number: 21, groups: [app_servers], memory: 1900M}
member_groups: true
keyed_groups:
  - {key: server_deployments, prefix: runs}
compose:
  first_address: server.addresses | first
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleError, AnsibleParserError, ExitCode
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.template import trust_as_template
from ansible_collections.nectar.backend.plugins.module_utils.registry import (
    COMMON_VARIABLES,
    SECTIONS,
    Registry,
    Surroundings,
    read_registry,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    Problem,
    RegistryError,
    Report,
    Spot,
    normalise,
    show,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_servers import GROUPS, Known, Server
from ansible_collections.nectar.backend.plugins.plugin_utils.registry_source import (
    Source,
    build,
    expand,
    fingerprint,
    read_source,
    read_text,
    refusal,
)
from ansible_collections.nectar.backend.plugins.plugin_utils.ssh_arguments import ssh_arguments

if TYPE_CHECKING:
    from ansible.inventory.data import InventoryData
    from ansible.parsing.dataloader import DataLoader

NAMES = frozenset({"members.yml", "members.yaml", "servers.yml", "servers.yaml"})
MARK = re.compile(rb"""^\s*["']?plugin["']?\s*:\s*["']?nectar\.backend\.members\b""", re.MULTILINE)
OTHER_MARK = re.compile(rb"^(?:all|ungrouped|plugin)\s*:", re.MULTILINE)
SEARCHED = 64 * 1024
CACHE_OPTION = re.compile(r"^cache(?:_[a-z]+)?:.*$", re.MULTILINE)
EXPANDED = ("network_ipv4", "network_ipv6", "host_keys_file", "member_keys_file")
TEMPLATE = re.compile(r"\{[{%#]")
PROBLEMS_SHOWN = 100
OPTION_TYPES = {"bool": bool, "boolean": bool, "dict": dict, "int": int, "list": list}
OPTION_WORDS = {bool: "true or false", dict: "a mapping", int: "a whole number", list: "a list", str: "text"}


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The shell around the registry: finds the files, asks the rules, fills the inventory."""

    NAME = "nectar.backend.members"

    def verify_file(self, path: str) -> bool:
        """Claim what is meant for this plugin, readable or not: a broken registry must be refused, not skipped."""
        if not super().verify_file(path) or not path.endswith((".yml", ".yaml")):
            return False
        with open(path, "rb") as file:
            top = file.read(SEARCHED)
        return MARK.search(top) is not None or (os.path.basename(path) in NAMES and not OTHER_MARK.search(top))

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Fill the inventory, or end the command.

        Ansible hands a file that one plugin refuses to the next: `ini` takes an empty one for an inventory without
        hosts, `yaml` reads 50 MB for minutes or crashes on deep nesting; and unless a setting says otherwise, the
        command then goes on with no hosts and exit code 0.
        """
        super().parse(inventory, loader, path, cache)
        try:
            self.populate(path, cache)
        except AnsibleError as error:
            self.display.error(error)
            raise SystemExit(int(ExitCode.PARSER_ERROR)) from error

    def populate(self, path: str, cache: bool = True) -> None:
        """Read, check and derive all; only then touch the inventory."""
        name = shown_path(path)
        try:
            source = self._read(path, name, cache)
            registry = self._derive(path, source)
        except RegistryError as error:
            raise AnsibleParserError(describe(error)) from None
        if self.get_option("cache"):
            self._cache[self.get_cache_key(path)] = {"fingerprint": fingerprint(source.text), "data": source.data}
        del source  # a large registry's memory is used again for its variables
        texts = PlainTexts()
        self._add_servers(registry, texts)
        self._set_variables(registry, texts)
        self._construct(registry)

    def _read(self, path: str, name: str, cache: bool) -> Source:
        """The file's data, out of the cache only while the file is still the same."""
        text = read_text(path, name)
        options, _problems = build(name, "\n".join(CACHE_OPTION.findall(text)) or "{}")
        self._set_options(options)
        if not self.get_option("cache"):
            return Source(name, text)
        self.load_cache_plugin()
        cached = self._cache.get(self.get_cache_key(path)) if cache else None
        if cached and cached["fingerprint"] == fingerprint(text):
            return Source(name, text, cached["data"])
        return Source(name, text)

    def _derive(self, path: str, source: Source) -> Registry:
        """The checked registry; problems carry their file and line."""
        data = source.data
        if not isinstance(data, dict) or data.get("plugin") != self.NAME:
            line = source.line_of(("plugin",))
            raise refusal(source.name, line, "is no registry", f"the line `plugin: {self.NAME}`", "add it at the top")
        mistyped = self._set_options({name: value for name, value in data.items() if name not in SECTIONS})
        data = data | {name: expand(value, os.environ) for name in EXPANDED if isinstance(value := data.get(name), str)}
        folder = os.path.dirname(os.path.abspath(path))
        around = Surroundings(
            known=self._known(),
            host_keys=read_keys(folder, data.get("host_keys_file")),
            member_keys=read_keys(folder, data.get("member_keys_file")),
            options=[name for name in self.option_definitions if name not in SECTIONS],
            absolute=lambda relative: absolute_path(folder, relative),
        )
        problems = [*source.problems, *mistyped]
        try:
            registry = read_registry(data, around)
        except RegistryError as error:
            problems += error.problems
        if problems:
            raise RegistryError(problems).located(source.name, source.line_of)
        return registry

    def _set_options(self, options: dict[str, Any]) -> list[Problem]:
        """Set those of the right type and answer what is wrong with the others; Ansible takes any text for a switch."""
        report = Report()
        valid: dict[str, Any] = {"plugin": self.NAME}
        for name in self.option_definitions.keys() & options.keys():
            kind = OPTION_TYPES.get(self.option_definitions[name]["type"], str)
            if isinstance(options[name], kind) and (kind is bool or not isinstance(options[name], bool)):
                valid[name] = trusted(options[name])
            else:
                report.add(
                    Spot((name,)),
                    f"{name} is {show(options[name])}",
                    OPTION_WORDS[kind],
                    "see ansible-doc -t inventory nectar.backend.members",
                )
        self.set_options(direct=valid, var_options=self._vars)
        return report.problems

    def _known(self) -> Known:
        """What earlier sources of this inventory hold."""
        hosts = self.inventory.hosts
        common = self.inventory.groups["all"].vars
        return Known(
            groups={
                name: [host.name for host in group.get_hosts()]
                for name, group in self.inventory.groups.items()
                if name in GROUPS
            },
            servers={name: host.vars["server"] for name, host in hosts.items() if "server" in host.vars},
            hosts=hosts,
            virtual_addresses=list(common.get("virtual_addresses", ())),
            common={name: common[name] for name in COMMON_VARIABLES if name in common},
        )

    # Filling the inventory

    def _add_servers(self, registry: Registry, texts: PlainTexts) -> None:
        for group in (*GROUPS, *registry.groups):
            self.inventory.add_group(group)
        for server in registry.servers:
            self.inventory.add_host(server.name)
            for group in server.groups:
                self.inventory.add_child(group, server.name)
            host = self.inventory.hosts[server.name]
            # Set on the host itself: the inventory's own way would note a file beside every text, for 60 MB.
            for name, value in host_variables(server).items():
                host.set_variable(name, texts.mark(value))
            for name, value in server.extra.items():
                host.set_variable(name, trusted(value))

    def _set_variables(self, registry: Registry, texts: PlainTexts) -> None:
        everywhere = self.inventory.groups["all"]
        # Deployments have shares in common, and servers figures; they keep them in common.
        shares = {name: texts.mark_once(entry.pop("share")) for name, entry in registry.deployments.items()}
        budget = registry.variables.get("budget", {})
        figures = {name: texts.mark_once(entry) for name, entry in budget.pop("app_servers", {}).items()}
        for name, value in registry.variables.items():
            everywhere.set_variable(name, texts.mark_entries(value))
        for name, share in shares.items():
            registry.deployments[name]["share"] = share
        if budget:
            budget["app_servers"] = figures

    def _construct(self, registry: Registry) -> None:
        """Further groups and variables, of the hosts of earlier sources too."""
        self._group_by_deployment(registry)
        compose, groups, keyed_groups = (self.get_option(name) for name in ("compose", "groups", "keyed_groups"))
        if not (compose or groups or keyed_groups):
            return
        strict = self.get_option("strict")
        placed = deployments_by_host(registry)
        common = self.inventory.groups["all"].get_vars()
        for name, host in list(self.inventory.hosts.items()):
            here = placed.get(name, [])
            members = [entry["member"] for entry in here if entry["member"]]
            context = {"server_deployments": [entry["name"] for entry in here], "server_members": members}
            self._set_composite_vars(compose, common | host.get_vars() | context, name, strict=strict)
            variables = common | host.get_vars() | context
            self._add_host_to_composed_groups(groups, variables, name, strict=strict, fetch_hostvars=False)
            self._add_host_to_keyed_groups(keyed_groups, variables, name, strict=strict, fetch_hostvars=False)

    def _group_by_deployment(self, registry: Registry) -> None:
        by_member, by_deployment = self.get_option("member_groups"), self.get_option("deployment_groups")
        for entry in registry.deployments.values() if by_member or by_deployment else ():
            wanted = [f"deployment_{normalise(entry['name'])}"] if by_deployment else []
            wanted += [f"member_{normalise(entry['member'])}"] if by_member and entry["member"] else []
            for group in wanted:
                self.inventory.add_group(group)
                for host in entry["hosts"]:
                    self.inventory.add_child(group, host)


def host_variables(server: Server) -> dict[str, Any]:
    """The derived variables of one host."""
    connect: list[str] = server.variables["connect"]
    return {
        "server": server.variables,
        "ansible_host": connect[0],
        "ansible_ssh_common_args": ssh_arguments(server.name, connect, server.variables["host_keys"]),
    }


def deployments_by_host(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """The deployments that run on each host."""
    placed: dict[str, list[dict[str, Any]]] = {}
    for entry in registry.deployments.values():
        for host in entry["hosts"]:
            placed.setdefault(host, []).append(entry)
    return placed


def trusted(value: Any) -> Any:
    """The same value with its texts allowed to be templates: they stand in the user's own inventory."""
    return _map_texts(value, trust_as_template)


class PlainTexts:
    """Marks texts without templates as trusted, each once, so that `ansible-inventory --list` shows them as they are.

    Others stay untrusted: braces in a command or an environment are meant for the application.
    """

    def __init__(self) -> None:
        self.marked: dict[str, str] = {}
        self.once: dict[int, tuple[Any, Any]] = {}

    def mark_once(self, value: Any) -> Any:
        """The same for what stands in many places: one marked copy stands in all of them."""
        if (found := self.once.get(id(value))) is None:
            found = self.once[id(value)] = (value, self.mark(value))
        return found[1]

    def mark(self, value: Any) -> Any:
        return _map_texts(value, self._mark)

    def mark_entries(self, value: Any) -> Any:
        """The same, with each entry of a mapping replaced in place: there may be 10,000."""
        if not isinstance(value, dict):
            return self.mark(value)
        for name, entry in value.items():
            value[name] = self.mark(entry)
        return value

    def _mark(self, text: str) -> str:
        marked = self.marked.get(text)
        if marked is None:
            marked = self.marked[text] = text if TEMPLATE.search(text) else trust_as_template(text)
        return marked


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _map_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_texts(item, change) for item in value]
    return value


def shown_path(path: str) -> str:
    """The path as a person in the current folder would write it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def absolute_path(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))


def read_keys(folder: str, value: object) -> dict[str, list[object]]:
    """Public keys by name; a file that is absent has none, one that is broken is refused."""
    if not isinstance(value, str):
        return {}
    path = absolute_path(folder, value)
    if not os.path.exists(path):
        return {}
    source = read_source(path, shown_path(path))
    if not isinstance(source.data, dict) or not all(isinstance(keys, list) for keys in source.data.values()):
        raise refusal(
            source.name,
            1,
            "is no key file",
            "a mapping of names to lists of public keys",
            "write it as `name: [ssh-ed25519 AAAA…]`",
        )
    return source.data


def describe(error: RegistryError) -> str:
    """All problems under one line; of a flood only the first ones."""
    return "\n".join(_lines(error))


def _lines(error: RegistryError) -> Iterator[str]:
    count = len(error.problems)
    yield f"The registry can't be used: {count} problem{'s' if count > 1 else ''}."
    for problem in error.problems[:PROBLEMS_SHOWN]:
        yield f"- {problem}"
    if count > PROBLEMS_SHOWN:
        yield f"- and {count - PROBLEMS_SHOWN:,} more"
