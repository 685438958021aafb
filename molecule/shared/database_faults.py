# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can go wrong with the database's hosts, done to the lab on purpose, and undone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from client import eventually
from lab import Lab
from ledger import Act, Ledger, find_rivals, read_acts, read_kept

HOSTS = ("db1", "db2", "db3")
ETCDCTL = (
    "etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/nectar/tls/ca.crt "
    "--cert /etc/nectar/tls/etcd.crt --key /etc/nectar/tls/etcd.key"
)
PATRONICTL = "patronictl --config-file /etc/patroni/config.yml"
PSQL = "runuser --user postgres -- psql -X -q -A -t -h /var/run/postgresql"
# Commits again and again and says so, in one session; where the server is a standby, or gone, it begins anew.
WITNESS = """
cat > /run/nectar-witness.sql <<'END'
DO $$
DECLARE
  began double precision;
BEGIN
  LOOP
    began := extract(epoch FROM clock_timestamp());
    PERFORM pg_logical_emit_message(true, 'witness', '');
    COMMIT;
    RAISE NOTICE 'acknowledged % % %', left(pg_walfile_name(pg_current_wal_lsn()), 8), began, extract(epoch FROM clock_timestamp());
    PERFORM pg_sleep(0.2);
  END LOOP;
END $$;
END
cat > /run/nectar-witness <<'END'
while :; do
  runuser --user postgres -- psql -X -q -h /var/run/postgresql -d postgres -f /run/nectar-witness.sql
  sleep 0.5
done
END
systemd-run --quiet --collect --unit nectar-witness --property StandardError=append:/var/tmp/nectar-witness sh /run/nectar-witness
"""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    It lasts for `wait` seconds, and longer, up to `patience`, until commits are acknowledged again: some only are once it is undone.
    """

    name: str
    inject: Callable[[Database, str], None]
    heal: Callable[[Database, str], None]
    wait: float = 0.0
    leads_etcd: bool = False
    patience: float = 120.0


class Database:
    """The cluster of a lab, as its hosts show it past their networks."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def members(self) -> dict[str, dict[str, Any]]:
        """The members by name, as the first host that answers tells."""
        for host in HOSTS:
            try:
                shown = self.lab.inside(host, f"timeout 20 {PATRONICTL} list --format json")
            except AssertionError:
                continue
            return {member["Member"]: member for member in json.loads(shown or "[]")}
        return {}

    def primary(self) -> str:
        return next((name for name, member in self.members().items() if member["Role"] == "Leader"), "")

    def whole(self) -> bool:
        """Whether one member leads, both others hold every commit, and etcd has all its members."""
        members = self.members()
        roles = sorted(member["Role"] for member in members.values())
        states = {member["State"] for member in members.values()}
        return (
            roles == ["Leader", "Quorum Standby", "Quorum Standby"]
            and states <= {"running", "streaming"}
            and self.etcd_leader() is not None
            and all(self._healthy(host) for host in HOSTS)
        )

    def _healthy(self, host: str) -> bool:
        try:
            self.lab.inside(host, f"{ETCDCTL} --command-timeout 3s endpoint health >/dev/null 2>&1")
        except AssertionError:
            return False
        return True

    def standbys(self, primary: str) -> list[str]:
        return [host for host in HOSTS if host != primary]

    def timeline(self) -> int:
        """How often the lead has moved since the cluster began."""
        return max((int(member.get("TL") or 0) for member in self.members().values()), default=0)

    def set_retry_timeout(self, seconds: int) -> None:
        """Let a leader miss etcd for so long, until it is said again."""
        self.lab.inside(HOSTS[0], f"timeout 20 {PATRONICTL} edit-config --force --quiet --set retry_timeout={seconds}")

    def etcd_leader(self) -> str | None:
        """The host whose member leads etcd."""
        for host in HOSTS:
            try:
                status = json.loads(self.lab.inside(host, f"{ETCDCTL} endpoint status --write-out json"))[0]["Status"]
            except AssertionError:
                continue
            # While there is none, the answer names none.
            if status.get("leader") == status["header"]["member_id"]:
                return host
        return None

    def lead_etcd(self, host: str) -> None:
        """Move etcd's lead to a host."""
        leader = self.etcd_leader()
        if leader and leader != host:
            status = json.loads(self.lab.inside(host, f"{ETCDCTL} endpoint status --write-out json"))[0]["Status"]
            self.lab.inside(leader, f"{ETCDCTL} move-leader {status['header']['member_id']:x}")

    def watch(self) -> None:
        """Let a witness on every host commit for itself, and write down what was acknowledged to it."""
        for host in HOSTS:
            self.lab.inside(host, "systemctl is-active --quiet nectar-witness || {" + WITNESS + "}")

    def watch_no_more(self) -> None:
        for host in HOSTS:
            self.lab.inside(
                host,
                "! systemctl is-active --quiet nectar-witness || systemctl stop nectar-witness; rm -f /var/tmp/nectar-witness",
            )

    def rivals(self) -> tuple[int, list[tuple[Act, Act]]]:
        """How many commits the witnesses saw acknowledged, and those that two primaries must have given."""
        acts = [
            act
            for host in HOSTS
            for act in read_acts(host, self.lab.inside(host, "cat /var/tmp/nectar-witness 2>/dev/null || true"))
        ]
        return len(acts), find_rivals(acts)

    def kept(self, ledger: Ledger, database: str = "production") -> dict[int, int]:
        """What the primary holds of a ledger."""
        return read_kept(self.lab.inside(eventually(self.primary, 60), f'{PSQL} -d {database} -c "{ledger.query}"'))


