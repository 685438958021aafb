"""The whole application over a real PostgreSQL, named by ORDERS_TEST_DATABASE: an empty database of its own."""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections.abc import Iterator

import psycopg
import pytest
from falcon import testing

from orders.app import create_app
from orders.database import Database
from orders.migrate import apply
from orders.migrations import known_migrations
from orders.settings import Settings

DATABASE = os.environ.get("ORDERS_TEST_DATABASE", "")
NEW = {"customer": 7, "quantity": 2, "total_cents": 990}

pytestmark = pytest.mark.skipif(not DATABASE, reason="ORDERS_TEST_DATABASE names no PostgreSQL to test with")


def migrate() -> list[bool]:
    with psycopg.connect(DATABASE, autocommit=True, prepare_threshold=None) as database:
        return [apply(database, migration) for migration in known_migrations()]


def run(statement: bytes) -> None:
    with psycopg.connect(DATABASE, autocommit=True, prepare_threshold=None) as database:
        database.execute(statement)


@pytest.fixture(scope="module", autouse=True)
def seeded() -> None:
    """A database with this release's schema, made by four at once."""
    run(b"DROP TABLE IF EXISTS orders, schema_migrations")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        outcomes = [future.result() for future in [pool.submit(migrate) for _ in range(4)]]
    assert [sum(column) for column in zip(*outcomes, strict=True)] == [1] * len(known_migrations())


@pytest.fixture
def client() -> Iterator[testing.TestClient]:
    settings = Settings(DATABASE, name="alice", statement_timeout=1000)
    database = Database(settings)
    yield testing.TestClient(create_app(settings, database))
    database.close()


def test_migrating_again_changes_nothing() -> None:
    assert not any(migrate())


def test_it_is_ready(client: testing.TestClient) -> None:
    assert client.simulate_get("/readyz").json == {"ready": True, "schema": 2}


def test_it_is_ready_for_writes(client: testing.TestClient) -> None:
    assert client.simulate_get("/readyz?writes").json == {"ready": True, "schema": 2}


def test_an_order_is_refused_while_commits_wait(client: testing.TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a primary without standbys would tell: making it one takes more rights than a role of tests has.
    monkeypatch.setattr("orders.database.LONGEST_WAIT", "SELECT 7.25::float8")
    newest = client.simulate_get("/orders?limit=1").json
    assert [client.simulate_post("/orders", json=NEW).status_code for _ in range(3)] == [503] * 3
    assert client.simulate_get("/readyz?writes").status_code == 503
    assert client.simulate_get("/readyz").status_code == 200
    monkeypatch.undo()
    assert client.simulate_get("/orders?limit=1").json == newest
    assert client.simulate_post("/orders", json=NEW).status_code == 201


def test_an_order_is_kept(client: testing.TestClient) -> None:
    placed = client.simulate_post("/orders", json=NEW)
    assert placed.status_code == 201
    assert client.simulate_get(placed.headers["location"]).json == placed.json
    assert placed.json | NEW == placed.json


def test_a_customer_has_the_seeded_orders_newest_first(client: testing.TestClient) -> None:
    first = client.simulate_get("/orders?customer=77&limit=30").json
    rest = client.simulate_get(f"/orders?customer=77&limit=30&before={first['next_before']}").json
    ids = [order["id"] for order in first["orders"] + rest["orders"]]
    assert len(ids) == 40
    assert ids == sorted(ids, reverse=True)
    assert rest["next_before"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("GET", "/", None, 200, id="the page"),
        pytest.param("GET", "/healthz", None, 200, id="health"),
        pytest.param("GET", "/orders/999999999", None, 404, id="no such order"),
        pytest.param("GET", "/orders/x", None, 400, id="no id"),
        pytest.param("GET", "/orders?customer=x", None, 400, id="no customer"),
        pytest.param("POST", "/orders", "[", 400, id="no JSON"),
        pytest.param("POST", "/orders", "[" * 16000, 400, id="too deep"),
        pytest.param("POST", "/orders", "x" * 20000, 413, id="too long"),
    ],
)
def test_answers(client: testing.TestClient, method: str, path: str, body: str | None, status: int) -> None:
    assert client.simulate_request(method, path, body=body).status_code == status


def test_connections_that_the_server_ended_are_replaced(client: testing.TestClient) -> None:
    assert client.simulate_get("/orders/1").status_code == 200
    run(
        b"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        b"WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
    )
    assert client.simulate_get("/orders/1").status_code == 200


def test_a_request_that_waits_for_a_lock_ends(client: testing.TestClient) -> None:
    with psycopg.connect(DATABASE) as holder:
        holder.execute("LOCK TABLE orders")
        answer = client.simulate_get("/orders/1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "1000 ms" in answer.json["description"]


def test_without_a_database_the_answer_comes_at_once() -> None:
    settings = Settings("postgresql://nobody:x@127.0.0.1:1/nothing", name="bob")
    database = Database(settings)
    client = testing.TestClient(create_app(settings, database))
    started = time.monotonic()
    statuses = [client.simulate_get("/readyz").status_code for _ in range(20)]
    database.close()
    assert statuses == [503] * 20
    assert time.monotonic() - started < 10
    assert client.simulate_get("/healthz").status_code == 200
