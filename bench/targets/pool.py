# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""200 clients with a connection for each transaction: straight to PostgreSQL, and through the pooler, in turns."""

import contextlib
import functools
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
import yaml

from bench.container import container, missing, podman
from bench.harness import ROOT, BenchError, Figure, Run, Target, median, median_ratio, take_turns
from bench.targets.tune import ours

CONTAINER = "nectar-pool-bench"
MEMORY = "4g"
CLIENTS = 200
# Threads of pgbench. Each makes one connection at a time, which is how many are being made at once.
JOBS = int(os.environ.get("NECTAR_BENCH_JOBS", "2"))
SECONDS = int(os.environ.get("NECTAR_BENCH_SECONDS", "20"))
SCALE = 10
# Database and role have one name, as the pooler's and the server's rules want it.
NAME, SERVER, PORT = "shop", "primary.bench", 5432
DIRECT, POOLED = "direct", "PgBouncer"
GOAL = 20
ROLE = ROOT / "roles/pgbouncer"
HOW = (
    f"pgbench -C -S -c {CLIENTS} -j {JOBS} -T {SECONDS}, scale {SCALE}, clients, pooler and PostgreSQL 17 in one container; PostgreSQL asks for TLS and SCRAM and has "
    f"max_connections for all; PgBouncer as roles/pgbouncer sets it up, on loopback; CPU of all processes of a kind from /proc; medians, and "
    "the ratio's of rounds"
)
# What PostgreSQL needs beside its settings: a certificate as the project's are, the rules of the role, the tables.
START = f"""
cd "$(mktemp -d)"
new() {{ openssl req -x509 -days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 "$@" 2>/dev/null; }}
new -subj /CN=bench -keyout ca.key -out ca.crt
new -CA ca.crt -CAkey ca.key -subj /CN={SERVER} -addext subjectAltName=DNS:{SERVER} -addext basicConstraints=critical,CA:FALSE -keyout server.key -out server.crt
install -D -m 0644 ca.crt "$AUTHORITY"
pg_createcluster 17 main >/dev/null
cd /etc/postgresql/17/main
install -o postgres -m 0600 "$OLDPWD/server.key" "$OLDPWD/server.crt" .
cat > conf.d/bench.conf
printf '%s\\n' 'local all postgres peer' 'hostssl samerole all samehost scram-sha-256' > pg_hba.conf
echo '127.0.0.1 {SERVER}' >> /etc/hosts
pg_ctlcluster 17 main start
cd /
as() {{ setpriv --reuid postgres --regid postgres --init-groups "$@"; }}
as psql -qX <<END
CREATE ROLE {NAME} LOGIN PASSWORD '$(cut -d: -f5 ~/.pgpass)';
CREATE DATABASE {NAME} OWNER {NAME};
END
pgbench -i -q -s {SCALE} "$SERVICE" 2>/dev/null
as psql -qXd {NAME} -c 'VACUUM ANALYZE' -c CHECKPOINT
"""
# A shell is charged with what the clients took, for it waits for them. What has ended when its time is to be read doesn't matter.
TURN = f"""
cat /proc/[0-9]*/stat 2>/dev/null || true
echo ---
pgbench -n -C -S -c {CLIENTS} -j {JOBS} -T "$SECONDS" "$SERVICE" 2>&1 || true
echo ---
sleep 1
cat /proc/[0-9]*/stat 2>/dev/null || true
"""


@dataclass(frozen=True)
class Turn:
    """What one run came to; CPU in milliseconds for each transaction, by the program's name."""

    rate: float
    latency: float
    lost: int
    cpu: Mapping[str, float]


def settings() -> str:
    """PostgreSQL's, as site.yml sets them on a host of this size, with room for every client at once."""
    own = {
        "max_connections": CLIENTS + 100,
        "ssl": "on",
        "ssl_cert_file": "/etc/postgresql/17/main/server.crt",
        "ssl_key_file": "/etc/postgresql/17/main/server.key",
    }
    return "".join(f"{name} = '{value}'\n" for name, value in (ours("oltp") | own).items())


def variables(password: str) -> dict[str, Any]:
    """The role's own, and what an environment gives it."""
    found: dict[str, Any] = {
        "ansible_managed": "bench",
        "pgbouncer_databases": [{"name": NAME, "user": NAME}],
        "pgbouncer_passwords": {NAME: password},
        # The role derives it by an expression, which is not worked out here.
        "__pgbouncer_users": [NAME],
        "pgbouncer_server_name": SERVER,
        "pgbouncer_server_port": PORT,
    }
    for path in ("vars/main.yml", "defaults/main.yml"):
        found = yaml.safe_load((ROLE / path).read_text(encoding="utf-8")) | found
    return found


def render(template: str, given: Mapping[str, Any]) -> str:
    """A template of the role as Ansible renders it."""
    engine = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    return engine.from_string((ROLE / "templates" / template).read_text(encoding="utf-8")).render(given)