def _systemd(order: str) -> Callable[[Database, str], None]:
    return lambda database, host: void(database.lab.inside(host, order))


def void(_value: object) -> None:
    """For what is done for its effect."""


def _on_standbys(order: str) -> Callable[[Database, str], None]:
    def act(database: Database, host: str) -> None:
        for standby in database.standbys(host):
            database.lab.inside(standby, order)

    return act


def _cut_link(database: Database, host: str) -> None:
    """Between the primary and one standby; both still see everybody else."""
    addresses = database.lab.inside(database.standbys(host)[0], "hostname -I").split()
    rules = "\n".join(
        f"{family} {end} {address} drop"
        for address in addresses
        for family in (["ip6"] if ":" in address else ["ip"])
        for end in ("saddr", "daddr")
    )
    chains = "\n".join(
        f"chain {hook} {{ type filter hook {hook} priority -300;\n{rules}\n}}" for hook in ("input", "output")
    )
    database.lab.inside(host, "nft -f -", text=f"table inet fault {{\n{chains}\n}}\n")


def _settle(_database: Database, _host: str) -> None:
    """Nothing to undo: the host's own services come back by themselves."""


CUT = """nft -f - <<'END'
table inet fault {
  chain in { type filter hook input priority -300; policy drop; iif lo accept; }
  chain out { type filter hook output priority -300; policy drop; oif lo accept; }
}
END"""
# What a table grows by has no room then.
FILL_DATA = """
free=$(df --output=avail --block-size=1K /var/lib/postgresql | tail -n 1)
fallocate --length "${free}KiB" /var/lib/postgresql/filled
"""
# What keeps the log small is held meanwhile, for it would make room again; a postmaster that is gone ends psql with 2.
FILL_LOG = f"""
free=$(df --output=avail --block-size=1K /var/lib/postgresql-wal | tail -n 1)
fallocate --length "${{free}}KiB" /var/lib/postgresql-wal/filled
checkpointer=$({PSQL} -d postgres -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
kill -STOP "$checkpointer"
code=0
timeout 50 {PSQL} -d postgres -f - >/dev/null 2>&1 <<'END' || code=$?
DO $$ BEGIN
  FOR segment IN 1..60 LOOP
    PERFORM pg_logical_emit_message(false, 'filled', '');
    PERFORM pg_switch_wal();
    PERFORM pg_sleep(0.1);
  END LOOP;
END $$;
END
kill -CONT "$checkpointer" || true
[ "$code" = 2 ] && exit
rm /var/lib/postgresql-wal/filled
echo "PostgreSQL runs on with no room for its log: psql ended with $code" >&2
exit 1
"""
# The primary keeps its lead as long as every member says that no other leads.
LOSE_ETCD = "systemctl kill --signal KILL etcd; systemctl stop etcd"
# Some of what orders and their log need, and commits wait for it; commands come in past the network.
SLOW_LINK = "tc qdisc add dev eth0 root tbf rate 256kbit burst 8kb latency 400ms"
KILL_POSTMASTER = "kill -9 $(head -n 1 /var/lib/postgresql/*/main/postmaster.pid)"
FAULTS = {
    fault.name: fault
    for fault in (
        Fault("postmaster killed", _systemd(KILL_POSTMASTER), _settle),
        Fault("Patroni killed", _systemd("systemctl kill --kill-whom main --signal KILL patroni"), _settle, wait=25),
        Fault("host lost", lambda database, host: database.lab.lose(host), lambda database, host: database.lab.bring_back(host)),
        Fault(
            "host lost with etcd's lead",
            lambda database, host: database.lab.lose(host),
            lambda database, host: database.lab.bring_back(host),
            leads_etcd=True,
        ),
        Fault(
            "host frozen past its lease",
            lambda database, host: database.lab.pause(host),
            lambda database, host: database.lab.unpause(host),
            wait=30,
        ),
        Fault("host cut off", _systemd(CUT), _systemd("nft delete table inet fault"), wait=30),
        Fault(
            "etcd killed on its leader",
            lambda database, _host: void(
                database.lab.inside(database.etcd_leader() or HOSTS[0], "systemctl kill --signal KILL etcd")
            ),
            _settle,
            wait=10,
        ),
        Fault("etcd's majority lost", _on_standbys(LOSE_ETCD), _on_standbys("systemctl start etcd"), wait=30),
        Fault("link to a standby cut", _cut_link, _systemd("nft delete table inet fault"), wait=30),
        Fault("link slow", _systemd(SLOW_LINK), _systemd("tc qdisc del dev eth0 root"), wait=30),
        Fault("disk of the data full", _systemd(FILL_DATA), _systemd("rm -f /var/lib/postgresql/filled"), wait=20, patience=30),
        Fault("disk of the log full", _systemd(FILL_LOG), _systemd("rm -f /var/lib/postgresql-wal/filled")),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a fault cost: the host, the longest silence, and whether all came back."""

    fault: str
    host: str
    silence: float
    whole: bool


def suffer(database: Database, ledger: Ledger, fault: Fault) -> Outcome:
    """Do it to the primary's host under way, see commits acknowledged again, and undo it; wait until all is whole before and after."""
    assert eventually(database.whole, 180), f"the cluster isn't whole: {database.members()}"
    victim = eventually(database.primary, 60)
    assert victim, f"nobody leads: {database.members()}"
    if fault.leads_etcd:
        database.lab.inside(victim, "systemctl stop nectar-etcd-lead.timer")
        database.lead_etcd(victim)
    else:
        assert eventually(lambda: database.etcd_leader() not in (victim, None), 40), f"etcd's lead stays on {victim}"
    assert eventually(lambda: ledger.acknowledged(time.monotonic() - 2), 30), "no commit is acknowledged to begin with"
    moment = time.monotonic()
    try:
        fault.inject(database, victim)
        injected = time.monotonic()
        # Two seconds later nothing of what was under way can still be answered by a server that is gone.
        eventually(lambda: len(ledger.acknowledged(injected + 2)) >= 5, fault.patience, pause=0.1)
        eventually(lambda: time.monotonic() > moment + fault.wait, fault.wait + 1, pause=0.1)
        undone = time.monotonic()
    finally:
        # Also where a person ends it on the way.
        fault.heal(database, victim)
    if not ledger.acknowledged(injected + 2, undone):
        # Nobody could help but by undoing it.
        eventually(lambda: ledger.acknowledged(undone), fault.patience, pause=0.1)
        undone = time.monotonic()
    silence = ledger.silence(moment, undone)
    whole = eventually(database.whole, 180)
    if fault.leads_etcd:
        database.lab.inside(victim, "systemctl start nectar-etcd-lead.timer")
    # A host that was away comes back without its witness.
    database.watch()
    return Outcome(fault.name, victim, silence, whole)
