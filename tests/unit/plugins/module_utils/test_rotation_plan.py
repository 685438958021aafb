# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose secrets are replaced by what, who logs in meanwhile, and when the former ones are forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.revisions import environment_file
from ansible_collections.nectar.backend.plugins.module_utils.rotation_plan import (
    RotationError,
    database_logins,
    holds,
    plan_forgetting,
    plan_rotation,
    secrets_in_use,
)
from ansible_collections.nectar.backend.plugins.module_utils.slots import Content, Record

DEPLOYMENTS = {
    "alice": {"application": "orders", "database": "alice", "database_role": "alice", "hosts": ["app1", "app2"]},
    "records": {"application": "ara", "database": "records", "database_role": "records", "hosts": ["app1"]},
    "site": {"application": "plain", "database": None, "database_role": None, "hosts": ["app1"]},
}
APPLICATIONS: dict[str, dict[str, Any]] = {"orders": {}, "ara": {"secrets": ["admin_password"]}, "plain": {}}
SECRETS: dict[str, dict[str, Any]] = {
    "alice": {"database_password": "old"},
    "records": {"database_password": "older", "second_login": True, "admin_password": "boss"},
    "site": {},
}
TURNED = {
    "database_password": "new",
    "second_login": True,
    "previous": {"database_password": "old"},
}


def plan(*names: str, kinds: tuple[str, ...] = (), in_file: bool = True, **secrets: Any) -> dict[str, Any]:
    return plan_rotation(DEPLOYMENTS, APPLICATIONS, {**SECRETS, **secrets}, names, kinds, in_file)


@pytest.mark.parametrize(
    ("names", "kinds", "renew"),
    [
        pytest.param(
            ["alice"],
            [],
            {"deployments.alice.database_password": None, "deployments.alice.second_login": True},
            id="the second login's turn",
        ),
        pytest.param(
            ["records"],
            ["database"],
            {"deployments.records.database_password": None, "deployments.records.second_login": False},
            id="the first login's turn again",
        ),
        pytest.param(
            ["all"],
            ["application"],
            {"deployments.records.admin_password": None},
            id="everyone's, as far as they have such secrets",
        ),
        pytest.param(["site"], [], {}, id="no secrets at all"),
        pytest.param([], ["certificates"], {}, id="certificates ask for no deployment"),
    ],
)
def test_what_is_renewed(names: list[str], kinds: list[str], renew: dict[str, Any]) -> None:
    found = plan(*names, kinds=tuple(kinds))
    assert found["renew"] == renew
    assert found["names"] == list(dict.fromkeys(name.split(".")[1] for name in renew))


def test_what_was_begun_goes_on_with_the_values_that_it_has() -> None:
    found = plan("alice", kinds=("application",), alice=TURNED)
    assert (found["names"], found["renew"]) == (["alice"], {})
    assert found["lines"][0] == "alice: database_password was renewed before, and what is left of that is done"


def test_lines_say_who_takes_over_and_in_which_order_and_no_value() -> None:
    first, second, *order = plan("alice", "records")["lines"]
    assert first == "alice: database_password is renewed, and the login alice-2 takes over from alice"
    assert second == (
        "records: database_password and admin_password are renewed, and the login records takes over from records-2"
    )
    assert [line[0] for line in order] == ["1", "2", "3"]
    assert "old" not in first + second


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        pytest.param([], {}, "whose secrets", id="nobody named"),
        pytest.param(["alise"], {}, "did you mean alice", id="an unknown name"),
        pytest.param(["alice"], {"kinds": ("databases",)}, "'databases' is no kind", id="an unknown kind"),
        pytest.param(["alice"], {"in_file": False}, "write second_login: true", id="a vault is edited by a person"),
        pytest.param(
            ["alice"],
            {"alice": {"database_password": "new", "previous": {"database_password": "old"}}},
            "write second_login: true",
            id="two passwords for one login",
        ),
        pytest.param(
            ["alice"],
            {"alice": {**TURNED, "database_password": "old"}},
            r"previous\.database_password: it is the present value",
            id="the same value twice",
        ),
        pytest.param(["alice"], {"alice": {**TURNED, "previous": "old"}}, "holds no mapping", id="no names"),
    ],
)
def test_what_is_refused(names: list[str], given: dict[str, Any], message: str) -> None:
    with pytest.raises(RotationError, match=message):
        plan(*names, **given)


OWN: dict[str, Any] = {
    "postgresql": {"replication_password": "a", "rewind_password": "b"},
    "patroni": {"rest_password": "c"},
    "backups": {"cipher_key": "d"},
}
RENEWED = {
    "replication_password": "e",
    "rewind_password": "f",
    "second_login": True,
    "previous": {"replication_password": "a", "rewind_password": "b"},
}


def plan_own(in_file: bool = True, **parts: Any) -> dict[str, Any]:
    return plan_rotation({}, {}, {}, [], ["environment"], in_file, {**OWN, **parts})


