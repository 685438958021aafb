# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the target pool makes of its runs, and what it has the pooler set."""

import os

import pytest

from bench.harness import BenchError
from bench.targets import pool

SAID = """number of clients: 200
number of transactions actually processed: {done}
number of failed transactions: 0 (0.000%)
latency average = 400.000 ms
average connection time = 3.000 ms
tps = 500.000000 (including reconnection times)
"""
LOST = """pgbench: error: connection to server failed: FATAL:  sorry, too many clients already
pgbench: error: client 7 aborted while establishing connection
pgbench: error: client 12 aborted while establishing connection
"""


def stat(pid: int, name: str, *ticks: int) -> str:
    return f"{pid} ({name}) S 1 1 1 0 -1 4194560 100 0 0 0 {' '.join(map(str, ticks))} 20 0 1 0 5000\n"


def told(said: str) -> str:
    before = stat(10, "postgres", 5, 5, 90, 0) + stat(20, "pgbouncer", 1, 1, 0, 0) + stat(30, "sh", 0, 0, 0, 0)
    after = (
        stat(10, "postgres", 10, 10, 180, 50)
        + stat(11, "postgres", 40, 10, 0, 0)
        + stat(20, "pgbouncer", 30, 22, 0, 0)
        + stat(30, "sh", 0, 0, 300, 100)
        + stat(31, "sleep (1) x", 9, 9, 9, 9)
    )
    return f"{before}---\n{said}---\n{after}"


def test_processes_count_by_program_with_children_that_ended() -> None:
    found = pool.read_turn(told(SAID.format(done=1000)))
    assert (found.rate, found.latency, found.lost) == (500, 400, 0)
    # Of a thousand transactions, so many ticks are as many milliseconds of a clock that ticks once a second.
    assert {name: round(value * os.sysconf("SC_CLK_TCK")) for name, value in found.cpu.items()} == {
        "postgres": 200,
        "pgbouncer": 50,
        "sh": 400,
    }


def test_clients_that_lost_their_connection_count_once() -> None:
    assert pool.read_turn(told(LOST + LOST + SAID.format(done=10))).lost == 2


@pytest.mark.parametrize("said", [SAID.format(done=0), "pgbench: error: could not create connection for setup\n"])
def test_a_run_without_transactions_is_none(said: str) -> None:
    with pytest.raises(BenchError, match="no client of 200 came through; pgbench said"):
        pool.read_turn(told(said))


def test_the_ratio_is_of_rounds() -> None:
    def turns(*rates: float) -> list[pool.Turn]:
        return [pool.Turn(rate, 200_000 / rate, 0, {"postgres": 9, "pgbouncer": 1, "sh": 2}) for rate in rates]

    found = {
        figure.figure.rpartition(": ")[2]: figure for figure in pool.figures(turns(50, 20, 10), turns(900, 600, 10))
    }
    ratio = found["transactions per second, times direct"]
    assert (ratio.value, ratio.goal, ratio.meets_goal) == (18, 20, False)
    assert (found["transactions per second"].value, found["transactions per second"].peer_value) == (600, 20)
    assert found["latency, average"].times_better == 30


def test_the_pooler_is_set_as_its_role_sets_it() -> None:
    given = pool.variables("a password")
    lines = pool.render("pgbouncer.ini.j2", given).splitlines()
    assert f"shop = host={pool.SERVER} port=5432 dbname=shop pool_size=4 max_db_connections=4" in lines
    assert {"pool_mode = transaction", "auth_type = md5", "server_tls_sslmode = verify-full"} <= set(lines)
    assert "max_prepared_statements = 200" in lines
    assert pool.render("userlist.txt.j2", given) == '"shop" "a password"\n'


def test_the_server_has_room_for_every_client_and_the_projects_settings() -> None:
    lines = pool.settings().splitlines()
    assert [line for line in lines if line.startswith("max_connections")] == ["max_connections = '300'"]
    assert {"ssl = 'on'", "password_encryption = 'scram-sha-256'"} <= set(lines)


def test_both_ways_log_in_as_applications_do() -> None:
    assert "host=primary.bench port=5432 sslmode=verify-full" in pool.service(pool.DIRECT)
    assert pool.service(pool.POOLED).startswith("host=127.0.0.1 port=6432 ")
