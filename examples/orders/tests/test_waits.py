"""While commits wait for a standby no order is taken, and reads go on."""

from __future__ import annotations

from typing import cast

import pytest
from falcon import testing

from orders import waits
from orders.app import create_app
from orders.database import BoundedConnection, Database
from orders.migrations import known_migrations
from orders.settings import Settings

SETTINGS = Settings("postgresql://unused")
NEW = {"customer": 7, "quantity": 2, "total_cents": 990}


class Connection:
    """A connection on which a transaction has begun, in a database whose commits have waited for so long."""

    closed = False

    def __init__(self, waited: float) -> None:
        self.waited = waited
        self.did: list[str] = []

    def rollback(self) -> None:
        self.did.append("rollback")


class Waiting(Database):
    """A database with this release's schema, whose commits have waited for so many seconds."""

    def __init__(self, waited: float) -> None:
        super().__init__(SETTINGS)
        self.connection = Connection(waited)

    def applied_migrations(self) -> set[int]:
        return {migration.version for migration in known_migrations()}

    def longest_wait(self) -> float:
        return self.connection.waited

    def _begin(self) -> BoundedConnection:
        return cast(BoundedConnection, self.connection)


@pytest.mark.parametrize(
    ("waited", "refused"),
    [
        pytest.param(0.0, False, id="nothing waits"),
        pytest.param(4.9, False, id="a slow standby"),
        pytest.param(5.0, False, id="just as long as it may"),
        pytest.param(5.1, True, id="for longer"),
    ],
)
def test_orders_are_refused_once_commits_have_waited_for_over_five_seconds(waited: float, refused: bool) -> None:
    assert bool(waits.refusal(waited)) == refused


@pytest.mark.parametrize("waited", [0.0, 1.0, 4.99])
def test_who_gives_up_leaves_a_wait_that_refuses_the_next(waited: float) -> None:
    # A commit begins no earlier than the look that found the wait, and some time passes between the two.
    assert waits.refusal(waited + waits.patience(waited))
    assert waited + waits.patience(waited) < waits.LIMIT + 1


@pytest.mark.parametrize(
    ("path", "waited", "status"),
    [
        pytest.param("/readyz", 60.0, 200, id="reads go on"),
        pytest.param("/readyz?writes", 60.0, 503, id="writes don't"),
        pytest.param("/readyz?writes=1", 60.0, 503, id="with a value"),
        pytest.param("/readyz?writes", 1.0, 200, id="writes do"),
    ],
)
def test_readiness_for_writes_is_asked_for_on_its_own(path: str, waited: float, status: int) -> None:
    answer = testing.TestClient(create_app(SETTINGS, Waiting(waited))).simulate_get(path)
    assert answer.status_code == status
    if status == 503:
        assert answer.headers["retry-after"] == "1"
        assert answer.json["description"].startswith("commits have waited 60.0 s for a standby, over 5")


def test_an_order_is_refused_at_once_and_its_connection_kept() -> None:
    database = Waiting(7.25)
    answer = testing.TestClient(create_app(SETTINGS, database)).simulate_post("/orders", json=NEW)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "commits have waited 7.2 s for a standby" in answer.json["description"]
    assert database.connection.did == ["rollback"]
