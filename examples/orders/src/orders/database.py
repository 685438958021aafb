"""Orders in PostgreSQL, reached so that a failover costs seconds, and no request hangs.

Each thread keeps one connection. A read is one exchange with the server, and asked once more where the connection
turns out to be dead. A write begins its transaction apart, which tells whether the connection still lives, and is
asked once. Every answer is awaited for a limited time, which is longer than a pooler holds its clients while the lead
of the database is handed over, and ends also where a frozen server keeps the connection open in silence. And while the
database is away, requests are refused at once (see breaker.py), as orders are while commits wait for a standby (see
waits.py).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import BaseRowFactory, TupleRow, class_row, tuple_row

from orders.breaker import Breaker
from orders.domain import Listing, NewOrder, Order
from orders.settings import Settings
from orders.waits import LONGEST_WAIT, patience, refusal

RV = TypeVar("RV")
Row = TypeVar("Row")

# Seconds that a pooler may take to give a connection: it holds its clients for 5 at most while the database's lead is
# handed over, and then must connect, and log in, itself.
HOLD = 6.0
# Seconds between two tries while the database is away.
RETRY_PAUSE = 0.2
COLUMNS = "id, customer_id AS customer, quantity, total_cents, placed_at"
# Nothing but the constant above is put into these texts; values go beside them.
INSERT = f"INSERT INTO orders (customer_id, quantity, total_cents) VALUES (%s, %s, %s) RETURNING {COLUMNS}"  # noqa: S608 - a constant
SELECT_ONE = f"SELECT {COLUMNS} FROM orders WHERE id = %s"  # noqa: S608 - a constant
SELECT_OLDER = f"SELECT {COLUMNS} FROM orders WHERE id < %s"  # noqa: S608 - a constant
# A server that ends between two messages may leave answers that nobody asked for: an InternalError.
CONNECTION_ERRORS = (psycopg.OperationalError, psycopg.InternalError)
APPLIED = "SELECT version, pg_is_in_recovery() FROM schema_migrations"


class UnavailableError(Exception):
    """The database can't serve now; the same request may succeed in a moment."""


class SilenceError(psycopg.OperationalError):
    """No answer came in time."""


class BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection that gives up, and closes, when the server stays silent for too long."""

    patience = HOLD
    # Seconds that commits had waited for a standby when this transaction began.
    waited = 0.0

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Await an answer for `patience` seconds at most."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            # An answer that comes later would be taken for the answer to the next question.
            self.close()
            raise SilenceError(f"no answer in {self.patience:.1f} s") from error


class Database:
    """The orders. Connects at first use, so that a process may fork before."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._breaker = Breaker(RETRY_PAUSE)
        self._kept = threading.local()
        self._opened: weakref.WeakSet[BoundedConnection] = weakref.WeakSet()
        # For the transaction and not the session, because a pooler gives sessions to anyone.
        self._limit = f"SET LOCAL statement_timeout = {settings.statement_timeout};"
        # The server's own error must come first: it tells a slow statement from a database that is away.
        self._patience = max(settings.statement_timeout / 1000 + 1, HOLD)

    def close(self) -> None:
        """Close every thread's connection."""
        for connection in list(self._opened):
            connection.close()

    def add(self, order: NewOrder) -> Order:
        """Keep a new order; when this returns, it is committed."""
        with self._transaction() as connection, connection.cursor(row_factory=class_row(Order)) as cursor:
            kept = cursor.execute(INSERT, (order.customer, order.quantity, order.total_cents)).fetchone()
        if kept is None:
            raise UnavailableError("the database took the order and returned none")
        return kept

    def get(self, identity: int) -> Order | None:
        """One order."""
        found = self._read(SELECT_ONE, (identity,), class_row(Order))
        return found[0] if found else None

    def list(self, wanted: Listing) -> list[Order]:
        """Orders, newest first. No index serves `customer_id`: with it given, this reads the whole table."""
        query = SELECT_OLDER
        values = [wanted.before]
        if wanted.customer is not None:
            query += " AND customer_id = %s"
            values.append(wanted.customer)
        return self._read(query + " ORDER BY id DESC LIMIT %s", [*values, wanted.limit], class_row(Order))

    def applied_migrations(self) -> set[int]:
        """The migrations that this database holds; refuse a database that takes no writes."""
        rows = self._read(APPLIED, (), tuple_row)
        if any(in_recovery for _, in_recovery in rows):
            raise UnavailableError("the database is a standby and takes no orders")
        return {version for version, _ in rows}

    def longest_wait(self) -> float:
        """Seconds that commits of this role have been waiting for a standby."""
        return float(self._read(LONGEST_WAIT, (), tuple_row)[0][0])

    def _read(self, query: str, values: Sequence[object], rows: BaseRowFactory[Row]) -> list[Row]:
        kept = self._admitted()
        try:
            try:
                return self._ask(kept or self._connect(), query, values, rows)
            except CONNECTION_ERRORS as error:
                if kept is None or isinstance(error, (SilenceError, psycopg.errors.QueryCanceled)):
                    raise
            return self._ask(self._connect(), query, values, rows)
        except psycopg.Error as error:
            if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, psycopg.errors.QueryCanceled):
                self._breaker.failed()
            reason = self._reason(error)
            if reason is None:
                raise
            raise UnavailableError(reason) from error

    def _ask(
        self, connection: BoundedConnection, query: str, values: Sequence[object], rows: BaseRowFactory[Row]
    ) -> list[Row]:
        """One message holds the limit and the query, and the server makes one transaction of it."""
        connection.patience = self._patience
        try:
            cursor: psycopg.Cursor[Any] = self._kept.cursor
            cursor.row_factory = rows
            cursor.execute(self._limit + query, values)
            cursor.nextset()
            found: list[Row] = cursor.fetchall()
        except BaseException:
            # Not worth finding out what state it is in: the next request opens another.
            connection.close()
            raise
        self._breaker.worked()
        return found

    def _admitted(self) -> BoundedConnection | None:
        """This thread's connection, if it has one; refuse while the database is away."""
        if not self._breaker.admits():
            raise UnavailableError("the database is away")
        kept: BoundedConnection | None = getattr(self._kept, "connection", None)
        return None if kept is None or kept.closed else kept

    @contextmanager
    def _transaction(self) -> Iterator[BoundedConnection]:
        connection = self._begin()
        if refused := refusal(connection.waited):
            # A connection that doesn't even bear this is replaced by the next request.
            with suppress(psycopg.Error):
                connection.rollback()
            raise UnavailableError(refused)
        try:
            yield connection
            connection.patience = patience(connection.waited)
            connection.commit()
        except BaseException as error:
            connection.close()
            reason = self._reason(error)
            if reason is None:
                raise
            raise UnavailableError(reason) from error

    def _begin(self) -> BoundedConnection:
        kept = self._admitted()
        try:
            connection = self._begun(kept) or self._begun(self._connect())
        except CONNECTION_ERRORS as error:
            self._breaker.failed()
            raise UnavailableError("the database is away") from error
        if connection is None:
            self._breaker.failed()
            raise UnavailableError("the database ends every connection")
        self._breaker.worked()
        return connection

    def _begun(self, connection: BoundedConnection | None) -> BoundedConnection | None:
        """The connection with a transaction begun, or None if it is dead."""
        if connection is None:
            return None
        connection.patience = HOLD
        try:
            begun = connection.execute("BEGIN;" + self._limit + LONGEST_WAIT)
            while begun.nextset():
                pass
            connection.waited = float(next(begun)[0])
        except SilenceError:
            # Another connection would be held in silence as well.
            raise
        except CONNECTION_ERRORS:
            connection.close()
            return None
        connection.patience = self._patience
        return connection

    def _connect(self) -> BoundedConnection:
        connection = BoundedConnection.connect(
            self._settings.database,
            application_name=self._settings.name,
            connect_timeout=self._settings.connect_timeout,
            # Transactions are told by hand, and values written into the text: then several statements are one exchange,
            # of the plain kind that every pooler takes in transaction mode.
            autocommit=True,
            cursor_factory=psycopg.ClientCursor,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )
        self._kept.connection = connection
        # A cursor costs more to prepare for its first query than a query does.
        self._kept.cursor = connection.cursor()
        self._opened.add(connection)
        return connection

    def _reason(self, error: BaseException) -> str | None:
        """Why a request could not be served now; None for an error that has nothing to do with the moment."""
        if isinstance(error, psycopg.errors.QueryCanceled):
            return f"the database took longer than {self._settings.statement_timeout} ms"
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            return "the database is a standby and takes no orders"
        if isinstance(error, psycopg.errors.UndefinedTable):
            return "the database has no orders yet; run orders-migrate"
        if isinstance(error, SilenceError):
            return f"the database gave {error}"
        if isinstance(error, CONNECTION_ERRORS):
            return "the database went away during the request"
        return None
