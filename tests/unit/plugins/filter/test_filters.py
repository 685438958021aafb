# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters as templates use them: by their full names, with errors that name what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[4]
APPLICATIONS = {"orders": {"secrets": ["key"]}, "plain": {}}
ENTRY = {"name": "production", "application": "orders"}
STEP = {"name": "production", "hosts": ["app1"], "migrate_host": "app1"}


@pytest.fixture(scope="module", autouse=True)
def collection() -> None:
    init_plugin_loader([str(ROOT / ".ansible" / "collections")])


def render(expression: str, **variables: Any) -> Any:
    """Evaluate an expression as a playbook would."""
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template("{{ " + expression + " }}"))


@pytest.mark.parametrize(
    ("expression", "variables", "expected"),
    [
        pytest.param(
            "names | nectar.backend.alternative_names",
            {"names": ["IP:2001:DB8:0:0::7", "DNS:DB1", "DNS:db1"]},
            ["DNS:db1", "IP:2001:db8::7"],
            id="alternative_names",
        ),
        pytest.param(
            "rules | nectar.backend.firewall_statements('ssh')",
            {"rules": [{"port": 22, "sources": ["192.0.2.0/24"]}]},
            ['ip saddr { 192.0.2.0/24 } tcp dport { 22 } accept comment "ssh"'],
            id="firewall_statements",
        ),
        pytest.param(
            "deployments | nectar.backend.required_secrets(applications)",
            {"deployments": {"production": ENTRY}, "applications": APPLICATIONS},
            {"production": {"database_password": 32, "key": 32}},
            id="required_secrets",
        ),
        pytest.param(
            "secrets | nectar.backend.secret_problems({'a': {'b': 8}})",
            {"secrets": {"a": {"b": "changeme"}}},
            ["a.b is a sample, not a secret"],
            id="secret_problems",
        ),
        pytest.param(
            "deployments | nectar.backend.promoted_deployments({'app1': '192.0.2.21'}, [])",
            {"deployments": {"production": ENTRY}},
            [],
            id="promoted_deployments before any release",
        ),
        pytest.param(
            "[step] | nectar.backend.step_failures({'app1': {'results': {'production': {'error': 'too slow'}}}})",
            {"step": STEP},
            {"production": "app1: too slow"},
            id="step_failures",
        ),
    ],
)
def test_a_filter_answers(expression: str, variables: dict[str, Any], expected: object) -> None:
    assert render(expression, **variables) == expected


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        pytest.param("['EMAIL:a'] | nectar.backend.alternative_names", "EMAIL:a", id="alternative_names"),
        pytest.param("[{'port': 0}] | nectar.backend.firewall_statements('ssh')", "port: 0", id="firewall_statements"),
        pytest.param(
            "{'production': {'application': 'other'}} | nectar.backend.required_secrets({})",
            "other",
            id="required_secrets",
        ),
        pytest.param("{} | nectar.backend.secret_problems({'a': 'b'})", "a", id="secret_problems"),
    ],
)
def test_a_filter_names_itself_and_what_it_refuses(expression: str, complaint: str) -> None:
    with pytest.raises(AnsibleError) as caught:
        render(expression)
    name = expression.partition("nectar.backend.")[2].partition("(")[0]
    assert name in str(caught.value)
    assert complaint in str(caught.value)
