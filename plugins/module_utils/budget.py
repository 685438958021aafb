# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One budget for an environment: workers, threads, pools, connections, memory and timeouts that fit each other.

Plain values go in: servers with their memory, and which deployments run where. Figures with their reasons come out, and each deployment's
share of them. What can't hold is reported with the numbers and two ways out. Memory is in MiB, time in seconds.

Workers follow gunicorn's design page: (2 x cores) + 1 for a server, here for all of its deployments together, and as many as memory holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils import budget_database as database
from ansible_collections.nectar.backend.plugins.module_utils.budget_database import figure
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Report, Spot

# What a host keeps for the system, and for the services of each of its groups.
RESERVES = {"system": 96, "loadbalancers": 80, "app_servers": 48, "database_servers": 96, "ops_servers": 256}
DEFAULT_CORES = 2
REQUEST_TIMEOUT = 30
# For entries that don't say: one worker of a Python web application, one other process, and the listener that tells a slot's identity.
PROCESS_MEMORY = 128
WEB_THREADS = 4
IDENTITY_MEMORY = 8
# Where one host runs both, what PostgreSQL keeps from the slots: this much, or a quarter.
DATABASE_MEMORY = 192


@dataclass(frozen=True)
class Server:
    """A host and what it may use; memory is None where nobody said."""

    name: str
    groups: tuple[str, ...]
    memory: int | None
    cores: int = DEFAULT_CORES
    wal: int = database.DEFAULT_WAL


@dataclass(frozen=True)
class Settings:
    """What an environment may say otherwise."""

    reserves: Mapping[str, int] = field(default_factory=lambda: RESERVES)
    request_timeout: int = REQUEST_TIMEOUT


@dataclass(frozen=True)
class Budget:
    """Figures by what they are for, each deployment's share, and what is wrong, where that is all there is."""

    figures: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Slot:
    """What one slot of an application takes: with each web worker, and beside them."""

    application: str
    memory: int
    worker_memory: int
    connections: int
    worker_connections: int
    workers: int | None
    threads: int
    process_memory: Mapping[str, int]
    web: str | None

    def size(self, workers: int) -> int:
        """Its memory with so many web workers."""
        return self.memory + self.worker_memory * (self.workers or workers)

    def pool(self, workers: int) -> int:
        """The connections that it can use at a time."""
        return max(1, self.connections + self.worker_connections * (self.workers or workers))


@dataclass(frozen=True)
class Group:
    """Deployments that run the same on the same servers."""

    slot: Slot
    hosts: Sequence[str]
    names: list[str]


@dataclass
class Load:
    """A server with the groups that run there, and the workers that it has for each."""

    server: Server
    reserved: int
    groups: list[int] = field(default_factory=list)
    workers: int = 1
    is_crowded: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether PostgreSQL lives here, too."""
        return "database_servers" in self.server.groups

    @property
    def room(self) -> int:
        """What slots may take."""
        free = (self.server.memory or 0) - self.reserved
        return free - max(DATABASE_MEMORY, (self.server.memory or 0) // 4) if self.is_shared else free


def plan_budget(
    report: Report,
    servers: Iterable[Server],
    deployments: Mapping[str, Mapping[str, Any]],
    applications: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    known: Mapping[str, Spot] | None = None,
) -> Budget:
    """Plan an environment, or report all that can't hold; `known` says where a server is written down."""
    places = known or {}
    listed = list(servers)
    _check_servers(report, listed, settings, places)
    if report.problems:
        return Budget()
    groups = group_deployments(deployments, applications)
    loads = spread(listed, groups, settings)
    for load in loads.values():
        _set_workers(report, load, groups, places)
    workers = [min((loads[host].workers for host in group.hosts if host in loads), default=1) for group in groups]
    connections, pools = count_connections(groups, workers, loads)
    room = database_room(listed, loads, groups, workers, settings)
    bound = max(pools, default=1)
    data: dict[str, Any] = {}
    # Where slots crowd the database out, that is said already.
    if room and pools and not any(load.is_shared and load.is_crowded for load in loads.values()):
        bound, data = _plan_database(report, listed, room, connections, pools, places)
    if report.problems:
        return Budget()
    hosts = plan_hosts(loads, groups, workers, bound)
    timeouts = plan_timeouts(settings.request_timeout)
    figures = {"timeouts": timeouts, "database": data, "app_servers": hosts}
    return Budget(figures, share_out(groups, workers, loads, bound, timeouts))


