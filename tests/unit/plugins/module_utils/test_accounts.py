# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which commands bring the members' accounts about."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.accounts import (
    Account,
    AccountsError,
    parse_members,
    plan_accounts,
)


def key(person: str, kind: str = "ssh-ed25519") -> str:
    """Make a line that is built like a public key."""
    blob = len(kind).to_bytes(4, "big") + kind.encode() + person.encode().ljust(36)
    return f"{kind} {base64.b64encode(blob).decode()} {person}@laptop"


ALICE = {"name": "alice", "keys": [key("alice")]}
BOB = {"name": "bob", "keys": [key("bob")], "admin": False, "uid": 2002, "comment": "Bob"}
GROUPS = ("staff", "admins")
BASIC = ("useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", "--comment")


def account(name: str, uid: int, *groups: str, comment: str = "") -> Account:
    """Describe an account that is there."""
    return Account(name, uid, comment, frozenset(groups))


@pytest.mark.parametrize(
    ("entries", "accounts", "groups", "commands", "unlisted"),
    [
        pytest.param([], [], GROUPS, [], (), id="nobody"),
        pytest.param(
            [], [], (), [("groupadd", "--system", "staff"), ("groupadd", "--system", "admins")], (), id="no groups yet"
        ),
        pytest.param([ALICE], [], GROUPS, [(*BASIC, "", "--groups", "admins,staff", "alice")], (), id="a new admin"),
        pytest.param(
            [BOB], [], GROUPS, [(*BASIC, "Bob", "--groups", "staff", "--uid", "2002", "bob")], (), id="new, no admin"
        ),
        pytest.param(
            [ALICE], [account("alice", 1001, "staff", "admins", "games")], GROUPS, [], (), id="as it should be"
        ),
        pytest.param(
            [ALICE],
            [account("alice", 1001)],
            GROUPS,
            [("usermod", "--append", "--groups", "admins,staff", "alice")],
            (),
            id="adopted",
        ),
        pytest.param(
            [BOB],
            [account("bob", 2002, "staff", "admins", comment="Robert")],
            GROUPS,
            [("gpasswd", "--delete", "bob", "admins"), ("usermod", "--comment", "Bob", "bob")],
            (),
            id="no admin any more, other comment",
        ),
        pytest.param(
            [BOB],
            [account("robert", 2002, "staff", comment="Bob")],
            GROUPS,
            [("usermod", "--login", "bob", "robert"), ("groupmod", "--new-name", "bob", "robert")],
            (),
            id="renamed, by the uid that stays",
        ),
        pytest.param(
            [],
            [account("frank", 1004, "staff"), account("root", 0)],
            GROUPS,
            [],
            ("frank",),
            id="a leaver is named and left",
        ),
    ],
)
def test_plan(
    entries: list[dict[str, Any]],
    accounts: list[Account],
    groups: tuple[str, ...],
    commands: list[tuple[str, ...]],
    unlisted: tuple[str, ...],
) -> None:
    plan = plan_accounts(parse_members(entries), {entry.name: entry for entry in accounts}, groups, *GROUPS)
    assert (list(plan.commands), plan.unlisted) == (commands, unlisted)


def test_keys_are_what_is_listed_once() -> None:
    kinds = ["ssh-rsa", "sk-ssh-ed25519@openssh.com"]
    keys = [key("alice"), f" {key('alice')}\n", *(key("alice", kind) for kind in kinds)]
    plan = plan_accounts(parse_members([{"name": "alice", "keys": keys}]), {}, GROUPS, *GROUPS)
    assert plan.key_files == {"alice": "".join(f"{line}\n" for line in (keys[0], *keys[2:]))}


def test_the_keys_of_a_former_name_go() -> None:
    plan = plan_accounts(parse_members([BOB]), {"robert": account("robert", 2002, "staff")}, GROUPS, *GROUPS)
    assert (list(plan.key_files), plan.former) == (["bob"], ("robert",))


def test_a_member_may_have_no_key_left() -> None:
    plan = plan_accounts(parse_members([{"name": "alice", "keys": []}]), {}, GROUPS, *GROUPS)
    assert plan.key_files == {"alice": ""}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([{"keys": []}], "name: None can't name an account", id="no name"),
        pytest.param([{**ALICE, "name": "Alice"}], "name: 'Alice' can't name an account", id="upper case"),
        pytest.param([{**ALICE, "name": "a" * 33}], f"name: '{'a' * 33}' can't name an account", id="too long"),
        pytest.param([{"name": "alice"}], "alice: keys: must be a list of public SSH keys, not None", id="no keys"),
        pytest.param([{**ALICE, "keys": "k"}], "alice: keys: must be a list of public SSH keys, not 'k'", id="no list"),
        pytest.param(
            [{**ALICE, "keys": ["ssh-ed25519"]}], "alice: keys: 'ssh-ed25519' is no public SSH key", id="half a key"
        ),
        pytest.param(
            [{**ALICE, "keys": [key("a").replace("AAAA", "AAA", 1)]}], "alice: keys: 'ssh-ed25519 AAA", id="damaged"
        ),
        pytest.param(
            [{**ALICE, "keys": ["ssh-dss AAAA x"]}], "alice: keys: 'ssh-dss AAAA x' is no public", id="an old type"
        ),
        pytest.param([{**ALICE, "keys": [f"{key('a')}\n{key('b')}"]}], "alice: keys: 'ssh-ed25519", id="two in one"),
        pytest.param(
            [{**ALICE, "keys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2"]}],
            "alice: keys: '-----BEGIN",
            id="a private key",
        ),
        pytest.param(
            [{**ALICE, "uid": 999}], "alice: uid: 999 must be a number from 1000 to 59999", id="the system's uid"
        ),
        pytest.param(
            [{**ALICE, "uid": "2001"}], "alice: uid: '2001' must be a number from 1000 to 59999", id="a text as uid"
        ),
        pytest.param([{**ALICE, "comment": "a:b"}], "alice: comment: 'a:b' may hold no colon", id="a colon"),
        pytest.param([ALICE, ALICE], "name: 'alice' is given to 2 members", id="a name twice"),
        pytest.param([{**ALICE, "uid": 2002}, BOB], "uid: '2002' is given to 2 members", id="a uid twice"),
    ],
)
def test_refused_members(entries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(AccountsError) as caught:
        parse_members(entries)
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        pytest.param(account("bob", 13), "bob: the system has an account of this name (uid 13)", id="a system account"),
        pytest.param(account("bob", 1003), "bob: uid: the account has 1003, not 2002", id="another uid"),
        pytest.param(
            account("eve", 2002), "bob: uid: 2002 belongs to the account 'eve' on this server", id="a uid taken"
        ),
    ],
)
def test_accounts_in_the_way(there: Account, message: str) -> None:
    with pytest.raises(AccountsError) as caught:
        plan_accounts(parse_members([BOB]), {there.name: there}, GROUPS, *GROUPS)
    assert str(caught.value).startswith(message)
