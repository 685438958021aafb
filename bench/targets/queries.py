# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Slow queries found and repaired without being told, beside innocent ones and writes, on twins of one database."""

import contextlib
import functools
import hashlib
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.nectar.backend.plugins.module_utils import tuning_trial

from bench.container import LIMIT, NETWORK, container, missing, podman
from bench.harness import ROOT, BenchError, Figure, Run, Target, measure_command, median
from bench.targets.tune import told_of

CONTAINER = "nectar-queries-bench"
# Of all tables together; the orders are the larger part.
TOTAL = int(os.environ.get("NECTAR_BENCH_ROWS", "5000000"))
ROWS = TOTAL * 63 // 100
# Connections that fill it.
FILLERS = 4
# The advised one, and the twin that stays as it was.
ADVISED, TWIN = "shop", "shop_before"
OWNER = "shop"
SLOW_CALLS, QUIET_CALLS, WRITES = 2, 200, 500
# Calls of a block, and writes of a turn, before the twin has its turn.
BLOCK, TURN = 10, 25
# What writes may lose by the advice's estimate: the module's default, whose figures have the goals, and others for the curve.
LIMITS = (0.05, 0.1, 0.2, 1.0)
# A repaired query is so many times as fast; an innocent one counts as slower from here on.
REPAIRED, SLOWER, WRITES_GOAL = 10, 1.05, 0.95
NOW = datetime(2026, 11, 1, tzinfo=UTC)
PARAMETERS = {
    "shared_preload_libraries": "pg_stat_statements",
    "shared_buffers": "512MB",
    "effective_cache_size": "2GB",
    "maintenance_work_mem": "256MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_wal_size": "4GB",
    # As the role postgresql has it; images of whole pages are most of what an index adds to the log.
    "wal_compression": "lz4",
    "autovacuum": "off",
    "listen_addresses": "*",
}
HOW = (
    f"{TOTAL:,} rows, {ROWS:,} of them orders and the others in eight smaller tables; PostgreSQL 17 in a container; 20 slow and 30 innocent statements run, then "
    "nectar.backend.query_advice and database_indexes, told nothing but the database's name; means of pg_stat_statements on it and on a "
    "twin that was copied before, both in turns; in brackets the interval of the true median with 95 %"
)


