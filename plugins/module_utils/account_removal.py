# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must go of a retired member's account."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.nectar.backend.plugins.module_utils.accounts import Account, AccountsError


def has_account(name: str, uid: int, accounts: Mapping[str, Account], member_group: str, connected: str | None) -> bool:
    """Say whether the member's account is there; refuse one that isn't theirs, and the one that this run uses itself."""
    account = accounts.get(name)
    if account is None:
        return False
    if account.uid != uid or member_group not in account.groups:
        raise AccountsError(
            f"{name}: the account with uid {account.uid} isn't that of the retired member, which has {uid} and is in {member_group}; "
            "correct the tombstone's number or login, or remove it by hand"
        )
    if name == connected:
        raise AccountsError(f"{name}: this run is connected as {name}; let another member retire this one")
    return True
