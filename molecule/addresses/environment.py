# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment under test as its inventory knows it, and the module asked from one of its viewpoints."""

from __future__ import annotations

import ipaddress
import json
import os
from functools import cached_property
from typing import Any

import yaml
from lab import STATE, Lab

RESOLVE = "nectar.backend.resolve_address"

# What DNS is made to say for a while: addresses of the environment's network that no server has.
NOBODY, ELSEWHERE = 201, 202


class Environment:
    """What the playbooks know of the lab: servers, deployments, secrets."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @cached_property
    def inventory(self) -> dict[str, Any]:
        done = self.lab.ansible("ansible-inventory", "--list")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def variables(self, host: str) -> dict[str, Any]:
        return dict(self.inventory["_meta"]["hostvars"][host])

    @cached_property
    def common(self) -> dict[str, Any]:
        """What is the same on all hosts."""
        return self.variables("ops1")

    @cached_property
    def secrets(self) -> dict[str, Any]:
        return dict(yaml.safe_load((STATE / "secrets.yml").read_text()))

    def server(self, host: str) -> dict[str, Any]:
        return dict(self.variables(host)["server"])

    @cached_property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.ip_network(f"{self.ipv4('ops1')}/24", strict=False)  # type: ignore[return-value]

    def spare(self, number: int) -> str:
        """An address of the environment's network that belongs to none of its hosts."""
        return str(self.network.network_address + number)

    @property
    def controller(self) -> str:
        """The controller's own address in the environment's network."""
        return self.spare(1)

    def ipv4(self, host: str) -> str:
        return next(address for address in self.server(host)["addresses"] if ":" not in address)

    def ipv6(self, host: str) -> str:
        return next(address for address in self.server(host)["addresses"] if ":" in address)

    @cached_property
    def virtual_address(self) -> str:
        return next(address for address in self.common["virtual_addresses"] if ":" not in address)

    @cached_property
    def balancers(self) -> tuple[str, str]:
        """The load balancer that holds the virtual address, and the one that stands by."""
        hosts = self.inventory["loadbalancers"]["hosts"]
        active = next(
            host for host in hosts if f" {self.virtual_address}/" in self.lab.inside(host, "ip -brief address")
        )
        return active, next(host for host in hosts if host != active)

    @cached_property
    def databases(self) -> tuple[str, list[str]]:
        """The database server that leads, and those that follow it."""
        listing = "patronictl --config-file /etc/patroni/config.yml list --format json"
        roles = {member["Member"]: member["Role"] for member in json.loads(self.lab.on("db1", listing))}
        leader = next(name for name, role in roles.items() if role == "Leader")
        return leader, sorted(set(roles) - {leader})

    def https(self, deployment: str, *candidates: str, **more: Any) -> dict[str, Any]:
        """A deployment's endpoint: who answers has to say that it is this deployment."""
        name = self.common["deployments"][deployment]["server_name"]
        proof = {"server_name": name, "path": "/.well-known/nectar", "identity": {"deployment": deployment}}
        ca_file = str(STATE / "ca/ca.crt")
        return {"probe": "http", "port": 443, "ca_file": ca_file, **proof, **registry(*candidates), **more}

    def ssh(self, host: str, *candidates: str, **more: Any) -> dict[str, Any]:
        """A server's SSH: who answers has to have its key."""
        keys = self.server(host)["host_keys"]
        return {"probe": "ssh", "port": 22, "host_keys": keys, "host_key_alias": host, **registry(*candidates), **more}

    def resolve(
        self, viewpoint: str, endpoints: dict[str, dict[str, Any]], **settings: Any
    ) -> dict[str, dict[str, Any]]:
        """Ask the module once for all these endpoints, from one host; return what it says of each."""
        listed = [{"name": name, **endpoint} for name, endpoint in endpoints.items()]
        request = {"endpoints": listed, "on_unproven": "report", **settings}
        os.environ |= {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "true", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        try:
            done = self.lab.ansible("ansible", viewpoint, "-m", RESOLVE, "-a", json.dumps(request))
        finally:
            del os.environ["ANSIBLE_LOAD_CALLBACK_PLUGINS"], os.environ["ANSIBLE_STDOUT_CALLBACK"]
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        result = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"][viewpoint]
        return {endpoint["name"]: endpoint for endpoint in result["endpoints"]}


def registry(*addresses: str) -> dict[str, Any]:
    """Candidates as the registry names them, the best one first."""
    found = [{"address": address, "source": "registry"} for address in addresses]
    return {"candidates": found} if found else {}
