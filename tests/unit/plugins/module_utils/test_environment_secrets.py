# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which secrets are made, which are kept, and which are no secrets."""

from __future__ import annotations

from functools import partial
from secrets import token_urlsafe

import pytest
import yaml
from ansible_collections.nectar.backend.plugins.module_utils.environment_secrets import (
    SecretsError,
    find_problems,
    flatten_required,
    make_secret,
    plan_secrets,
    render_secrets,
    renew_secrets,
    required_by_deployments,
    settle_secrets,
)

GOOD = "k7Qd2vXw9LrT4bNz8HsY1mCf6PjG3aEu"


def numbered(length: int) -> str:
    """Stand in for chance."""
    return f"new-{length}"


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"a": {"b": None, "c": 40}}, {("a", "b"): 32, ("a", "c"): 40}, id="nested lengths"),
        pytest.param(["a.b", "c", "a.b"], {("a", "b"): 32, ("c",): 32}, id="dotted names"),
        pytest.param(
            {"deployments": {"new-shop": {"database_password": 24}}},
            {("deployments", "new-shop", "database_password"): 24},
            id="dashes",
        ),
    ],
)
def test_required_names(required: object, expected: object) -> None:
    assert flatten_required(required) == expected


@pytest.mark.parametrize(
    ("required", "message"),
    [
        pytest.param(
            "a.b", "required: must be a mapping of names to lengths or a list of dotted names, not a text", id="a text"
        ),
        pytest.param(
            {"a": "long"}, "required: a must be a length of at least 8 characters, not 'long'", id="no number"
        ),
        pytest.param(
            {"a": {"b": 4}}, "required: a.b must be a length of at least 8 characters, not 4", id="too little"
        ),
        pytest.param(
            {"a": True}, "required: a must be a length of at least 8 characters, not True", id="a truth value"
        ),
        pytest.param(["a..b"], "'' below a is no name for a secret: use letters, digits, - and _", id="an empty part"),
        pytest.param({"a b": 32}, "'a b' is no name for a secret: use letters, digits, - and _", id="a blank"),
        pytest.param({1: 32}, "1 is no name for a secret: use letters, digits, - and _", id="a number as name"),
    ],
)
def test_impossible_requirements(required: object, message: str) -> None:
    with pytest.raises(SecretsError) as caught:
        flatten_required(required)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("existing", "required", "secrets", "made", "present", "unused"),
    [
        pytest.param({}, {"a": {"b": 40}}, {"a": {"b": "new-40"}}, ["a.b"], [], [], id="all new"),
        pytest.param(
            {"a": {"b": "kept"}}, {"a": {"b": 40}}, {"a": {"b": "kept"}}, [], ["a.b"], [], id="kept though short"
        ),
        pytest.param(
            {"a": {"b": "kept"}},
            {"a": {"c": 40}},
            {"a": {"b": "kept", "c": "new-40"}},
            ["a.c"],
            [],
            ["a.b"],
            id="beside one nobody asks for",
        ),
        pytest.param({"a": "x"}, [], {"a": "x"}, [], [], ["a"], id="nothing required"),
    ],
)
def test_plan(
    existing: object, required: object, secrets: object, made: list[str], present: list[str], unused: list[str]
) -> None:
    plan = plan_secrets(existing, required, numbered)
    assert (plan.secrets, list(plan.made), list(plan.present), list(plan.unused)) == (secrets, made, present, unused)
    assert plan.changed is bool(made)


@pytest.mark.parametrize(
    ("existing", "required", "message"),
    [
        pytest.param(None, {}, "holds nothing, where nested mappings of names to texts are expected", id="nothing"),
        pytest.param(["a"], {}, "holds a list, where nested mappings of names to texts are expected", id="a list"),
        pytest.param(
            {"a": {"b": 5}},
            {},
            "a.b holds a number, where a text is expected; quote the value, or take the name out",
            id="a number",
        ),
        pytest.param({"a": ""}, {}, "a holds an empty text, where a text is expected", id="empty"),
        pytest.param({"a": [GOOD]}, {}, "a holds a list, where a text is expected", id="a list inside"),
        pytest.param({"a": GOOD}, {"a": {"b": 32}}, "a is there, so a.b can't be", id="a text where names are needed"),
        pytest.param({"a": {"b": GOOD}}, {"a": 32}, "a.b is there, so a can't be", id="names where a text is needed"),
    ],
)
def test_broken_secrets_are_refused_without_their_values(existing: object, required: object, message: str) -> None:
    with pytest.raises(SecretsError) as caught:
        plan_secrets(existing, required, numbered)
    assert str(caught.value).startswith(message)
    assert GOOD not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(GOOD, None, id="good"),
        pytest.param(None, "is missing", id="missing"),
        pytest.param("", "is empty", id="empty"),
        pytest.param("  \n", "is empty", id="blank"),
        pytest.param(12345678, "is a number, where a text is expected; quote it", id="a number"),
        pytest.param({"x": GOOD}, "is a mapping, where a text is expected; quote it", id="a mapping"),
        pytest.param("k7Qd2vXw", "has 8 characters, fewer than the 32 it needs", id="too short"),
        pytest.param("changeme", "is a sample, not a secret", id="changeme"),
        pytest.param("Change-Me!", "is a sample, not a secret", id="changeme in disguise"),
        pytest.param("changeme-changeme-changeme-changeme", "is a sample, not a secret", id="changeme made long"),
        pytest.param("password123", "is a sample, not a secret", id="a word and digits"),
        pytest.param("x" * 40, "is a sample, not a secret", id="one character repeated"),
        pytest.param("example-password-for-the-documentation", "is a sample, not a secret", id="example"),
        pytest.param("<put the password here, at least 32>", "is a sample, not a secret", id="angle brackets"),
        pytest.param("{{ vault_superuser_password_of_lab }}", "is a sample, not a secret", id="an unrendered template"),
        pytest.param("superuser_password", "is a sample, not a secret", id="its own name"),
        pytest.param("PostgreSQL", "is a sample, not a secret", id="the name above it"),
    ],
)
def test_problems(value: object, reason: str | None) -> None:
    found = find_problems({"postgresql": {"superuser_password": value}}, ["postgresql.superuser_password"])
    assert [str(problem) for problem in found] == ([f"postgresql.superuser_password {reason}"] if reason else [])