def test_the_environments_own_are_renewed_but_for_the_key_of_its_backups() -> None:
    found = plan_own()
    assert found["parts"] == ["postgresql", "patroni"]
    assert found["renew"] == {
        "postgresql.replication_password": None,
        "postgresql.rewind_password": None,
        "postgresql.second_login": True,
        "patroni.rest_password": None,
    }
    assert found["lines"][0] == (
        "postgresql: replication_password and rewind_password are renewed, and the second logins take over"
    )
    assert found["lines"][-1].startswith("backups.cipher_key stays as it is")


def test_the_environments_own_go_on_with_the_values_that_they_have() -> None:
    found = plan_own(postgresql=RENEWED, patroni={"rest_password": "g", "previous": {"rest_password": "c"}})
    assert (found["parts"], found["renew"]) == (["postgresql", "patroni"], {})
    assert plan_own(in_file=False, postgresql=RENEWED)["parts"] == ["postgresql"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param({}, "write second_login: true beside replication_password and rewind_password", id="a vault"),
        pytest.param(
            {"postgresql": {**RENEWED, "previous": {"replication_password": "a"}}},
            "replication_password and rewind_password take turns together",
            id="one of two logins",
        ),
        pytest.param(
            {"postgresql": {**RENEWED, "second_login": False}}, "both passwords are for one login", id="no turn"
        ),
        pytest.param(
            {"patroni": {"rest_password": "c", "previous": {"rest_password": "c"}}},
            "it is the present value",
            id="nothing new",
        ),
    ],
)
def test_what_is_refused_of_the_environments_own(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RotationError, match=message):
        plan_own(in_file=False, **parts)


def test_a_vault_that_a_person_has_renewed_goes_on() -> None:
    assert plan("alice", in_file=False, alice=TURNED)["names"] == ["alice"]


@pytest.mark.parametrize(
    ("own", "settled", "login", "former"),
    [
        pytest.param({"database_password": "old"}, [], ("alice", "old"), ("", ""), id="one login, the role's own"),
        pytest.param(TURNED, [], ("alice-2", "new"), ("alice", "old"), id="both, while one takes over"),
        pytest.param(TURNED, ["alice"], ("alice-2", "new"), ("", ""), id="settled"),
        pytest.param({"previous": {"admin_password": "x"}}, [], ("alice", ""), ("", ""), id="another secret's turn"),
    ],
)
def test_who_logs_in(own: dict[str, Any], settled: list[str], login: tuple[str, str], former: tuple[str, str]) -> None:
    found = database_logins({"alice": DEPLOYMENTS["alice"]}, {"alice": own}, settled)["alice"]
    assert (found["login"], found["password"]) == login
    assert (found["former_login"], found["former_password"]) == former
    assert (found["database"], found["role"]) == ("alice", "alice")


def test_two_passwords_for_one_login_let_nobody_in() -> None:
    own = {"database_password": "new", "previous": {"database_password": "old"}}
    with pytest.raises(RotationError, match="take turns"):
        database_logins(DEPLOYMENTS, {**SECRETS, "alice": own}, [])


BLUE, GREEN, PAST = (Content("orders-1", revision) for revision in ("b1", "g1", "p1"))
RECORD = Record("alice", "green", 4, None, {"blue": BLUE, "green": GREEN}, (BLUE, PAST))


@pytest.mark.parametrize(
    ("holding", "running", "kept", "used"),
    [
        pytest.param(["green"], [], [], ["green"], id="what serves"),
        pytest.param(["blue"], ["blue", "green"], ["b1"], ["blue"], id="what still runs"),
    ],
)
def test_nothing_is_forgotten_while_a_slot_uses_it(
    holding: list[str], running: list[str], kept: list[str], used: list[str]
) -> None:
    assert plan_forgetting(RECORD, holding, running, kept) == (used, RECORD)


def test_what_could_not_run_any_more_is_nothing_to_return_to() -> None:
    used, record = plan_forgetting(RECORD, ["blue"], ["green"], ["b1"])
    assert used == []
    assert (record.slots, record.past) == ({"green": GREEN}, (PAST,))
    assert (record.active, record.generation) == ("green", 4)


@pytest.mark.parametrize("secret", ["plain-Secret_1", 'with"quote\\and$dollar', "größer"])
def test_a_secret_is_found_however_it_is_written(secret: str) -> None:
    environment = environment_file({"DATABASE": f"postgresql://alice:{secret}@127.0.0.1/alice"})
    assert holds(environment, [secret])
    assert holds(json.dumps({"files": {"green": environment}}), [secret])
    assert not holds(environment, ["another"])


def test_a_server_that_is_silent_or_behind_keeps_the_former_ones_valid() -> None:
    free, busy = {"used": [], "forgotten": []}, {"used": ["blue"], "forgotten": []}
    looks = {"app1": {"alice": free, "records": busy}}
    assert secrets_in_use(["alice", "records"], DEPLOYMENTS, looks) == {
        "alice": "app2 did not answer",
        "records": "slot blue on app1 has the former ones",
    }
    assert secrets_in_use(["alice"], DEPLOYMENTS, {"app1": {"alice": free}, "app2": {"alice": free}}) == {}
