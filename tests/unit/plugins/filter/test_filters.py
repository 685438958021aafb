# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters, by the names under which templates call them, with errors that name what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.filter import (
    alternative_names,
    firewall_statements,
    leftover_table,
    promoted_deployments,
    required_secrets,
    secret_problems,
    step_failures,
)

MODULES = (
    alternative_names,
    firewall_statements,
    leftover_table,
    promoted_deployments,
    required_secrets,
    secret_problems,
    step_failures,
)
FILTERS = {name: function for module in MODULES for name, function in module.FilterModule().filters().items()}

ENTRY = {"name": "production", "application": "orders"}
APPLICATIONS = {"orders": {"secrets": ["key"]}, "plain": {}}
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
    ],
)
def test_a_filter_answers(name: str, arguments: list[Any], expected: object) -> None:
    assert FILTERS[name](*arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        pytest.param("alternative_names", [["EMAIL:a"]], "EMAIL:a", id="alternative_names"),
        pytest.param("firewall_statements", [[{"port": 0}], "ssh"], "port: 0", id="firewall_statements"),
        pytest.param("required_secrets", [{"p": {"application": "other"}}, {}], "other", id="required_secrets"),
        pytest.param("secret_problems", [{}, {"a": "b"}], "a", id="secret_problems"),
    ],
)
def test_a_filter_names_itself_and_what_it_refuses(name: str, arguments: list[Any], complaint: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^{name}: .*{complaint}"):
        FILTERS[name](*arguments)