@contextlib.contextmanager
def server() -> Iterator[None]:
    """PostgreSQL and the pooler, both ready."""
    password = secrets.token_urlsafe(24)
    given = variables(password)
    with container(CONTAINER, "--network", "none", "--shm-size", "1g", "--memory", MEMORY):
        shell("umask 077; cat > ~/.pgpass", f"*:*:*:{NAME}:{password}\n")
        shell(START, settings(), SERVICE=service(DIRECT), AUTHORITY=given["pgbouncer_server_ca_path"])
        for name in ("listen.ini", "pgbouncer.ini", "userlist.txt"):
            shell(f"cat > /etc/pgbouncer/{name}", render(f"{name}.j2", given))
        podman("exec", "--detach", "--user", "postgres", CONTAINER, "pgbouncer", "/etc/pgbouncer/pgbouncer.ini")
        yield


def shell(script: str, given: str = "", **more: str) -> str:
    words = [word for name, value in more.items() for word in ("--env", f"{name}={value}")]
    return podman("exec", "--interactive", *words, CONTAINER, "sh", "-ec", script, given=given)


def service(way: str) -> str:
    """Where clients of the one or the other connect to, as applications do."""
    given = variables("")
    if way == DIRECT:
        place = f"host={SERVER} port={PORT} sslmode=verify-full sslrootcert={given['pgbouncer_server_ca_path']}"
    else:
        place = f"host={given['pgbouncer_listen_addresses'][0]} port={given['pgbouncer_listen_port']}"
    return f"{place} user={NAME} dbname={NAME}"


def turn(way: str, seconds: int = SECONDS) -> Turn:
    return read_turn(shell(TURN, SERVICE=service(way), SECONDS=str(seconds)))


def read_turn(text: str) -> Turn:
    """What pgbench said, and what the processes took meanwhile."""
    before, said, after = text.split("---\n")
    found = {
        name: re.search(pattern, said)
        for name, pattern in {
            "rate": r"tps = ([\d.]+)",
            "latency": r"latency average = ([\d.]+) ms",
            "done": r"actually processed: (\d+)",
        }.items()
    }
    values = {name: float(match[1]) for name, match in found.items() if match}
    if len(values) < len(found) or not values["done"]:
        raise BenchError(f"no client of {CLIENTS} came through; pgbench said:\n{said[-800:]}")
    old, new = ticks(before), ticks(after)
    spent = {
        name: 1000 * (new[name] - old.get(name, 0)) / os.sysconf("SC_CLK_TCK") / values["done"]
        for name in ("postgres", "pgbouncer", "sh")
    }
    lost = len(set(re.findall(r"client (\d+) (?:aborted|script \d+ aborted)", said)))
    return Turn(values["rate"], values["latency"], lost, spent)


def ticks(stats: str) -> dict[str, int]:
    """Clock ticks by program, those of ended children included, from lines of /proc/*/stat."""
    found: dict[str, int] = {}
    for line in stats.splitlines():
        name, words = line.partition("(")[2].rpartition(")")[0], line.rpartition(")")[2].split()
        found[name] = found.get(name, 0) + sum(int(word) for word in words[11:15])
    return found


def measure(told: Run) -> list[Figure]:
    told.say("starts PostgreSQL and PgBouncer")
    with server():
        for way in (DIRECT, POOLED):
            turn(way, 2)
        turns = take_turns({way: functools.partial(turn, way) for way in (DIRECT, POOLED)}, told.rounds, told.say)
    for way, taken in turns.items():
        told.say(f"  {way}: " + ", ".join(f"{each.rate:.0f}" for each in taken) + " transactions a second")
    return figures(turns[DIRECT], turns[POOLED])


def figures(direct: list[Turn], pooled: list[Turn]) -> list[Figure]:
    """What came of it; the pooler beside the direct way."""

    def figure(name: str, unit: str, read: Any, *, higher: bool = False) -> Figure:
        return Figure(
            figure=name, value=median(map(read, pooled)), unit=unit, better="higher" if higher else "lower", how=HOW,
            peer=DIRECT, peer_value=median(map(read, direct)),
        )  # fmt: skip

    ratio = median_ratio([each.rate for each in pooled], [each.rate for each in direct])
    return [
        Figure(
            figure=f"{CLIENTS} clients, a connection per transaction: transactions per second, times direct",
            value=ratio, unit="x", better="higher", goal=GOAL, how=HOW,
        ),
        figure("transactions per second", "/s", lambda each: each.rate, higher=True),
        figure("latency, average", "ms", lambda each: each.latency),
        figure(f"clients of {CLIENTS} that lost their connection", "", lambda each: each.lost),
        figure("PostgreSQL's CPU per transaction", "ms", lambda each: each.cpu["postgres"]),
        figure("clients' own CPU per transaction", "ms", lambda each: each.cpu["sh"]),
        Figure(
            figure="PgBouncer's CPU per transaction", value=median(each.cpu["pgbouncer"] for each in pooled), unit="ms",
            better="lower", how=HOW,
        ),
    ]  # fmt: skip


TARGET = Target(
    purpose=f"{CLIENTS} clients with a connection for each transaction, through the pooler against direct",
    needs="podman, the lab's image, and Debian's packages",
    takes="4 minutes",
    rounds=3,
    missing=missing,
    measure=measure,
)
