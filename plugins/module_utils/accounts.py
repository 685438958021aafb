# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which accounts people have on a server, and what must be done to get there."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
COMMENT = re.compile(r"[^:,=\x00-\x1f\x7f]*\Z")
KEY_TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)

# Below and above lie accounts of the system; people's are between (see login.defs).
FIRST_PERSONAL_UID, LAST_PERSONAL_UID = 1000, 59999


class AccountsError(ValueError):
    """A member whose account can't be made, with the field and the remedy."""


@dataclass(frozen=True)
class Member:
    """A person who may log in."""

    name: str
    keys: tuple[str, ...]
    admin: bool
    uid: int | None
    comment: str


@dataclass(frozen=True)
class Account:
    """An account as the server has it, with the names of the groups it was added to."""

    name: str
    uid: int
    comment: str
    groups: frozenset[str]


@dataclass(frozen=True)
class AccountsPlan:
    """Commands that bring the accounts about, the files of keys by member, former names, and who isn't listed any more."""

    commands: tuple[tuple[str, ...], ...]
    key_files: Mapping[str, str]
    former: tuple[str, ...]
    unlisted: tuple[str, ...]


def parse_members(entries: Sequence[Mapping[str, object]]) -> tuple[Member, ...]:
    """Read the members; refuse what no account can have, and names or uids given twice."""
    members = tuple(_parse_member(entry) for entry in entries)
    _refuse_twice("name", [member.name for member in members])
    _refuse_twice("uid", [str(member.uid) for member in members if member.uid is not None])
    return members


def plan_accounts(
    members: Sequence[Member],
    accounts: Mapping[str, Account],
    groups: Sequence[str],
    member_group: str,
    admin_group: str,
) -> AccountsPlan:
    """Say what is missing; accounts of people who aren't listed stay as they are.

    The uid is a member's for life: where another account of the group has it, the member was renamed.
    """
    by_uid = {account.uid: account for account in accounts.values()}
    former: list[str] = []
    commands: list[tuple[str, ...]] = [
        ("groupadd", "--system", group) for group in (member_group, admin_group) if group not in groups
    ]
    for member in members:
        wanted = {member_group, admin_group} if member.admin else {member_group}
        account = accounts.get(member.name)
        if account is None:
            holder = by_uid.get(member.uid) if member.uid is not None else None
            if holder is None:
                commands.append(_useradd(member, wanted))
                continue
            _refuse_stranger(member, holder, member_group)
            former.append(holder.name)
            commands += _renaming(holder.name, member.name)
            commands += _changes(member, holder, wanted, admin_group)
        else:
            _refuse_other_account(member, account)
            commands += _changes(member, account, wanted, admin_group)
    listed = {*former, *(member.name for member in members)}
    return AccountsPlan(
        commands=tuple(commands),
        key_files={member.name: "".join(f"{key}\n" for key in member.keys) for member in members},
        former=tuple(former),
        unlisted=tuple(
            sorted(name for name, account in accounts.items() if member_group in account.groups and name not in listed)
        ),
    )


def _parse_member(entry: Mapping[str, object]) -> Member:
    name, comment = entry.get("name"), entry.get("comment") or ""
    if not isinstance(name, str) or not NAME.match(name):
        raise AccountsError(
            f"name: {name!r} can't name an account: use up to 32 lower case letters, digits, - and _, a letter first"
        )
    if not isinstance(comment, str) or not COMMENT.match(comment):
        raise AccountsError(f"{name}: comment: {comment!r} may hold no colon, comma, equals sign or line break")
    keys = entry.get("keys")
    if not isinstance(keys, list):
        raise AccountsError(f"{name}: keys: must be a list of public SSH keys, not {keys!r}")
    return Member(
        name=name,
        keys=tuple(dict.fromkeys(_parse_key(key, name) for key in keys)),
        admin=entry.get("admin") is not False,
        uid=_parse_uid(entry.get("uid"), name),
        comment=comment,
    )


def _parse_uid(value: object, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not FIRST_PERSONAL_UID <= value <= LAST_PERSONAL_UID:
        raise AccountsError(f"{name}: uid: {value!r} must be a number from {FIRST_PERSONAL_UID} to {LAST_PERSONAL_UID}")
    return int(value)


def _parse_key(value: object, name: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    words = text.split()
    if "\n" in text or len(words) < 2 or words[0] not in KEY_TYPES or not _holds_type(words[1], words[0]):
        shown = text.split("\n", maxsplit=1)[0][:40]
        raise AccountsError(
            f"{name}: keys: {shown!r} is no public SSH key; paste one line of a .pub file, as ssh-keygen -t ed25519 makes it"
        )
    return text


def _holds_type(encoded: str, kind: str) -> bool:
    # A key says its type once more inside; a truncated or mispasted one doesn't.
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return blob[4 : 4 + len(kind)] == kind.encode() and len(blob) > 4 + len(kind)


def _refuse_twice(field: str, values: Sequence[str]) -> None:
    for value in dict.fromkeys(values):
        if values.count(value) > 1:
            raise AccountsError(
                f"{field}: {value!r} is given to {values.count(value)} members; each needs one of their own"
            )


def _refuse_stranger(member: Member, holder: Account, member_group: str) -> None:
    if member_group not in holder.groups:
        raise AccountsError(
            f"{member.name}: uid: {member.uid} belongs to the account {holder.name!r} on this server; choose a free one"
        )


def _renaming(former: str, name: str) -> list[tuple[str, ...]]:
    # The home keeps its place: what the person set up in it may name it.
    return [("usermod", "--login", name, former), ("groupmod", "--new-name", name, former)]


def _refuse_other_account(member: Member, account: Account) -> None:
    if not FIRST_PERSONAL_UID <= account.uid <= LAST_PERSONAL_UID:
        raise AccountsError(
            f"{member.name}: the system has an account of this name (uid {account.uid}); the member needs another name"
        )
    if member.uid not in (None, account.uid):
        raise AccountsError(
            f"{member.name}: uid: the account has {account.uid}, not {member.uid}; files would lose their owner, so give {account.uid} or move them by hand"
        )


def _useradd(member: Member, groups: set[str]) -> tuple[str, ...]:
    # A password of * can't be typed, but unlike a locked one it lets keys in.
    uid = ("--uid", str(member.uid)) if member.uid is not None else ()
    options = (
        "--create-home",
        "--shell",
        "/bin/bash",
        "--password",
        "*",
        "--comment",
        member.comment,
        "--groups",
        ",".join(sorted(groups)),
    )
    return ("useradd", *options, *uid, member.name)


def _changes(member: Member, account: Account, wanted: set[str], admin_group: str) -> list[tuple[str, ...]]:
    changes: list[tuple[str, ...]] = []
    if missing := sorted(wanted - account.groups):
        changes.append(("usermod", "--append", "--groups", ",".join(missing), member.name))
    if not member.admin and admin_group in account.groups:
        changes.append(("gpasswd", "--delete", member.name, admin_group))
    if member.comment and member.comment != account.comment:
        changes.append(("usermod", "--comment", member.comment, member.name))
    return changes