def _check_servers(report: Report, servers: Iterable[Server], settings: Settings, places: Mapping[str, Spot]) -> None:
    for server in servers:
        spot = _spot(server.name, places)
        runs = [group for group in ("app_servers", "database_servers") if group in server.groups]
        if server.memory is None and runs:
            report.add(
                spot,
                f"memory is missing, and the server is in {' and '.join(runs)}",
                "what it may use, for the budget shares that out",
                "add memory, such as 1900M: at most what `free --mebi` shows there as the total",
            )
        elif server.memory is not None and server.memory < (least := _reserved(server, settings)):
            report.add(
                spot,
                f"memory is {server.memory} MiB, and the system and the services of {', '.join(server.groups)} take {least}",
                "room for what its groups run",
                f"raise memory to {least}M, or take the server out of a group",
            )
        if "database_servers" in server.groups and server.wal < database.LEAST_WAL:
            report.add(
                spot,
                f"wal is {server.wal} MiB",
                f"at least {database.LEAST_WAL} for the write-ahead log",
                f"write {database.LEAST_WAL}M or more",
            )


def _spot(name: str, places: Mapping[str, Spot]) -> Spot:
    return places.get(name) or Spot(("servers", name), f"server {name}")


def _reserved(server: Server, settings: Settings) -> int:
    return settings.reserves["system"] + sum(settings.reserves.get(group, 0) for group in server.groups)


# Slots


def slot_of(name: str, application: Mapping[str, Any], workers: int | None) -> Slot:
    """What a slot of this application takes; `workers` is what the deployment says itself."""
    memory, connections, threads, fixed, web = IDENTITY_MEMORY, 0, 1, {}, None
    per_worker = per_worker_connections = 0
    for process_name, process in application["processes"].items():
        size = process.get("memory", PROCESS_MEMORY)
        if process["type"] == "web":
            web, threads, per_worker = process_name, process.get("threads", WEB_THREADS), size
            per_worker_connections = threads
            workers = workers or process.get("workers")
        else:
            count = process.get("workers", 1)
            fixed[process_name] = size * count
            connections += count * process.get("threads", 1)
    return Slot(
        name,
        memory + sum(fixed.values()),
        per_worker,
        connections,
        per_worker_connections,
        workers,
        threads,
        fixed,
        web,
    )


def group_deployments(
    deployments: Mapping[str, Mapping[str, Any]], applications: Mapping[str, Mapping[str, Any]]
) -> list[Group]:
    """Deployments by what they run and where; the registry's own share their lists of hosts, so no list is compared."""
    groups: dict[tuple[int, str, int | None], Group] = {}
    slots: dict[tuple[str, int | None], Slot] = {}
    for name, deployment in deployments.items():
        kind = (deployment["application"], deployment.get("workers"))
        if kind not in slots:
            slots[kind] = slot_of(kind[0], applications[kind[0]], kind[1])
        hosts = deployment["hosts"]  # the group keeps it, so that its id stays its own
        key = (id(hosts), *kind)
        if key not in groups:
            groups[key] = Group(slots[kind], hosts, [])
        groups[key].names.append(name)
    return list(groups.values())


def spread(servers: Iterable[Server], groups: Sequence[Group], settings: Settings) -> dict[str, Load]:
    """The application servers, each with the groups that run there."""
    loads = {
        server.name: Load(server, _reserved(server, settings)) for server in servers if "app_servers" in server.groups
    }
    for index, group in enumerate(groups):
        for host in group.hosts:
            if host in loads:
                loads[host].groups.append(index)
    return loads


