# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters, by the names under which templates call them, with errors that name what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.filter import (
    add_baselines,
    alternative_names,
    connection_plan,
    connection_refusals,
    connection_report,
    database_logins,
    environment_records,
    firewall_statements,
    former_slots,
    leftover_table,
    login_turns,
    losing_parameters,
    promoted_deployments,
    required_secrets,
    rollout_outcomes,
    rotation_plan,
    secret_problems,
    secrets_in_use,
    step_failures,
    steps_at,
    upgrade_plan,
    verdict_failures,
    verdict_lines,
    watch_entries,
    with_leases,
    zone_files,
)

MODULES = (
    add_baselines,
    alternative_names,
    connection_plan,
    connection_refusals,
    connection_report,
    database_logins,
    environment_records,
    firewall_statements,
    former_slots,
    leftover_table,
    login_turns,
    losing_parameters,
    promoted_deployments,
    required_secrets,
    rollout_outcomes,
    rotation_plan,
    secret_problems,
    secrets_in_use,
    step_failures,
    steps_at,
    upgrade_plan,
    verdict_failures,
    verdict_lines,
    watch_entries,
    with_leases,
    zone_files,
)
FILTERS = {name: function for module in MODULES for name, function in module.FilterModule().filters().items()}

ENTRY = {"name": "production", "application": "orders"}
APPLICATIONS = {"orders": {"secrets": ["key"]}, "plain": {}}
SERVER = {"name": "lb1", "bind": ["192.0.2.11"], "advertise": "192.0.2.11"}
ZONE = {"name": "example.org", "records": [], "extra_records": [], "name_servers": ["ns.example.net"], "ttl": 60}
ENVIRONMENT = {
    "servers": [{**SERVER, "connect": ["192.0.2.11"]}],
    "groups": {},
    "deployments": {},
    "secrets": {},
    "primary_name": "primary.example.org",
    "ports": {"ssh": 22, "https": 443},
    "ca_files": {},
}
ALICE = {"alice": {"application": "plain", "database": "alice", "database_role": "alice", "hosts": ["app1"]}}
ALICE_LOGIN = {
    "database": "alice",
    "role": "alice",
    "login": "alice",
    "password": "x",
    "former_login": "",
    "former_password": "",
}
DEAD = {"name": "ssh/lb1", "ok": False, "verdict": "filtered", "why": "lb1 does not answer", "candidates": []}
STEP = {"name": "production", "hosts": ["app1"], "migrate_host": "app1"}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        pytest.param(
            "alternative_names",
            [["IP:2001:DB8:0:0::7", "DNS:DB1", "DNS:db1"]],
            ["DNS:db1", "IP:2001:db8::7"],
            id="alternative_names",
        ),
        pytest.param(
            "connection_plan",
            [ENVIRONMENT, [], [], ["lb1"], "ssh"],
            {
                "endpoints": {
                    "controller": [
                        {
                            "name": "ssh/lb1",
                            "probe": "ssh",
                            "port": 22,
                            "candidates": [{"address": "192.0.2.11", "source": "registry"}],
                            "host_key_alias": "lb1",
                            "accept": "reachable",
                        }
                    ]
                },
                "logins": {},
            },
            id="connection_plan",
        ),
        pytest.param(
            "database_logins",
            [ALICE, {"alice": {"database_password": "x"}}],
            {"alice": ALICE_LOGIN},
            id="database_logins",
        ),
        pytest.param(
            "rotation_plan",
            [ALICE, APPLICATIONS, {}, ["alice"], ["application"]],
            {"names": [], "parts": [], "renew": {}, "lines": ["alice: it has no secrets of the kind application"]},
            id="rotation_plan",
        ),
        pytest.param("login_turns", ["rewind", True], ["rewind-2", "rewind"], id="login_turns"),
        pytest.param("secrets_in_use", [["alice"], ALICE, {}], {"alice": "app1 did not answer"}, id="secrets_in_use"),
        pytest.param(
            "connection_refusals",
            [{"controller": [{"endpoints": [DEAD]}], "lb1": [{"skipped": True}]}, "ssh"],
            ["ssh/lb1 from controller: filtered: lb1 does not answer"],
            id="connection_refusals",
        ),
        pytest.param(
            "losing_parameters",
            [{"fsync": False, "work_mem": "8MB"}],
            ["fsync is off, expected on"],
            id="losing_parameters",
        ),
        pytest.param(
            "environment_records",
            [[{"server_name": "a.example.org"}], "example.org", [], [SERVER]],
            [
                {"name": "a", "type": "A", "value": "192.0.2.11"},
                {"name": "_https._tcp.a", "type": "SRV", "value": "0 0 443 a.example.org."},
            ],
            id="environment_records without virtual addresses",
        ),
        pytest.param(
            "environment_records",
            [[{"server_name": "a.example.org"}], "example.org", [SERVER], [SERVER], ["192.0.2.10"]],
            [
                {"name": "lb1", "type": "A", "value": "192.0.2.11"},
                {"name": "a", "type": "A", "value": "192.0.2.10"},
                {"name": "_https._tcp.a", "type": "SRV", "value": "0 0 443 a.example.org."},
            ],
            id="environment_records with virtual addresses",
        ),
        pytest.param(
            "zone_files",
            [{**ZONE, "ttl": 5}, "/zones"],
            [
                {
                    "path": "/zones/example.org.zone",
                    "content": "$ORIGIN example.org.\n$TTL 5\n@ SOA ns.example.net. hostmaster.example.org. "
                    "720206488 3600 600 604800 5\n@ NS ns.example.net.\n",
                    "validate": "named-checkzone -q example.org %s",
                }
            ],
            id="zone_files",
        ),
        pytest.param(
            "firewall_statements",
            [[{"port": 22, "sources": ["192.0.2.0/24"]}], "ssh"],
            ['ip saddr { 192.0.2.0/24 } tcp dport { 22 } accept comment "ssh"'],
            id="firewall_statements",
        ),
        pytest.param(
            "leftover_table",
            [{"app1": [{"kind": "folder", "name": "grace", "number": 7}]}, {}],
            [
                "name    what     on     next",
                "grace   folder   app1   Add `grace: {number: 7}` to retired in the registry",
            ],
            id="leftover_table",
        ),
        pytest.param(
            "required_secrets",
            [{"production": ENTRY}, APPLICATIONS],
            {"production": {"database_password": 32, "key": 32}},
            id="required_secrets",
        ),
        pytest.param(
            "secret_problems",
            [{"a": {"b": "changeme"}}, {"a": {"b": 8}}],
            ["a.b is a sample, not a secret"],
            id="secret_problems",
        ),
        pytest.param(
            "promoted_deployments",
            [{"production": ENTRY}, {"app1": "192.0.2.21"}, []],
            [],
            id="promoted_deployments before any release",
        ),
        pytest.param(
            "step_failures",
            [[STEP], {"app1": {"results": {"production": {"error": "too slow"}}}}],
            {"production": "app1: too slow"},
            id="step_failures",
        ),
        pytest.param("steps_at", [[{**STEP, "steps": []}], 0], [], id="steps_at beyond the last"),
        pytest.param(
            "with_leases",
            [[STEP], {"production": {"token": 7, "person": "erin", "since": "2026-11-25T17:30:00Z"}}],
            [{**STEP, "token": 7, "person": "erin", "began": "2026-11-25T17:30:00Z"}],
            id="with_leases",
        ),
        pytest.param(
            "verdict_failures",
            [[STEP], {"db1": {"results": {}}}, "nobody answered"],
            {"production": "nobody answered"},
            id="verdict_failures",
        ),
        pytest.param("add_baselines", [{}, {"lb1": {"unreachable": True}}], {}, id="add_baselines of a silent host"),
        pytest.param(
            "former_slots",
            [[{**STEP, "former": None, "migrate": ["migrate"]}]],
            [],
            id="former_slots of a first release",
        ),
        pytest.param("watch_entries", [[], 40], [], id="watch_entries of nobody"),
        pytest.param("verdict_lines", [{"db1": {"unreachable": True}}], [], id="verdict_lines of a silent host"),
        pytest.param(
            "rollout_outcomes", [[{**STEP, "hosts": []}], {}, [], {}, ""], [], id="rollout_outcomes of nothing"
        ),
    ],
)
def test_a_filter_answers(name: str, arguments: list[Any], expected: object) -> None:
    assert FILTERS[name](*arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        pytest.param("alternative_names", [["EMAIL:a"]], "EMAIL:a", id="alternative_names"),
        pytest.param("connection_plan", [ENVIRONMENT, ["bob"]], "'bob'", id="connection_plan"),
        pytest.param("environment_records", [[{}], "example.org", [], []], "server_name", id="environment_records"),
        pytest.param("zone_files", [{**ZONE, "name_servers": []}, "/zones"], "name_server_names", id="zone_files"),
        pytest.param("firewall_statements", [[{"port": 0}], "ssh"], "port: 0", id="firewall_statements"),
        pytest.param("required_secrets", [{"p": {"application": "other"}}, {}], "other", id="required_secrets"),
        pytest.param("secret_problems", [{}, {"a": "b"}], "a", id="secret_problems"),
        pytest.param("upgrade_plan", [{}, {}, "nginx"], "components: nginx", id="upgrade_plan"),
    ],
)
def test_a_filter_names_itself_and_what_it_refuses(name: str, arguments: list[Any], complaint: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^{name}: .*{complaint}"):
        FILTERS[name](*arguments)


def test_connection_report_compares_what_was_found_with_what_is_known() -> None:
    found = {"controller": [{"endpoints": [{**DEAD, "lookups": []}]}], "lb1": [{"unreachable": True}]}
    seen = connection_report.connection_report(ENVIRONMENT, found, {"lb1": {}}, hosts=["lb1"], when="now")
    assert (seen["ok"], seen["problems"][0]) == (False, "ssh/lb1 from controller (unproven)")
    assert seen["data"]["viewpoints"]["lb1"] is None
