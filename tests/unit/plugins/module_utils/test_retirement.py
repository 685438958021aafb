# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may be retired, and what a person types next."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.retirement import (
    Registry,
    RetirementError,
    plan_retirement,
    table,
)


def tombstone(name: str, number: int, **changes: Any) -> dict[str, Any]:
    return {"name": name, "number": number, "login": name, "database": name.replace("-", "_"), **changes}


def found(kind: str, name: str, number: int | None = None) -> dict[str, Any]:
    return {"kind": kind, "name": name, "number": number}


RETIRED = {
    "grace": tombstone("grace", 7),
    "ann-lee": tombstone("ann-lee", 8, login="ann"),
    "shop": tombstone("shop", 104),
}
LIVING = Registry(
    {"production": {"number": 101, "database": "production"}, "alice": {"number": 1, "database": "alice"}},
    {"alice": {"number": 1, "user": "alice"}},
    RETIRED,
)
LOOKS = {
    "app1": [found("user", "grace", 7), found("account", "grace", 7), found("folder", "zoe"), found("user", "zoe", 9)],
    "db1": [found("database", "ann_lee"), found("account", "ann"), found("database", "shop")],
    "lb1": [],
}


def test_a_member_goes_with_the_account() -> None:
    plan = plan_retirement("", "grace", LIVING, LOOKS)
    assert plan["there"] == {"app1": [found("user", "grace", 7), found("account", "grace", 7)]}
    assert (plan["with_account"], plan["tombstone"]["number"]) == (True, 7)


def test_a_deployment_goes_without_the_account() -> None:
    plan = plan_retirement("grace", "", LIVING, LOOKS)
    assert plan["there"] == {"app1": [found("user", "grace", 7)]}
    assert plan["with_account"] is False


def test_the_tombstone_tells_other_names() -> None:
    assert plan_retirement("", "ann-lee", LIVING, LOOKS)["there"] == {"db1": LOOKS["db1"][:2]}


def test_nothing_is_left() -> None:
    plan = plan_retirement("", "grace", LIVING, {"app1": []})
    assert (plan["there"], plan["table"]) == ({}, [])


@pytest.mark.parametrize(
    ("deployment", "member", "changes", "said"),
    [
        pytest.param("", "", {}, "name either -e deployment=NAME or -e member=NAME", id="nobody"),
        pytest.param("shop", "grace", {}, "name either -e deployment=NAME or -e member=NAME", id="two"),
        pytest.param(
            "", "alice", {}, "alice lives: it is under members .* as `alice: {number: 1}`", id="a living member"
        ),
        pytest.param("production", "", {}, "production lives: it is under deployments", id="a living deployment"),
        pytest.param(
            "", "zoe", {}, r"zoe is on servers, but .* Add `zoe: {number: 9}` to retired", id="no tombstone yet"
        ),
        pytest.param("", "grcae", {}, "'grcae' is neither .* did you mean grace", id="a slip"),
        pytest.param("", "nobody-here", {}, "retired are ann-lee, grace, shop", id="unknown"),
        pytest.param(
            "old",
            "",
            {"old": tombstone("old", 9, database="alice")},
            "retired.old.database: alice belongs to alice now",
            id="a database that lives",
        ),
        pytest.param(
            "",
            "old",
            {"old": tombstone("old", 9, login="alice")},
            "retired.old.login: alice belongs",
            id="a login that lives",
        ),
    ],
)
def test_refusals(deployment: str, member: str, changes: dict[str, Any], said: str) -> None:
    registry = Registry(LIVING.deployments, LIVING.members, RETIRED | changes)
    with pytest.raises(RetirementError, match=said):
        plan_retirement(deployment, member, registry, LOOKS)


def test_the_table() -> None:
    looks = {**LOOKS, "app2": LOOKS["app1"][:2], "app3": [found("release", "old-1"), found("database", "nobodys")]}
    lines = table(looks, RETIRED)
    assert lines[0].split() == ["name", "what", "on", "next"]
    assert [line.split("   ")[-1].strip() for line in lines[1:]] == [
        "ansible-playbook playbooks/retire.yml -e member=ann-lee",
        "ansible-playbook playbooks/retire.yml -e member=ann-lee",
        "ansible-playbook playbooks/retire.yml -e member=grace",
        "Add `nobodys: {number: its number}` to retired in the registry",
        "sudo rm --recursive /opt/nectar/releases/old-1",
        "ansible-playbook playbooks/retire.yml -e deployment=shop",
        "Add `zoe: {number: 9}` to retired in the registry",
    ]
    assert lines[3].split("   ")[:1] == ["grace"] and "app1, app2" in lines[3]


def test_no_table_without_leftovers() -> None:
    assert table({"app1": []}, RETIRED) == []
