# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placeholders, secrets, and how an environment is written for systemd."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.revisions import (
    DatabaseEndpoint,
    RevisionError,
    check_application,
    environment_file,
    missing_secrets,
    placeholders_in,
    render_environment,
    revision_id,
    values_for,
)

DEPLOYMENT = {
    "name": "production",
    "server_name": "production.nectar.test",
    "url": "https://production.nectar.test/",
    "ports": {"blue": 10002, "green": 10003},
    "database": "production",
    "database_role": "production",
}
SECRETS = {"database_password": "s3cret", "admin_password": "hunter2"}


def application(
    command: str = "serve {port}", migrate: tuple[str, ...] = (), secrets: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return an application with one process."""
    return {
        "processes": {"web": {"type": "web", "command": command}},
        "migrate": list(migrate),
        "secrets": list(secrets),
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("plain", [], id="none"),
        pytest.param("{address}:{port}", ["address", "port"], id="two"),
        pytest.param("{{literal}}", [], id="doubled braces"),
        pytest.param("{port:>5}", ["port:>5"], id="a format is no placeholder"),
    ],
)
def test_placeholders(text: str, names: list[str]) -> None:
    assert list(placeholders_in(text)) == names


def test_a_lone_brace_is_refused() -> None:
    with pytest.raises(RevisionError, match="double a brace that is meant as such"):
        list(placeholders_in("{port"))


@pytest.mark.parametrize(
    ("found", "environment", "database", "said"),
    [
        pytest.param(application(), {"URL": "{url}"}, True, [], id="nothing wrong"),
        pytest.param(
            application("serve {prot}"),
            {},
            True,
            ["command of web uses {prot}, which is no placeholder here; did you mean {port}?"],
            id="misspelt",
        ),
        pytest.param(
            application("serve {database_password}"),
            {},
            True,
            [
                "command of web uses {database_password}, and commands can be read by anyone on the host; pass it through the environment"
            ],
            id="a password in a command",
        ),
        pytest.param(
            application(migrate=("seed {secret_admin_password}",), secrets=("admin_password",)),
            {},
            True,
            [
                "migrate[0] uses {secret_admin_password}, and commands can be read by anyone on the host; pass it through the environment"
            ],
            id="a secret in a migration",
        ),
        pytest.param(
            application(secrets=("key",)), {"KEY": "{secret_key}"}, False, [], id="a secret in the environment"
        ),
        pytest.param(
            application(),
            {"KEY": "{secret_key}"},
            True,
            ["environment KEY uses {secret_key}"],
            id="a secret that nobody makes",
        ),
        pytest.param(
            application(), {"DB": "{database_name}"}, False, ["environment DB uses {database_name}"], id="no database"
        ),
        pytest.param(
            application("serve 'x"),
            {},
            True,
            ['command of web is "serve \'x": No closing quotation'],
            id="an open quotation",
        ),
        pytest.param(application("{"), {}, True, ["command of web: '{'"], id="a lone brace"),
        pytest.param(application(" "), {}, True, ["command of web is empty"], id="nothing to run"),
    ],
)
def test_application(found: dict[str, Any], environment: dict[str, str], database: bool, said: list[str]) -> None:
    problems = check_application(found, environment, database)
    assert len(problems) == len(said)
    assert all(problem.startswith(expected) for problem, expected in zip(problems, said, strict=True)), problems


def values(address: str = "192.0.2.21", **changes: Any) -> dict[str, str]:
    """Return the values of a blue slot."""
    pooler = DatabaseEndpoint("127.0.0.1", 6432)
    return values_for({**DEPLOYMENT, **changes}, "blue", "orders-1", address, pooler, SECRETS, "/shared")


def test_values() -> None:
    environment = render_environment(
        {
            "DB": "postgresql://{database_user}:{database_password}@{database_host}:{database_port}/{database_name}{database_query}",
            "ME": "{name} {port} {secret_admin_password}",
        },
        values(),
    )
    assert environment == {
        "DB": "postgresql://production:s3cret@127.0.0.1:6432/production",
        "ME": "production 10002 hunter2",
    }


def test_the_second_login_and_what_it_replaces() -> None:
    secrets = {**SECRETS, "second_login": True, "previous": {"database_password": "former"}}
    found = values_for(
        DEPLOYMENT, "blue", "orders-1", "192.0.2.21", DatabaseEndpoint("127.0.0.1", 6432), secrets, "/shared"
    )
    assert found["database_user"] == "production-2"
    assert "former" not in str(found)


def test_an_address_of_ipv6_is_bracketed() -> None:
    assert values("2001:db8::21")["address"] == "[2001:db8::21]"


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param({"workers": 3, "threads": 8, "worker_timeout": 60}, "3 8 60", id="its share"),
        pytest.param({}, "1 4 30", id="without one"),
    ],
)
def test_workers_and_their_timeout(share: dict[str, int], expected: str) -> None:
    found = render_environment({"A": "{workers} {threads} {worker_timeout}"}, values(share=share))
    assert found == {"A": expected}


def test_without_a_database_there_are_no_values_for_it() -> None:
    assert [name for name in values(database="") if name.startswith("database")] == []


@pytest.mark.parametrize(
    ("secrets", "missing"),
    [
        pytest.param(SECRETS, [], id="all there"),
        pytest.param({}, ["database_password", "admin_password"], id="none there"),
        pytest.param({"database_password": "", "admin_password": "x"}, ["database_password"], id="an empty one"),
    ],
)
def test_missing_secrets(secrets: dict[str, str], missing: list[str]) -> None:
    assert missing_secrets(DEPLOYMENT, {"secrets": ["admin_password"]}, secrets) == missing


def test_a_revision_does_not_depend_on_order() -> None:
    assert revision_id({"a": 1, "b": 2}) == revision_id({"b": 2, "a": 1}) != revision_id({"a": 1, "b": 3})


def test_environment_file() -> None:
    assert (
        environment_file({"B": 'say "hi" for $5 \\ `x` 100%', "A": "plain"})
        == 'A="plain"\nB="say \\"hi\\" for \\$5 \\\\ \\`x\\` 100%"\n'
    )
