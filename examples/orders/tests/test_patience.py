"""What becomes of requests while a pooler holds its clients in silence."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from orders import database
from orders.database import Database, UnavailableError
from orders.domain import NewOrder
from orders.settings import Settings

# PostgreSQL's manual, "Message Formats": AuthenticationOk, and ReadyForQuery outside of a transaction.
WELCOME = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
ORDER = NewOrder(customer=7, quantity=2, total_cents=990)


class Pooler:
    """Lets everybody in, counts what it is asked, and answers nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.settings = Settings(
            f"postgresql://orders@127.0.0.1:{self.listener.getsockname()[1]}/orders?sslmode=disable",
            statement_timeout=100,
        )
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self.listener.accept()
                threading.Thread(target=self._hold, args=(client,), daemon=True).start()

    def _hold(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(4096)
            client.sendall(WELCOME)
            while client.recv(4096)[:1] == b"Q":
                self.asked += 1


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    silent = Pooler()
    with silent.listener:
        yield silent


@pytest.mark.parametrize(
    "request_it",
    [
        pytest.param(lambda kept: kept.add(ORDER), id="a write"),
        pytest.param(lambda kept: kept.get(1), id="a read"),
    ],
)
def test_whoever_is_held_too_long_asks_no_second_time_by_another_connection(
    pooler: Pooler, monkeypatch: pytest.MonkeyPatch, request_it: Callable[[Database], object]
) -> None:
    monkeypatch.setattr(database, "HOLD", 0.2)
    monkeypatch.setattr(database.BoundedConnection, "patience", 0.2)
    kept = Database(pooler.settings)
    kept._connect()
    with pytest.raises(UnavailableError):
        request_it(kept)
    kept.close()
    assert pooler.asked == 1


def test_a_read_is_awaited_for_as_long_as_a_pooler_may_hold_it(pooler: Pooler) -> None:
    assert Database(pooler.settings)._patience == database.HOLD
