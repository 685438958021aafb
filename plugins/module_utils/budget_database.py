# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What PostgreSQL may use: connections, memory and write-ahead log that fit the smallest of the database servers.

Sources: PostgreSQL's manual, "Server Configuration": Resource Consumption (shared_buffers, work_mem, maintenance_work_mem,
autovacuum_work_mem, hash_mem_multiplier), Query Planning (effective_cache_size), Write Ahead Log (max_wal_size, min_wal_size,
wal_buffers), Replication (wal_keep_size, max_slot_wal_keep_size) and Connections (max_connections, superuser_reserved_connections).
Memory is in MiB unless a name says KiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What a connection's process takes by itself, before any sort (KiB); in the lab, idle ones had 1.5 MB, ARA's 2.6.
BACKEND = 1536
# The least work_mem that is worth having (KiB); below it, a plan has fewer connections instead.
LEAST_WORK_MEM = 256
# More helps few queries, and one of them in each connection would still be a lot (KiB).
MOST_WORK_MEM = 64 * 1024
# PostgreSQL's own hash_mem_multiplier: a hash may take twice what a sort may.
HASH_MULTIPLIER = 2
# max_connections asks for a restart of every member, so it grows by tens rather than with every deployment.
CONNECTION_STEP = 10
SUPERUSER_CONNECTIONS = 5
MAINTENANCE_CONNECTIONS = 6
# For each application server: the two migrations that run there at a time, and a person.
DIRECT_CONNECTIONS = 3
# One file of the write-ahead log.
SEGMENT = 16
LEAST_WAL = 256
DEFAULT_WAL = 512
MOST_WAL = 32 * 1024
GREATEST_SERVER = 1 << 24


@dataclass(frozen=True)
class Room:
    """What the smallest database server leaves PostgreSQL: memory, cores, and the filesystem of the write-ahead log."""

    memory: int
    cores: int
    wal: int


def figure(value: int, unit: str, reason: str) -> dict[str, Any]:
    """One number of the budget, and why it is that."""
    return {"value": value, "unit": unit, "reason": reason}


def setting(value: int, unit: str, reason: str) -> dict[str, Any]:
    """A figure that is a parameter of PostgreSQL, also as PostgreSQL writes it."""
    return {**figure(value, unit, reason), "setting": f"{value}{unit}" if unit else value}


def shared_buffers(memory: int) -> int:
    """A quarter of the memory, with which the manual says to start."""
    return memory // 4


