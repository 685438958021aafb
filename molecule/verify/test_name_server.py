# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment's names are answered where servers ask for them, and nobody else's are."""

from __future__ import annotations

import json
from typing import Any

import pytest

testinfra_hosts = ["ansible://app_servers"]

# What a server that looks for an address does: asks one name server, and none of its own.
ASK = """
import json, sys
import dns.exception, dns.resolver
server, *questions = sys.argv[1:]
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.lifetime = [server], 20
answers = []
for name, kind in (question.split("/") for question in questions):
    try:
        answers.append(sorted(str(record) for record in resolver.resolve(name, kind)))
    except dns.resolver.NXDOMAIN:
        answers.append("no such name")
    except dns.exception.DNSException as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


@pytest.fixture
def name_server(planned: dict[str, Any], inventory: dict[str, Any]) -> str:
    """Return the address of the environment's own name server."""
    (host,) = inventory["ops_servers"]["hosts"]
    return str(inventory["_meta"]["hostvars"][host]["server"]["advertise"])


def ask(host: Any, server: str, *questions: str) -> list[Any]:
    """Ask a name server from a host."""
    return list(json.loads(host.check_output(f"python3 -c %s{' %s' * (len(questions) + 1)}", ASK, server, *questions)))


def test_a_deployment_is_found_at_the_door(
    host: Any, name_server: str, planned: dict[str, Any], inventory: dict[str, Any]
) -> None:
    servers = inventory["_meta"]["hostvars"]
    balancers = [address for name in inventory["loadbalancers"]["hosts"] for address in servers[name]["server"]["bind"]]
    door = planned["virtual_addresses"] or balancers
    names = [deployment["server_name"] for deployment in planned["deployments"].values()]
    found = ask(
        host,
        name_server,
        *(question for name in names for question in (f"{name}/A", f"{name}/AAAA", f"_https._tcp.{name}/SRV")),
    )
    v4, v6 = ([address for address in door if (":" in address) is is_v6] for is_v6 in (False, True))
    assert found == [answer for name in names for answer in (v4, v6, [f"0 0 443 {name}."])]


def test_a_server_is_found_under_its_name(
    host: Any, name_server: str, planned: dict[str, Any], inventory: dict[str, Any]
) -> None:
    servers = {name: entry["server"] for name, entry in inventory["_meta"]["hostvars"].items() if "server" in entry}
    found = ask(host, name_server, *(f"{name}.{planned['domain']}/A" for name in servers))
    assert found == [[address for address in entry["bind"] if ":" not in address] for entry in servers.values()]


def test_a_name_that_nobody_has_does_not_exist(host: Any, name_server: str, planned: dict[str, Any]) -> None:
    assert ask(host, name_server, f"nobody-has-this-name.{planned['domain']}/A") == ["no such name"]


def test_what_others_own_is_refused(host: Any, name_server: str) -> None:
    (answer,) = ask(host, name_server, "example.org/A")
    assert "REFUSED" in answer


def test_the_zone_is_nobody_elses_to_copy(host: Any, name_server: str, planned: dict[str, Any]) -> None:
    copy = "import sys, dns.query, dns.zone; dns.zone.from_xfr(dns.query.xfr(*sys.argv[1:], lifetime=20))"
    answer = host.run("python3 -c %s %s %s", copy, name_server, planned["domain"])
    assert answer.rc != 0
    assert "REFUSED" in answer.stderr