def tables(rows: int) -> list[str]:
    """Statements that make the database; what is random is so by a hash, so that every run has the same."""
    customers, products, events, payments, jobs, sessions, tickets = (
        rows // 25,
        max(100, rows // 1000),
        rows // 5,
        rows // 10,
        rows // 10,
        rows // 10,
        rows // 20,
    )
    return [
        "CREATE TABLE customers (id int PRIMARY KEY, email varchar(80) NOT NULL, name text NOT NULL, city text, created_at timestamptz)",
        f"""INSERT INTO customers SELECT n, 'Customer' || n || '@example.org', 'name ' || md5(n::text), 'city ' || n % 500,
            '2024-11-01'::timestamptz + n * interval '1 minute' FROM generate_series(1, {customers}) n""",
        "CREATE TABLE products (id int PRIMARY KEY, sku text UNIQUE NOT NULL, name text NOT NULL, price numeric(10,2))",
        f"INSERT INTO products SELECT n, 'sku-' || n, 'product ' || n, n % 100 FROM generate_series(1, {products}) n",
        "CREATE TABLE shops (id int PRIMARY KEY, name text NOT NULL)",
        "INSERT INTO shops SELECT n, 'shop ' || n FROM generate_series(1, 200) n",
        """CREATE TABLE orders (id bigserial, customer_id int NOT NULL, product_id int NOT NULL, shop_id int NOT NULL,
            status text NOT NULL, total numeric(10,2) NOT NULL, tracking_code text NOT NULL, placed_at timestamptz NOT NULL,
            paid_at timestamptz, note text)""",
        "CREATE TABLE events (id bigserial PRIMARY KEY, entity text NOT NULL, entity_id bigint NOT NULL, at timestamptz NOT NULL, body text)",
        f"""INSERT INTO events (entity, entity_id, at, body) SELECT (ARRAY['order', 'customer', 'job'])[1 + n % 3],
            abs(hashint8(n)) % {customers}, '2025-11-01'::timestamptz + n * interval '20 seconds', md5(n::text)
            FROM generate_series(1, {events}) n""",
        "CREATE TABLE payments (id bigserial PRIMARY KEY, order_id bigint NOT NULL, amount numeric(10,2), method text)",
        f"""INSERT INTO payments (order_id, amount, method) SELECT 1 + abs(hashint8(n)) % {rows}, n % 500, 'card'
            FROM generate_series(1, {payments}) n""",
        "CREATE TABLE jobs (id bigserial PRIMARY KEY, kind text NOT NULL, run_at timestamptz NOT NULL, done boolean NOT NULL)",
        f"""INSERT INTO jobs (kind, run_at, done) SELECT 'mail', '2026-01-01'::timestamptz + n * interval '1 second', n % 5000 <> 0
            FROM generate_series(1, {jobs}) n""",
        "CREATE TABLE sessions (id bigserial PRIMARY KEY, token text NOT NULL, customer_id int NOT NULL, seen_at timestamptz NOT NULL)",
        f"""INSERT INTO sessions (token, customer_id, seen_at) SELECT md5(n::text), 1 + abs(hashint8(n)) % {customers},
            '2026-01-01'::timestamptz + n * interval '30 seconds' FROM generate_series(1, {sessions}) n""",
        "CREATE TABLE tickets (id bigserial PRIMARY KEY, assignee_id int NOT NULL, customer_id int NOT NULL, closed_at timestamptz, title text)",
        f"""INSERT INTO tickets (assignee_id, customer_id, closed_at, title) SELECT n % 300, 1 + abs(hashint8(n)) % {customers},
            CASE WHEN n % 50 <> 0 THEN '2026-01-01'::timestamptz + n * interval '1 minute' END, md5(n::text)
            FROM generate_series(1, {tickets}) n""",
    ]


def orders(first: int, last: int) -> str:
    """The statement that adds some orders."""
    customers, products = ROWS // 25, max(100, ROWS // 1000)
    return f"""INSERT INTO orders (id, customer_id, product_id, shop_id, status, total, tracking_code, placed_at, paid_at)
        SELECT n, 1 + abs(hashint8(n)) % {customers}, 1 + abs(hashint8(n + 7)) % {products}, 1 + abs(hashint8(n + 13)) % 200,
          (ARRAY['new', 'paid', 'sent', 'done', 'done', 'done', 'done', 'refunded'])[1 + abs(hashint8(n + 3)) % 8],
          (n % 10000) / 100.0, 'T' || md5(n::text), '2024-11-01'::timestamptz + n * (interval '730 days' / {ROWS}),
          CASE WHEN n % 5000 <> 0 THEN '2024-11-02'::timestamptz + n * (interval '730 days' / {ROWS}) END
        FROM generate_series({first}, {last}) n"""


FINISH = (
    "ALTER TABLE orders ADD PRIMARY KEY (id)",
    f"SELECT setval('orders_id_seq', {ROWS})",
    "VACUUM ANALYZE",
)


@dataclass(frozen=True)
class Query:
    """A statement of the workload, and how its values are drawn."""

    name: str
    sql: str
    draw: Callable[[random.Random], Sequence[Any]]


def customer(chance: random.Random) -> int:
    return chance.randint(1, ROWS // 25)


def product(chance: random.Random) -> int:
    return chance.randint(1, max(100, ROWS // 1000))


def order(chance: random.Random) -> int:
    return chance.randint(1, ROWS)


def moment(chance: random.Random) -> datetime:
    return NOW - timedelta(seconds=chance.randint(86_400, 600 * 86_400))


def code(chance: random.Random) -> str:
    return "T" + md5(order(chance))


def md5(number: int) -> str:
    # What PostgreSQL's md5 makes of the number, so that there is such a row.
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


SLOW = (
    Query("orders of a customer", "SELECT id, total FROM orders WHERE customer_id = %s", lambda c: [customer(c)]),
    Query("a customer's sum", "SELECT sum(total) FROM orders WHERE customer_id = %s", lambda c: [customer(c)]),
    Query(
        "a customer's last order",
        "SELECT * FROM orders WHERE customer_id = %s ORDER BY placed_at DESC LIMIT 1",
        lambda c: [customer(c)],
    ),
    Query(
        "a customer's orders in a state",
        "SELECT id FROM orders WHERE customer_id = %s AND status = %s",
        lambda c: [customer(c), "refunded"],
    ),
    Query("the newest orders", "SELECT id, total FROM orders ORDER BY placed_at DESC LIMIT 20", lambda _c: []),
    Query(
        "orders of a minute",
        "SELECT id, total FROM orders WHERE placed_at >= %s AND placed_at < %s",
        lambda c: (lambda at: [at, at + timedelta(minutes=1)])(moment(c)),
    ),
    Query(
        "a shop's newest orders",
        "SELECT id, customer_id, total FROM orders WHERE shop_id = %s ORDER BY placed_at DESC LIMIT 20",
        lambda c: [c.randint(1, 200)],
    ),
    Query(
        "unpaid orders",
        "SELECT id, placed_at FROM orders WHERE paid_at IS NULL ORDER BY placed_at LIMIT 50",
        lambda _c: [],
    ),
    Query("an order by its code", "SELECT * FROM orders WHERE tracking_code = %s", lambda c: [code(c)]),
    Query("a note by its code", "UPDATE orders SET note = %s WHERE tracking_code = %s", lambda c: ["read", code(c)]),
    Query(
        "a product's orders in a state",
        "SELECT count(*) FROM orders WHERE product_id = %s AND status = %s",
        lambda c: [product(c), "new"],
    ),
    Query("a product's last sale", "SELECT max(placed_at) FROM orders WHERE product_id = %s", lambda c: [product(c)]),
    Query(
        "a customer by e-mail",
        "SELECT id, name FROM customers WHERE lower(email) = %s",
        lambda c: [f"customer{customer(c)}@example.org"],
    ),
    Query(
        "payments of an order",
        "SELECT o.id, p.amount FROM orders o JOIN payments p ON p.order_id = o.id WHERE o.id = %s",
        lambda c: [order(c)],
    ),
    Query("jobs that wait", "SELECT id, kind FROM jobs WHERE NOT done ORDER BY run_at LIMIT 10", lambda _c: []),
    Query(
        "a session by its token",
        "SELECT customer_id FROM sessions WHERE token = %s",
        lambda c: [md5(c.randint(1, ROWS // 10))],
    ),
    Query(
        "history of a thing",
        "SELECT at, body FROM events WHERE entity = %s AND entity_id = %s ORDER BY at DESC LIMIT 10",
        lambda c: ["order", customer(c)],
    ),
    Query(
        "open tickets of a person",
        "SELECT id, title FROM tickets WHERE assignee_id = %s AND closed_at IS NULL",
        lambda c: [c.randint(1, 299)],
    ),
    Query(
        "a far page",
        "SELECT id FROM orders ORDER BY total, id LIMIT 20 OFFSET %s",
        lambda c: [c.randint(1, 9) * ROWS // 10],
    ),
    Query(
        "a name with a word in it",
        "SELECT id FROM customers WHERE name LIKE %s",
        lambda c: [f"%{md5(customer(c))[:9]}%"],
    ),
)
KEYS: Mapping[str, Callable[[random.Random], int]] = {
    "customers": customer,
    "products": product,
    "shops": lambda c: c.randint(1, 200),
    "orders": order,
    "events": lambda c: c.randint(1, ROWS // 5),
    "payments": lambda c: c.randint(1, ROWS // 10),
    "jobs": lambda c: c.randint(1, ROWS // 10),
    "sessions": lambda c: c.randint(1, ROWS // 10),
    "tickets": lambda c: c.randint(1, ROWS // 20),
}


def by_key(table: str, columns: str) -> Query:
    return Query(
        f"{table} by key: {columns}", f"SELECT {columns} FROM {table} WHERE id = %s", lambda c: [KEYS[table](c)]
    )


INNOCENT = (
    *(by_key(table, "*") for table in KEYS),
    *(by_key(table, "count(*)") for table in KEYS),
    Query("a product by its mark", "SELECT * FROM products WHERE sku = %s", lambda c: [f"sku-{product(c)}"]),
    Query("shops by name", "SELECT id, name FROM shops ORDER BY name LIMIT %s", lambda _c: [20]),
    Query("all shops", "SELECT count(*) FROM shops", lambda _c: []),
    Query("some products", "SELECT * FROM products WHERE id = ANY(%s)", lambda c: [[product(c) for _n in range(5)]]),
    Query("some orders", "SELECT id, total FROM orders WHERE id = ANY(%s)", lambda c: [[order(c) for _n in range(5)]]),
    Query(
        "the next orders", "SELECT id, total FROM orders WHERE id > %s ORDER BY id LIMIT 20", lambda c: [order(c) // 2]
    ),
    Query("the last events", "SELECT id, body FROM events ORDER BY id DESC LIMIT 20", lambda _c: []),
    Query(
        "an order with its customer",
        "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = %s",
        lambda c: [order(c)],
    ),
    Query(
        "an order with its product and shop",
        "SELECT o.id, p.name, s.name FROM orders o JOIN products p ON p.id = o.product_id JOIN shops s ON s.id = o.shop_id WHERE o.id = %s",
        lambda c: [order(c)],
    ),
    Query("the largest key", "SELECT max(id) FROM orders", lambda _c: []),
    Query("a session is seen", "UPDATE sessions SET seen_at = now() WHERE id = %s", lambda c: [KEYS["sessions"](c)]),
    Query("nothing", "SELECT 1", lambda _c: []),
)
WRITE = (
    Query(
        "an order comes",
        "INSERT INTO orders (customer_id, product_id, shop_id, status, total, tracking_code, placed_at) VALUES (%s, %s, %s, 'new', 9.5, %s, now())",
        lambda c: [customer(c), product(c), c.randint(1, 200), f"N{c.random()}"],
    ),
    Query("an order is paid", "UPDATE orders SET status = 'paid', paid_at = now() WHERE id = %s", lambda c: [order(c)]),
    Query(
        "something happened",
        "INSERT INTO events (entity, entity_id, at, body) VALUES ('order', %s, now(), 'paid')",
        lambda c: [customer(c)],
    ),
    Query(
        "a payment", "INSERT INTO payments (order_id, amount, method) VALUES (%s, 9.5, 'card')", lambda c: [order(c)]
    ),
    Query("a job is done", "UPDATE jobs SET done = true WHERE id = %s", lambda c: [KEYS["jobs"](c)]),
)


START = """
pg_createcluster 17 main >/dev/null
cat > /etc/postgresql/17/main/conf.d/bench.conf
echo 'host all all all trust' >> /etc/postgresql/17/main/pg_hba.conf
pg_ctlcluster 17 main start
"""


@contextlib.contextmanager
def server() -> Iterator[str]:
    """PostgreSQL with HypoPG in a container of its own; its address."""
    with container(CONTAINER, "--network", NETWORK, "--shm-size", "1g"):
        settings = "".join(f"{name} = '{value}'\n" for name, value in PARAMETERS.items())
        podman("exec", "--interactive", CONTAINER, "sh", "-ec", START, given=settings)
        yield podman(
            "inspect", CONTAINER, "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        ).strip()


def connect(address: str, database: str, user: str = OWNER) -> psycopg.Connection[Any]:
    # As behind a pooler: each statement is planned with its values.
    return psycopg.connect(host=address, dbname=database, user=user, autocommit=True, prepare_threshold=None)


def fill(address: str, statements: Sequence[str], workers: int) -> None:
    """Run statements, so many at a time."""

    def run_one(statement: str) -> None:
        with connect(address, ADVISED) as connection:
            connection.execute(statement)

    with ThreadPoolExecutor(workers) as pool:
        for _done in pool.map(run_one, statements):
            pass


def make_databases(address: str, say: Callable[[str], None]) -> None:
    with connect(address, "postgres", "postgres") as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute(f"CREATE ROLE {OWNER} LOGIN")
        connection.execute(f"CREATE DATABASE {ADVISED} OWNER {OWNER}")
    fill(address, tables(ROWS), 1)
    say(f"adds {ROWS:,} orders")
    step = -(-ROWS // (5 * FILLERS))
    fill(address, [orders(first, min(ROWS, first + step - 1)) for first in range(1, ROWS + 1, step)], FILLERS)
    say("takes statistics, and copies the database")
    fill(address, FINISH, 1)
    with connect(address, "postgres", "postgres") as connection:
        connection.execute(f"CREATE DATABASE {TWIN} OWNER {OWNER} TEMPLATE {ADVISED} STRATEGY FILE_COPY")
        connection.execute("CHECKPOINT")
        connection.execute("SELECT pg_stat_statements_reset()")
    with connect(address, ADVISED, "postgres") as connection:
        # That the tables were filled is no writing of every hour.
        connection.execute("SELECT pg_stat_reset()")


Means = dict[str, tuple[int, float]]


def run(connection: psycopg.Connection[Any], queries: Sequence[Query], calls: int, seed: int) -> Means:
    """Run each statement so often; calls and milliseconds of each, as the server counted them."""
    chance, taken = random.Random(seed), {}
    counters = counters_at(connection.info.host)
    for query in queries:
        before = read_counter(counters, connection.info.dbname)
        for _call in range(calls):
            connection.execute(query.sql, query.draw(chance))
        after = read_counter(counters, connection.info.dbname)
        taken[query.name] = (after[0] - before[0], after[1] - before[1])
    return taken


@functools.cache
def counters_at(address: str) -> psycopg.Connection[Any]:
    """A connection to where statements are counted."""
    return connect(address, "postgres", "postgres")


def read_counter(connection: psycopg.Connection[Any], database: str) -> tuple[int, float]:
    row = connection.execute(
        "SELECT coalesce(sum(calls), 0)::int, coalesce(sum(total_exec_time), 0)::float8 FROM pg_stat_statements s "
        "JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s",
        [database],
    ).fetchone()
    return (row[0], row[1]) if row else (0, 0.0)


def mean(taken: tuple[int, float]) -> float:
    return taken[1] / max(1, taken[0])


@dataclass(frozen=True)
class Writing:
    """What some writes took, each its own transaction."""

    seconds: float
    log: int


def write(connection: psycopg.Connection[Any], seed: int) -> Writing:
    """A turn of writes, of each kind as many."""
    counters, chance = counters_at(connection.info.host), random.Random(seed)
    at, began = log_position(counters), time.monotonic()
    for query, _number in zip(itertools.cycle(WRITE), range(TURN), strict=False):
        connection.execute(query.sql, query.draw(chance))
    return Writing(time.monotonic() - began, log_position(counters) - at)


def log_position(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchone()
    return int(row[0]) if row else 0


def processor_seconds(connection: psycopg.Connection[Any]) -> float:
    """What the connection's server process has taken of a processor."""
    told = podman("exec", CONTAINER, "cat", f"/proc/{connection.info.backend_pid}/schedstat")
    return int(told.split()[0]) / 1e9


def call_module(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module in the container as Ansible does; what it returned."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer",
    }
    environment |= {
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl",
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.host_list",
    }
    with tempfile.TemporaryDirectory(prefix="nectar-bench-") as folder:
        playbook = Path(folder, "play.yml")
        task = {
            "name": name,
            f"nectar.backend.{name}": dict(arguments),
            "vars": {"ansible_python_interpreter": "/usr/bin/python3"},
        }
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            f"{CONTAINER},",
            "-c",
            "containers.podman.podman",
        ]
        output = measure_command([*command, str(playbook)], environment=environment, limit=LIMIT).output
    for line in output.splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("_event") in ("v2_runner_on_ok", "v2_runner_on_failed"):
            result: dict[str, Any] = event["hosts"][CONTAINER]
            return result
    raise BenchError(f"{name} returned nothing; run it by hand. It said:\n{output[-800:]}")


def measure(told: Run) -> list[Figure]:
    told.say(f"starts a server, and fills it with {ROWS:,} orders")
    with server() as address:
        make_databases(address, told.say)
        with connect(address, ADVISED) as advised, connect(address, TWIN) as twin:
            return compare(told, advised, twin)


@dataclass(frozen=True)
class Point:
    """What came of one limit of what writes may lose; ratios are to the twin's."""

    foreseen: float
    built: int
    gains: Mapping[str, float]
    rates: Sequence[float]
    processor: Sequence[float]
    log: float

    @property
    def repaired(self) -> list[float]:
        return [gain for gain in self.gains.values() if gain >= REPAIRED]


def compare(told: Run, advised: psycopg.Connection[Any], twin: psycopg.Connection[Any]) -> list[Figure]:
    told.say("runs all of it as it is")
    before = run(advised, SLOW, SLOW_CALLS, 1)
    for connection in (twin, advised):
        # The twin has had the same writes.
        run(connection, [*INNOCENT, *WRITE], QUIET_CALLS, 1)
    advice, seconds = ask_for_advice(told)
    points: dict[float, Point] = {}
    built: list[Any] = []
    innocent: Mapping[str, tuning_trial.Estimate] = {}
    for limit in LIMITS:
        if built == advice[limit]["entries"]:
            told.say(f"the same is advised where writes may lose {limit:.0%}")
            continue
        built = advice[limit]["entries"]
        told.say(f"builds what is advised where writes may lose {limit:.0%}")
        build(told, advised, advice[limit])
        for connection in (advised, twin):
            connection.execute("VACUUM ANALYZE")
        gains = gains_of(told, advised, before)
        if limit == LIMITS[0]:
            innocent = measure_innocent(told, advised, twin)
        points[limit] = measure_writes(told, advised, twin, gains, advice[limit])
    return figures(points, innocent, seconds, told)


def ask_for_advice(told: Run) -> tuple[dict[float, dict[str, Any]], float]:
    """The advice by limit, and the seconds that it took with the first."""
    advice, seconds = {}, 0.0
    for limit in LIMITS:
        told.say(f"asks for advice where writes may lose {limit:.0%}")
        began = time.monotonic()
        found = call_module("query_advice", {"database": ADVISED, "write_loss_max": limit})
        if "advice" not in found:
            raise BenchError(f"query_advice failed: {found.get('msg')}")
        seconds = seconds or time.monotonic() - began
        advice[limit] = found["advice"]
        for line in found["lines"]:
            if limit == LIMITS[0] or line.startswith(("index on", "writes:")):
                told.say(f"  {line}")
    return advice, seconds


def build(told: Run, advised: psycopg.Connection[Any], advice: Mapping[str, Any]) -> None:
    """Have the advised indexes, and none that was advised under another limit."""
    names = [index["name"] for index in advice["indexes"]]
    found = advised.execute(
        "SELECT indexrelid::regclass::text, c.relname = ANY(%s) FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
        "WHERE NOT indisunique AND c.relnamespace = 'public'::regnamespace",
        [names],
    ).fetchall()
    for name, is_wanted in found:
        if not is_wanted:
            advised.execute(f"DROP INDEX {name.decode() if isinstance(name, bytes) else name}")
    built = call_module("database_indexes", {"database": ADVISED, "indexes": advice["entries"], "bake": 0})
    for line in built["lines"]:
        told.say(f"  {line[:200]}")


def gains_of(told: Run, advised: psycopg.Connection[Any], before: Means) -> dict[str, float]:
    """How many times as fast each slow statement is."""
    run(advised, SLOW, 2, 2)
    after = run(advised, SLOW, 5 * SLOW_CALLS, 3)
    gains = {query.name: mean(before[query.name]) / mean(after[query.name]) for query in SLOW}
    for name, gain in gains.items():
        told.say(f"  {name:<34} {mean(before[name]):>10.2f} ms  {mean(after[name]):>9.3f} ms  {gain:>9.0f}x")
    return gains


def in_turns(
    number: int, advised: psycopg.Connection[Any], twin: psycopg.Connection[Any]
) -> list[tuple[int, psycopg.Connection[Any]]]:
    """Twin (0) and advised (1), in an order that changes from turn to turn."""
    return [(0, twin), (1, advised)][:: 1 if number % 2 else -1]


def measure_innocent(
    told: Run, advised: psycopg.Connection[Any], twin: psycopg.Connection[Any]
) -> dict[str, tuning_trial.Estimate]:
    """How many times as long each innocent statement takes, by pairs of blocks."""
    ratios: dict[str, list[float]] = {query.name: [] for query in INNOCENT}
    for number in range(told.rounds):
        told.say(f"round {number + 1} of {told.rounds}: innocent statements, twin and advised in turns")
        for query in INNOCENT:
            for block in range(QUIET_CALLS // BLOCK):
                pair = [0.0, 0.0]
                for place, connection in in_turns(block, advised, twin):
                    pair[place] = mean(run(connection, [query], BLOCK, block)[query.name])
                ratios[query.name].append(pair[1] / pair[0])
    return {name: tuning_trial.estimate(found) for name, found in ratios.items()}


def measure_writes(
    told: Run,
    advised: psycopg.Connection[Any],
    twin: psycopg.Connection[Any],
    gains: Mapping[str, float],
    advice: Mapping[str, Any],
) -> Point:
    """Writes a second, by pairs of turns; the first round doesn't count, for new indexes lie in no buffer yet."""
    rates: list[float] = []
    processor: list[float] = []
    logs = [0, 0]
    counters_at(advised.info.host).execute("CHECKPOINT")
    for number in range(told.rounds + 1):
        taken = [-processor_seconds(twin), -processor_seconds(advised)]
        pairs = []
        for turn in range(WRITES // TURN):
            pair: dict[int, Writing] = {
                place: write(connection, number * WRITES + turn) for place, connection in in_turns(turn, advised, twin)
            }
            pairs.append(pair)
        taken = [taken[0] + processor_seconds(twin), taken[1] + processor_seconds(advised)]
        if number == 0:
            continue
        rates += [pair[0].seconds / pair[1].seconds for pair in pairs]
        processor.append(taken[0] / taken[1])
        logs = [had + sum(pair[place].log for pair in pairs) for place, had in enumerate(logs)]
    told.say(
        f"  writes: {tuning_trial.estimate(rates).says()} times the twin's a second, "
        f"{tuning_trial.estimate(processor).says()} for each second of the processor, {logs[1] / logs[0]:.2f} times its log; "
        f"foreseen was a loss of {advice['write_loss']:.1%}"
    )
    return Point(advice["write_loss"], len(advice["entries"]), gains, rates, processor, logs[1] / logs[0])


def figures(
    points: Mapping[float, Point], innocent: Mapping[str, tuning_trial.Estimate], seconds: float, told: Run
) -> list[Figure]:
    """What came of it: the goals at the default limit, then the curve."""
    chosen = points[LIMITS[0]]
    for name, ratio in sorted(innocent.items(), key=lambda item: -item[1].median)[:5]:
        told.say(f"  innocent: {name}: {ratio.says()} times the twin's mean")
    slower = sum(ratio.median > SLOWER for ratio in innocent.values())
    surely = sum(ratio.low is not None and ratio.low > SLOWER for ratio in innocent.values())
    rate = tuning_trial.estimate(chosen.rates)

    def figure(name: str, value: float, unit: str, goal: float | None = None, *, lower: bool = False) -> Figure:
        return Figure(figure=name, value=value, unit=unit, better="lower" if lower else "higher", goal=goal, how=HOW)

    listed = [
        figure(f"slow queries of {len(chosen.gains)} repaired ({REPAIRED}x and more)", len(chosen.repaired), "", 15),
        figure("median gain, of the repaired", median(chosen.repaired or [1]), "x", 1000),
        figure("median gain, of all slow ones", median(chosen.gains.values()), "x"),
        figure(f"innocent queries of {len(innocent)} slower by over 5 %", slower, "", 0, lower=True),
        figure("those of them that are so with 95 %", surely, "", lower=True),
        figure(
            "innocent: median of the ratios to the twin", median(r.median for r in innocent.values()), "x", lower=True
        ),
        figure(f"writes per second, times the twin's {told_of(rate, WRITES_GOAL)}", rate.median, "x", WRITES_GOAL),
        figure("advice", seconds, "s", lower=True),
    ]
    for limit, point in points.items():
        of = f"writes may lose {limit:.0%}"
        span = told_of(tuning_trial.estimate(point.rates), None)
        listed += [
            figure(f"{of}: repaired, with {point.built} indexes", len(point.repaired), ""),
            figure(f"{of}: loss foreseen", 100 * point.foreseen, "%", lower=True),
            figure(f"{of}: writes per second, times the twin's {span}", median(point.rates), "x"),
            figure(f"{of}: writes per second of the processor, times the twin's", median(point.processor), "x"),
            figure(f"{of}: log per write, times the twin's", point.log, "x", lower=True),
        ]
    return listed


TARGET = Target(
    purpose="slow queries found and repaired without being told, innocent ones and writes left alone",
    needs="podman, the lab's image, and Debian's packages",
    takes="15 minutes with 2,500,000 rows (NECTAR_BENCH_ROWS), longer with all",
    rounds=5,
    missing=missing,
    measure=measure,
)