def wal_buffers(memory: int) -> int:
    """What PostgreSQL would choose by itself: a 32nd of shared_buffers, one segment at most."""
    return _between(1, -(-shared_buffers(memory) // 32), SEGMENT)


def maintenance_work_mem(memory: int) -> int:
    """A sixteenth: an index or a vacuum at a time, so larger than work_mem by far."""
    return _between(SEGMENT, memory // 16, 1024)


def autovacuum_work_mem(memory: int) -> int:
    """The same for each worker of autovacuum, but more than 256 MB serves few tables."""
    return min(maintenance_work_mem(memory), 256)


def autovacuum_workers(cores: int) -> int:
    """PostgreSQL's own three, but two where two cores do everything."""
    return 2 if cores <= 2 else 3


def fixed_memory(room: Room) -> int:
    """What is taken whatever the number of connections: buffers, one maintenance at a time, and autovacuum."""
    memory = room.memory
    vacuum = autovacuum_workers(room.cores) * autovacuum_work_mem(memory)
    return shared_buffers(memory) + wal_buffers(memory) + maintenance_work_mem(memory) + vacuum


def capacity(room: Room) -> int:
    """The connections that all may sort or hash at once, each with the least work_mem."""
    left = (room.memory - fixed_memory(room)) * 1024
    return max(0, left // (BACKEND + HASH_MULTIPLIER * LEAST_WORK_MEM) - room.cores)


def needed_memory(connections: int, cores: int) -> int:
    """The least memory that holds so many connections."""
    low, high = 1, GREATEST_SERVER
    while low < high:
        middle = (low + high) // 2
        if capacity(Room(middle, cores, 0)) >= connections:
            high = middle
        else:
            low = middle + 1
    return low


def work_mem(room: Room, connections: int) -> int:
    """What is left, shared by all connections and parallel workers, in KiB; a hash takes twice as much as a sort."""
    left = (room.memory - fixed_memory(room)) * 1024 // (connections + room.cores)
    return _between(64, (left - BACKEND) // HASH_MULTIPLIER // 64 * 64, MOST_WORK_MEM)


def bound_pools(pools: Mapping[int, int], connections: int) -> int:
    """The greatest size that no pool may exceed so that all fit; 0 where not even one connection each does.

    `pools` counts pools by the size that they ask for.
    """
    low, high = 0, max(pools, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(count * min(size, middle) for size, count in pools.items()) <= connections:
            low = middle
        else:
            high = middle - 1
    return low


def parameters(room: Room, connections: Mapping[str, int], most: int) -> dict[str, dict[str, Any]]:
    """The parameters of PostgreSQL by name, from the connections by their purpose."""
    memory, cores = room.memory, room.cores
    wanted = sum(connections.values())
    limit = min(most, -(-wanted // CONNECTION_STEP) * CONNECTION_STEP)
    told = " + ".join(f"{count} {purpose}" for purpose, count in connections.items())
    return {
        "max_connections": setting(limit, "", f"{told}, in steps of {CONNECTION_STEP}; memory holds {most}"),
        "superuser_reserved_connections": setting(
            SUPERUSER_CONNECTIONS, "", "for Patroni and whoever puts things right when all others are taken"
        ),
        "shared_buffers": setting(shared_buffers(memory), "MB", f"a quarter of {memory} MB"),
        "effective_cache_size": setting(
            memory * 3 // 4, "MB", f"shared_buffers and the page cache: three quarters of {memory} MB"
        ),
        "work_mem": setting(
            work_mem(room, limit),
            "kB",
            f"what is left for {limit} connections and {cores} parallel workers, and enough for a hash of twice that",
        ),
        "maintenance_work_mem": setting(maintenance_work_mem(memory), "MB", f"a sixteenth of {memory} MB"),
        "autovacuum_work_mem": setting(autovacuum_work_mem(memory), "MB", "as maintenance_work_mem, 256 MB at most"),
        "autovacuum_max_workers": setting(autovacuum_workers(cores), "", f"for {cores} cores"),
        "max_worker_processes": setting(cores + 2, "", f"{cores} cores, and two for the server itself"),
        "max_parallel_workers": setting(cores, "", f"one a core, of {cores}"),
        "max_parallel_workers_per_gather": setting(_between(1, cores // 2, 4), "", f"half of {cores} cores, 4 at most"),
        "wal_buffers": setting(wal_buffers(memory), "MB", "a 32nd of shared_buffers, 16 MB at most"),
        **wal_parameters(room.wal),
    }


def wal_parameters(wal: int) -> dict[str, dict[str, Any]]:
    """How the filesystem of the write-ahead log is shared, in whole segments.

    A former primary is rewound to its last checkpoint, up to max_wal_size ago, so more than that is kept. Log that is kept, a checkpoint
    that is late, and the segments of the next one fill at most seven eighths; so does log of which each segment is there twice, for
    a new primary has its own copy of the one in which it begins.
    """
    shares = {
        "max_wal_size": (4, "a quarter"),
        "min_wal_size": (2, "an eighth"),
        "wal_keep_size": (5, "five sixteenths"),
        "max_slot_wal_keep_size": (4, "a quarter"),
    }
    usable = min(wal, MOST_WAL)
    return {
        name: setting(usable * part // 16 // SEGMENT * SEGMENT, "MB", f"{told} of {usable} MB for the log")
        for name, (part, told) in shares.items()
    }


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))
