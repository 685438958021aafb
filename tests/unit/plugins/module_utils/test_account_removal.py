# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose account may be removed."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.account_removal import has_account
from ansible_collections.nectar.backend.plugins.module_utils.accounts import Account, AccountsError

GRACE = Account("grace", 41007, "", frozenset({"staff"}))


@pytest.mark.parametrize(
    ("accounts", "there"),
    [pytest.param({"grace": GRACE}, True, id="there"), pytest.param({}, False, id="gone")],
)
def test_the_members_own(accounts: dict[str, Account], there: bool) -> None:
    assert has_account("grace", 41007, accounts, "staff", "debian") is there


@pytest.mark.parametrize(
    ("account", "connected", "said"),
    [
        pytest.param(
            Account("grace", 1000, "", frozenset({"staff"})), None, "account with uid 1000 isn't", id="another uid"
        ),
        pytest.param(
            Account("grace", 41007, "", frozenset()), None, "which has 41007 and is in staff", id="not a member's"
        ),
        pytest.param(GRACE, "grace", "this run is connected as grace", id="the one who removes it"),
    ],
)
def test_refusals(account: Account, connected: str | None, said: str) -> None:
    with pytest.raises(AccountsError, match=said):
        has_account("grace", 41007, {"grace": account}, "staff", connected)
