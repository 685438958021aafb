# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What carries the project's marks and belongs to nobody, and what never counts."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import Database, Role, State
from ansible_collections.nectar.backend.plugins.module_utils.leftovers import (
    Found,
    Leftover,
    Owned,
    find_leftovers,
    unit_owners,
)

OWNED = Owned(["production", "alice"], ["alice"], ["production", "alice"], ["orders"], ["rewind"])


def role(name: str, password: str = "SCRAM-SHA-256$x", powers: frozenset[str] = frozenset()) -> Role:
    return Role(name, password, True, powers, 20)


def cluster(*names: str, in_recovery: bool = False, roles: tuple[Role, ...] = ()) -> State:
    """Return a cluster with a database and a role for each name."""
    databases = {name: Database(name, name, False) for name in names}
    return State(
        in_recovery, {entry.name: entry for entry in (*map(role, names), *roles)}, databases, frozenset(), frozenset()
    )


@pytest.mark.parametrize(
    ("found", "left"),
    [
        pytest.param(Found(), [], id="a bare server"),
        pytest.param(Found(users={"nb-alice": 30001, "root": 0}, folders=["alice"]), [], id="all owned"),
        pytest.param(
            Found(users={"nb-grace": 30007}, groups={"nb-grace": 30007}),
            [Leftover("group", "grace", 7), Leftover("user", "grace", 7)],
            id="a user tells the number",
        ),
        pytest.param(Found(users={"nb-x": 1000, "nbd": 30007}), [], id="other ids and names are somebody else's"),
        pytest.param(
            Found(accounts={"alice": 41001, "grace": 41007, "old": 1000}, key_files=["grace", "alice"]),
            [Leftover("account", "grace", 7), Leftover("keys", "grace"), Leftover("account", "old")],
            id="members",
        ),
        pytest.param(
            Found(folders=["grace"], settings=["grace"], fragments=["grace", "alice"], routes=["grace"]),
            [Leftover(kind, "grace") for kind in ("folder", "fragment", "route", "settings")],
            id="files",
        ),
        pytest.param(
            Found(releases={"orders-1": False, "shop-1": True, "shop-2": False}),
            [Leftover("release", "shop-2")],
            id="a release of no application that no slot holds",
        ),
        pytest.param(
            Found(cluster=cluster("production", "alice", "grace")),
            [Leftover("database", "grace"), Leftover("role", "grace")],
            id="a database",
        ),
        pytest.param(
            Found(cluster=cluster("alice", "grace", roles=(role("alice-2"), role("grace-2")))),
            [Leftover("database", "grace"), Leftover("role", "grace")],
            id="a second login is its role's",
        ),
        pytest.param(Found(cluster=cluster("grace", in_recovery=True)), [], id="a standby says nothing"),
        pytest.param(
            Found(
                cluster=cluster(
                    roles=(role("rewind"), role("boss", powers=frozenset({"SUPERUSER"})), role("readers", ""))
                )
            ),
            [],
            id="roles of the cluster, of a superuser, and groups",
        ),
    ],
)
def test_leftovers(found: Found, left: list[Leftover]) -> None:
    assert list(find_leftovers(found, OWNED)) == left


@pytest.mark.parametrize(
    ("units", "known", "owners"),
    [
        pytest.param(["nectar-identity.service", "ssh.service"], [], {}, id="not a slot's"),
        pytest.param(
            ["nectar-grace-blue-web.service"], [], {"nectar-grace-blue-web.service": "grace"}, id="by its form"
        ),
        pytest.param(["nectar-grace-migrate.service"], [], {"nectar-grace-migrate.service": "grace"}, id="migrations"),
        pytest.param(
            ["nectar-my-green-app-blue.target", "nectar-my-green-app-blue-web.service"],
            [],
            dict.fromkeys(["nectar-my-green-app-blue.target", "nectar-my-green-app-blue-web.service"], "my-green-app"),
            id="a name that holds a slot's is told by its target",
        ),
        pytest.param(
            ["nectar-my-green-app-blue-web.service"],
            ["my", "my-green-app"],
            {"nectar-my-green-app-blue-web.service": "my-green-app"},
            id="the longer name of two",
        ),
    ],
)
def test_units_have_owners(units: list[str], known: list[str], owners: dict[str, str]) -> None:
    assert unit_owners(units, known) == owners