def test_all_problems_are_named_at_once() -> None:
    found = find_problems({"a": GOOD, "b": GOOD, "c": "todo"}, ["a", "b", "c", "d.e"])
    assert [str(problem) for problem in found] == [
        "b has the same value as a",
        "c is a sample, not a secret",
        "d.e is missing",
    ]


@pytest.mark.parametrize(
    "secrets", [pytest.param(None, id="nothing"), pytest.param([], id="a list"), pytest.param("x", id="a text")]
)
def test_no_mapping_at_all_misses_everything(secrets: object) -> None:
    assert [str(problem) for problem in find_problems(secrets, ["a.b"])] == ["a.b is missing"]


def test_made_secrets_have_no_problems() -> None:
    required = [f"deployments.d{number}.database_password" for number in range(50)]
    plan = plan_secrets({}, required, partial(make_secret, token=token_urlsafe))
    assert find_problems(plan.secrets, required) == ()


def test_a_secret_never_starts_like_an_option() -> None:
    tokens = iter(["-rf", "_x", "kept"])
    assert make_secret(3, lambda _length: next(tokens)) == "kept"


@pytest.mark.parametrize(
    "secrets",
    [
        pytest.param({}, id="none"),
        pytest.param({"a": {"b": GOOD}, "c": GOOD}, id="nested"),
        pytest.param({"on": "yes", "null": "1", "1": "0x1f"}, id="what YAML would take for something else"),
        pytest.param({"a": 'quote " backslash \\ colon: hash # \u00e9'}, id="odd characters"),
    ],
)
def test_what_is_written_reads_back(secrets: dict[str, object]) -> None:
    assert (yaml.safe_load(render_secrets(secrets)) or {}) == secrets


def test_what_deployments_need() -> None:
    deployments = {"production": {"application": "orders"}, "records": {"application": "ara"}}
    applications = {"orders": {}, "ara": {"secrets": ["secret_key", "admin_password"]}}
    assert required_by_deployments(deployments, applications) == {
        "production": {"database_password": 32},
        "records": {"admin_password": 32, "database_password": 32, "secret_key": 32},
    }


def test_a_deployment_of_an_unknown_application_is_refused() -> None:
    with pytest.raises(SecretsError, match="deployment production: there is no application 'orders'"):
        required_by_deployments({"production": {"application": "orders"}}, {})


ALICE = {"deployments": {"alice": {"database_password": "old", "token": "kept"}}}
TURNED = {
    "database_password": "new-32",
    "second_login": True,
    "token": "kept",
    "previous": {"database_password": "old"},
}
RENEW = {"deployments.alice.database_password": None, "deployments.alice.second_login": True}


def test_what_is_renewed_is_there_twice_and_only_once_at_a_time() -> None:
    first = renew_secrets(ALICE, RENEW, numbered)
    assert first.secrets == {"deployments": {"alice": TURNED}}
    assert first.renewed == ("deployments.alice.database_password", "deployments.alice.second_login")
    again = renew_secrets(first.secrets, RENEW, lambda length: "newer")
    assert (again.secrets, again.renewed) == (first.secrets, ())


def test_the_first_login_has_its_turn_again() -> None:
    known = {"deployments": {"alice": {"database_password": "old", "second_login": True}}}
    found = renew_secrets(known, {**RENEW, "deployments.alice.second_login": False}, numbered).secrets
    before = {"database_password": "old", "second_login": True}
    assert found == {"deployments": {"alice": {"database_password": "new-32", "previous": before}}}
    assert yaml.safe_load(render_secrets(found)) == found


def test_what_is_settled_is_there_once() -> None:
    both = {"deployments": {"alice": TURNED, "bob": {"token": "b", "previous": {"token": "a"}}}}
    found = settle_secrets(both, ["deployments.alice", "deployments.carol"])
    assert found.settled == ("deployments.alice",)
    alice = {name: value for name, value in TURNED.items() if name != "previous"}
    assert found.secrets == {"deployments": {"alice": alice, "bob": both["deployments"]["bob"]}}


def test_a_secret_that_is_not_there_is_not_renewed() -> None:
    with pytest.raises(SecretsError, match=r"deployments\.bob\.token is not there"):
        renew_secrets(ALICE, {"deployments.bob.token": None}, numbered)