def _needed(load: Load, groups: Sequence[Group], workers: Iterable[int]) -> tuple[int, int]:
    """The memory of all slots, and of the largest one once more."""
    pairs = [(groups[index], count) for index, count in zip(load.groups, workers, strict=True)]
    sizes = [(group.slot.size(count), len(group.names)) for group, count in pairs]
    return sum(size * number for size, number in sizes), max((size for size, _number in sizes), default=0)


def _set_workers(report: Report, load: Load, groups: Sequence[Group], places: Mapping[str, Spot]) -> None:
    """Give the server's deployments as many workers as cores and memory hold, and at least one."""
    number = sum(len(groups[index].names) for index in load.groups)
    load.workers = max(1, (2 * load.server.cores + 1) // max(1, number))
    while load.workers > 1 and sum(_needed(load, groups, [load.workers] * len(load.groups))) > load.room:
        load.workers -= 1
    slots, extra = _needed(load, groups, [load.workers] * len(load.groups))
    load.is_crowded = slots + extra > load.room
    if load.is_crowded:
        _refuse_slots(report, load, groups, number, (slots, extra), places)


def _refuse_slots(
    report: Report,
    load: Load,
    groups: Sequence[Group],
    number: int,
    needed: tuple[int, int],
    places: Mapping[str, Spot],
) -> None:
    name, memory, short = load.server.name, load.server.memory or 0, sum(needed) - load.room
    counts: Counter[Slot] = Counter()
    for index in load.groups:
        counts[groups[index].slot] += len(groups[index].names)
    common, of_these = counts.most_common(1)[0]
    leaving = -(-short // common.size(1))
    less = f"have its slots take {short} MiB less, by `memory` of the applications' processes or by fewer `workers`"
    if leaving < of_these:
        less = (
            f"keep {leaving} of the {of_these} deployments of {common.application} off it ({common.size(1)} MiB each), "
            "by `servers` in their entries"
        )
    enough = load.reserved + sum(needed)
    if load.is_shared:  # the database's part grows with the server
        enough = max(enough + DATABASE_MEMORY, (enough - 1) * 4 // 3 + 1)
    report.add(
        _spot(name, places),
        f"memory is {memory} MiB, and {enough} are needed: {enough - sum(needed)} for the system and services, {needed[0]} for the slots of "
        f"{number} deployments, {needed[1]} for the largest slot once more",
        "room for every slot, and for one more while a deployment changes slots",
        f"raise the server's memory to {enough}M, or {less}",
    )


# Connections


def count_connections(
    groups: Sequence[Group], workers: Sequence[int], loads: Mapping[str, Load]
) -> tuple[dict[str, int], Counter[int]]:
    """Connections beside the pools by purpose, and pools by the size that they ask for."""
    pools: Counter[int] = Counter()
    for group, count in zip(groups, workers, strict=True):
        pools[group.slot.pool(count)] += len(group.names) * sum(1 for host in group.hosts if host in loads)
    beside = {
        "for migrations and people": database.DIRECT_CONNECTIONS * len(loads),
        "for the cluster's own and monitoring": database.MAINTENANCE_CONNECTIONS,
        "for superusers": database.SUPERUSER_CONNECTIONS,
    }
    return beside, +pools


def database_room(
    servers: Iterable[Server],
    loads: Mapping[str, Load],
    groups: Sequence[Group],
    workers: Sequence[int],
    settings: Settings,
) -> database.Room | None:
    """What the smallest database server leaves PostgreSQL: members share their settings, and any of them may lead."""
    rooms = []
    for server in servers:
        if "database_servers" not in server.groups:
            continue
        memory = (server.memory or 0) - _reserved(server, settings)
        if server.name in loads:
            load = loads[server.name]
            memory -= sum(_needed(load, groups, [workers[index] for index in load.groups]))
        rooms.append((memory, server.cores, server.wal))
    return database.Room(*(min(values) for values in zip(*rooms, strict=True))) if rooms else None


def _plan_database(
    report: Report,
    servers: Iterable[Server],
    room: database.Room,
    beside: Mapping[str, int],
    pools: Counter[int],
    places: Mapping[str, Spot],
) -> tuple[int, dict[str, Any]]:
    most = database.capacity(room)
    free = most - sum(beside.values())
    bound = database.bound_pools(pools, free)
    if bound == 0:
        _refuse_connections(report, servers, room, (most, free), pools, places)
        return 0, {}
    pooled = sum(count * min(size, bound) for size, count in pools.items())
    purposes = {f"from {sum(pools.values())} pools of {bound} or less": pooled, **beside}
    memory = figure(room.memory, "MB", "what the smallest database server leaves beside the system and other services")
    return bound, {"memory": memory, **database.parameters(room, purposes, most)}


def _refuse_connections(
    report: Report,
    servers: Iterable[Server],
    room: database.Room,
    limits: tuple[int, int],
    pools: Counter[int],
    places: Mapping[str, Spot],
) -> None:
    names = [server.name for server in servers if "database_servers" in server.groups]
    smallest = min((server for server in servers if server.name in names), key=lambda server: server.memory or 0)
    most, free = limits
    number = sum(pools.values())
    wanted = most - free + number
    fewer = f"do without {number - free} pools, by fewer `servers` in the entries of deployments"
    if free < 1:
        fewer = "give the smallest of them less else to run: groups, deployments, or reserves in the section budget"
    raised = (smallest.memory or 0) + database.needed_memory(wanted, room.cores) - room.memory
    report.add(
        _spot(smallest.name, places),
        f"memory is {smallest.memory} MiB, of which PostgreSQL gets {room.memory}: that holds {most} connections, and {wanted} are needed, "
        f"{most - free} beside the pools and one for each of {number} pools (a deployment on an application server each)",
        "a connection for every pool",
        f"raise the memory of {', '.join(names)} to {raised}M, or {fewer}",
    )


# What comes out


def plan_timeouts(request: int) -> dict[str, dict[str, Any]]:
    """A nest in which the inner one always gives up first, so that its error is told rather than a silence.

    See PgBouncer's page "Configuration" (query_wait_timeout, idle_transaction_timeout), gunicorn's "Settings" (timeout) and HAProxy's
    "timeout server" and "timeout client".
    """
    step = max(2, request // 6)
    return {
        "statement": figure(
            request // 3, "s", "a third of a request: with the wait for a connection it stays below it"
        ),
        "migration_lock": figure(
            request // 6, "s", "half of a statement: requests that queue behind a waiting migration still end well"
        ),
        "query_wait": figure(request // 2, "s", "half of a request for a connection of the pool"),
        "idle_transaction": figure(request, "s", "as long as a request: longer, it serves nobody"),
        "worker": figure(request, "s", "what a request may take (request_timeout)"),
        "stop": figure(request, "s", "requests that run may end"),
        "server": figure(request + step, "s", f"the load balancer waits {step} s longer than the application"),
        "client": figure(request + 2 * step, "s", f"and for the client {step} s longer still"),
    }


def plan_hosts(
    loads: Mapping[str, Load], groups: Sequence[Group], workers: Sequence[int], bound: int
) -> dict[str, dict[str, Any]]:
    """The figures of all application servers; those that are alike have them in common."""
    made: dict[tuple[Any, ...], dict[str, Any]] = {}
    hosts = {}
    for name, load in loads.items():
        runs = tuple((groups[index].slot, len(groups[index].names), workers[index]) for index in load.groups)
        key = (load.server.memory, load.server.groups, runs)
        if key not in made:
            made[key] = host_figures(load, groups, workers, bound)
        hosts[name] = made[key]
    return hosts


def host_figures(load: Load, groups: Sequence[Group], workers: Sequence[int], bound: int) -> dict[str, Any]:
    """The figures of one application server."""
    mine = [workers[index] for index in load.groups]
    slots, extra = _needed(load, groups, mine)
    pairs = [(groups[index], count) for index, count in zip(load.groups, mine, strict=True)]
    number = sum(len(group.names) for group, _count in pairs)
    pooled = sum(len(group.names) * min(group.slot.pool(count), bound) for group, count in pairs)
    memory = load.server.memory or 0
    spare = 0 if load.is_shared else memory - load.reserved - slots - extra
    beside = ", ".join(load.server.groups)
    return {
        "memory": figure(memory, "MB", "as the registry says"),
        "reserved": figure(load.reserved, "MB", f"for the system and the services of {beside}"),
        "slots": figure(slots, "MB", f"for {number} deployments, one slot each"),
        "extra": figure(extra, "MB", "for the largest slot once more, while a deployment changes slots"),
        "spare": figure(spare, "MB", "what is left" if not load.is_shared else "PostgreSQL has what is left"),
        "room": figure(extra + spare, "MB", "for slots that change at a time"),
        "pools": figure(pooled, "", f"connections of {number} pools, {bound} each at most"),
    }


def share_out(
    groups: Sequence[Group],
    workers: Sequence[int],
    loads: Mapping[str, Load],
    bound: int,
    timeouts: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Each deployment's share; those that run alike have one in common."""
    shares: dict[str, dict[str, Any]] = {}
    made: dict[tuple[Slot, int, int, str], dict[str, Any]] = {}
    for group, count in zip(groups, workers, strict=True):
        here = [loads[host] for host in group.hosts if host in loads]
        why = _worker_reason(group, count, here, groups)
        key = (group.slot, count, len(here), why)
        if (share := made.get(key)) is None:
            share = made[key] = make_share(group.slot, count, len(here), bound, timeouts, why)
        shares.update(dict.fromkeys(group.names, share))
    return shares


def _worker_reason(group: Group, count: int, here: Sequence[Load], groups: Sequence[Group]) -> str:
    if group.slot.web is None:
        return "it has no web process"
    if group.slot.workers:
        return "as the registry says"
    tightest = next((load for load in here if load.workers == count), None)
    if tightest is None:
        return "it runs nowhere"
    number = sum(len(groups[index].names) for index in tightest.groups)
    most = 2 * tightest.server.cores + 1
    limit = f"2 x {tightest.server.cores} cores + 1 = {most} for {number} deployments of a server"
    return limit if count == max(1, most // number) else f"memory holds no more ({limit})"


def make_share(
    slot: Slot, workers: int, servers: int, bound: int, timeouts: Mapping[str, Mapping[str, Any]], why: str
) -> dict[str, Any]:
    """What a deployment may use on each of its servers."""
    count = (slot.workers or workers) if slot.web else 0
    asked = slot.pool(workers)
    pool = min(asked, bound)
    web = {slot.web: slot.worker_memory * count} if slot.web else {}
    return {
        "workers": count,
        "threads": slot.threads,
        "pool_size": pool,
        # Connections of a host that vanished stay for up to 25 seconds beside those that replace them.
        "connection_limit": 2 * pool * servers + database.DIRECT_CONNECTIONS,
        "memory": slot.size(workers),
        "memory_max": {**web, **slot.process_memory},
        "worker_timeout": timeouts["worker"]["value"],
        "statement_timeout": timeouts["statement"]["value"],
        "reasons": {
            "workers": why,
            "threads": "as the application says" if slot.web else "it has no web process",
            "pool_size": f"{asked} can be used at a time" + (f", and {bound} fit" if pool < asked else ""),
            "memory": f"{IDENTITY_MEMORY} MB for the identity, and what the processes may use",
        },
    }
