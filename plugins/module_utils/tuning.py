# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which parameters of PostgreSQL a server should have, or may be given, and why; beside the budget, and never against it.

Sources: PostgreSQL's manual, "Server Configuration" (Resource Consumption, Query Planning, Write Ahead Log), and pgtune's formulas where the
manual names no figure. What they promise is measured before it is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils import budget_database as budget
from ansible_collections.nectar.backend.plugins.module_utils.durability import losing_parameters
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import Parameter, TuningError

KINDS = ("select", "oltp", "mixed", "analytic", "application")
WRITING = ("oltp", "mixed", "application")
# What one member can carry by itself: the planner, and memory and reads of a session. All others hold for the cluster.
MEMBERS_OWN_NAMES = (
    "default_statistics_target effective_cache_size effective_io_concurrency from_collapse_limit hash_mem_multiplier jit "
    "join_collapse_limit maintenance_io_concurrency max_parallel_workers_per_gather parallel_setup_cost parallel_tuple_cost plan_cache_mode "
    "random_page_cost seq_page_cost temp_buffers work_mem"
)
MEMBERS_OWN = frozenset(MEMBERS_OWN_NAMES.split())
# A standby needs as much as the primary has.
SHARED = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
# The number of connections binds pools and workers, so it is the budget's alone.
BUDGETS_ALONE = frozenset({"max_connections", "superuser_reserved_connections", "reserved_connections"})
# Shares of the log's filesystem.
LOG_SHARES = frozenset({"max_wal_size", "min_wal_size", "wal_keep_size", "max_slot_wal_keep_size"})
# What takes memory.
MEMORY_NAMES = (
    "shared_buffers wal_buffers work_mem hash_mem_multiplier maintenance_work_mem autovacuum_work_mem autovacuum_max_workers "
    "max_parallel_workers temp_buffers"
)
MEMORY = frozenset(MEMORY_NAMES.split())
COUNTS = frozenset({"autovacuum_max_workers", "max_parallel_workers", "max_connections", "hash_mem_multiplier"})
# Who these are, how the members find each other and where things lie: Patroni's and the role's.
OWNED_NAMES = (
    "archive_command archive_library archive_mode cluster_name config_file data_directory external_pid_file hba_file hot_standby "
    "ident_file listen_addresses port primary_conninfo primary_slot_name promote_trigger_file restore_command synchronous_standby_names "
    "track_commit_timestamp unix_socket_directories wal_level wal_log_hints max_replication_slots"
)
OWNED = frozenset(OWNED_NAMES.split())
OWNED_PREFIXES = ("ssl", "recovery_", "log_", "unix_socket_", "krb_", "debug_", "zero_damaged", "ignore_")
MANUAL = "manual: "
PGTUNE = "pgtune 7caef27"


@dataclass(frozen=True)
class Host:
    """What the facts say. A disk that is said to turn may be a virtual one, so only the opposite counts."""

    is_solid: bool = False


@dataclass(frozen=True)
class Wish:
    """A value for a parameter, why, and who says so."""

    name: str
    value: Any
    reason: str
    source: str


@dataclass(frozen=True)
class Row:
    """One change of the plan."""

    parameter: str
    now: str
    planned: str
    context: str
    scope: str
    reason: str
    source: str


@dataclass(frozen=True)
class Plan:
    """The changes, what is left alone and why, and what can't be; a plan with refusals isn't carried out."""

    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def change(self) -> dict[str, str]:
        """The parameters and their values, as PostgreSQL reads them."""
        return {row.parameter: row.planned for row in self.rows}

    @property
    def restarting(self) -> list[str]:
        """Those that need a restart."""
        return [row.parameter for row in self.rows if row.context == "restart"]


@dataclass(frozen=True)
class Server:
    """What the server knows: its parameters by name, and the libraries that are installed and loaded."""

    version: int
    parameters: Mapping[str, Parameter]
    libraries: Collection[str] = ()
    loaded: Collection[str] = ()


@dataclass(frozen=True)
class Rules:
    """What the environment has decided already: the budget's figures, the values that an inventory pins, and what a tuning kept."""

    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pinned: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)

    def is_budgets(self, name: str) -> bool:
        """Whether the budget gives a value for it."""
        return "setting" in self.figures.get(name, {})


def wishes(kind: str, host: Host, version: int) -> list[Wish]:
    """What the kind of workload and the facts ask for, beside the budget."""
    asked: list[Wish] = []
    if host.is_solid:
        told = "the data lie on a disk without moving parts"
        asked += [
            Wish("random_page_cost", 1.1, told, f"{MANUAL}Planner Cost Constants; {PGTUNE}"),
            Wish("effective_io_concurrency", 200, told, f"{MANUAL}Asynchronous Behavior; {PGTUNE}"),
        ]
    if kind in WRITING:
        asked += [
            Wish(
                "wal_compression",
                "lz4" if version >= 150000 else "on",
                "images of whole pages are most of the log",
                f"{MANUAL}Write Ahead Log; {PGTUNE}",
            ),
            Wish(
                "checkpoint_timeout",
                "15min",
                "fewer checkpoints write fewer whole pages; max_wal_size still bounds the way back after a crash",
                f"{MANUAL}WAL Configuration",
            ),
        ]
    if kind == "analytic":
        asked += [
            Wish(
                "default_statistics_target",
                500,
                "finer statistics for large tables and few, long queries",
                f"{MANUAL}Other Planner Options; {PGTUNE}",
            )
        ]
    else:
        asked += [
            Wish(
                "jit",
                "off",
                "short statements end before compiling pays",
                f"{MANUAL}When to JIT; {PGTUNE}",
            )
        ]
    return asked


def plan(server: Server, rules: Rules, wanted: Sequence[Wish], *, proposed: bool) -> Plan:
    """Say what would change; what a person proposed is refused where it can't be, what the formulas want is left out."""
    if not proposed:
        # Kept by evidence: no formula overrules that.
        wanted = [wish for wish in wanted if wish.name not in rules.kept]
    problems = {wish.name: problem for wish in wanted if (problem := _problem(server, rules, wish))}
    able = [wish for wish in wanted if wish.name not in problems]
    rows = tuple(row for wish in able if (row := _row(server.parameters[wish.name], wish)))
    # What doesn't fit together is nobody's fault alone.
    lacks = misfits(rules.figures, {row.parameter: row.planned for row in rows}, server)
    told = [*problems.values(), *lacks]
    notes = [
        f"{name} is {_shown(server, name)}, and the budget says {figure['setting']}: site.yml brings it"
        for name, figure in rules.figures.items()
        if "setting" in figure and name in server.parameters and _differs(server, rules, name)
    ]
    if proposed:
        return Plan(() if told else rows, tuple(notes), tuple(told))
    return Plan(() if lacks else rows, (*notes, *told))


def _row(parameter: Parameter, wish: Wish) -> Row | None:
    wanted = parameter.canonical(wish.value)
    if wanted == parameter.canonical(parameter.setting):
        return None
    return Row(
        wish.name,
        parameter.show(parameter.setting),
        parameter.show(wanted),
        "restart" if parameter.context == "postmaster" else "reload",
        "member" if wish.name in MEMBERS_OWN else "cluster",
        wish.reason,
        wish.source,
    )


def _problem(server: Server, rules: Rules, wish: Wish) -> str:
    """Why it can't be, and what to do; nothing where it can."""
    name, value = wish.name, wish.value
    if lost := losing_parameters({name: value}):
        return f"{lost[0]}: a commit would be acknowledged that a crash or a failover loses; take it out"
    if name in OWNED or name.startswith(OWNED_PREFIXES):
        return f"{name} is not tuned here: it belongs to the role postgresql; change it there, by postgresql_parameters"
    if name in BUDGETS_ALONE:
        return (
            f"{name} comes from the budget, for it binds pools and workers; see docs/budget.md for what it is told, "
            "and `ansible-playbook playbooks/plan.yml` for why it is what it is"
        )
    if name in rules.pinned:
        return f"{name} stands in postgresql_parameters as {rules.pinned[name]}, which goes first; change it there"
    if lacking := _lacking_library(server, name, value):
        return lacking
    parameter = server.parameters.get(name)
    if parameter is None:
        return f"{name}: PostgreSQL {server.version // 10000} has no such parameter; {_near(name, server.parameters)}"
    if parameter.context == "internal":
        return f"{name} can't be set, it only tells; take it out"
    try:
        canonical = parameter.canonical(value)
    except TuningError as error:
        return str(error)
    if name in LOG_SHARES and rules.is_budgets(name):
        most = parameter.canonical(rules.figures[name]["setting"])
        if float(canonical) < 0 or float(canonical) > float(most):
            return (
                f"{name} of {value} doesn't fit the write-ahead log's filesystem, of which the budget gives it "
                f"{rules.figures[name]['setting']}; stay within that, or give the server a larger `wal`"
            )
    return ""


def _lacking_library(server: Server, name: str, value: Any) -> str:
    library = name.partition(".")[0] if "." in name else ""
    if library and library not in server.loaded:
        how = (
            "name it in shared_preload_libraries, in postgresql_parameters, and run site.yml"
            if library in server.libraries
            else f"no installed package has {library}; install the one that has it, then name it in shared_preload_libraries"
        )
        return f"{name} is a parameter of {library}, which shared_preload_libraries doesn't name; {how}"
    if name == "shared_preload_libraries":
        asked = [word.strip() for word in str(value).split(",") if word.strip()]
        if missing := [word for word in asked if word not in server.libraries]:
            return f"{name}: {', '.join(missing)}: no such library on the server, so it would not start; install its package first"
        if gone := sorted(set(server.loaded) - set(asked)):
            return f"{name} leaves out {', '.join(gone)}, which is loaded and used; name it as well"
    return ""


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=2)
    return f"perhaps {' or '.join(close)}" if close else "see pg_settings for those that it has"


# Memory


def _sized(server: Server) -> dict[str, Parameter]:
    names = (*MEMORY, "max_connections")
    return {name: server.parameters[name] for name in names if name in server.parameters}


def misfits(figures: Mapping[str, Mapping[str, Any]], change: Mapping[str, str], server: Server) -> list[str]:
    """Say where the memory that the parameters take together is more than the budget has for PostgreSQL."""
    if "memory" not in figures or not MEMORY & set(change):
        return []
    values = {}
    for name, parameter in _sized(server).items():
        # The budget's own figures count, also where they wait for a restart; then the change.
        said = change.get(name, figures.get(name, {}).get("setting", parameter.setting))
        values[name] = float(parameter.canonical(said)) * parameter.bytes
    needed, room = needed_memory(values), int(figures["memory"]["value"])
    if needed <= room:
        return []
    told = ", ".join(f"{name} {change[name]}" for name in sorted(MEMORY & set(change)))
    return [
        f"{told}: with {int(values['max_connections'])} connections PostgreSQL may take {needed} MB, and the budget has {room} MB for it; "
        "propose less, or raise the `memory` of the database servers"
    ]


def fitting(kept: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a tuning kept, without what the budget has no room for any more: it may have shrunk since."""
    known = {
        name: Parameter(name, "2" if name == "hash_mem_multiplier" else "0", "" if name in COUNTS else "B", type="real")
        for name in (*MEMORY, *LOG_SHARES, "max_connections")
    }
    server = Server(0, known)
    rest = {
        name: value
        for name, value in kept.items()
        if not (name in LOG_SHARES and _is_beyond(known[name], value, figures))
    }
    if misfits(figures, {name: str(value) for name, value in rest.items()}, server):
        rest = {name: value for name, value in rest.items() if name not in MEMORY}
    return rest


def _is_beyond(parameter: Parameter, value: Any, figures: Mapping[str, Mapping[str, Any]]) -> bool:
    most = figures.get(parameter.name, {}).get("setting")
    return most is not None and float(parameter.canonical(value)) > float(parameter.canonical(most))


def needed_memory(values: Mapping[str, float]) -> int:
    """What PostgreSQL may take when every connection sorts or hashes, in MiB; as the budget reckons. Sizes are in bytes."""
    mega = 1 << 20
    maintenance = values["maintenance_work_mem"]
    vacuum = values["autovacuum_work_mem"] if values["autovacuum_work_mem"] > 0 else maintenance
    buffers = values["shared_buffers"] + max(0.0, values["wal_buffers"])
    hashes = max(1.0, values.get("hash_mem_multiplier", budget.HASH_MULTIPLIER))
    sorting = values["max_connections"] + values["max_parallel_workers"]
    each = budget.BACKEND * 1024 + values["work_mem"] * hashes
    return round((buffers + maintenance + vacuum * values["autovacuum_max_workers"] + sorting * each) / mega)


def _shown(server: Server, name: str) -> str:
    return server.parameters[name].show(server.parameters[name].setting)


def _differs(server: Server, rules: Rules, name: str) -> bool:
    parameter = server.parameters[name]
    wanted = parameter.canonical(rules.figures[name]["setting"])
    return name not in {**rules.pinned, **rules.kept} and wanted != parameter.canonical(parameter.setting)


# What people read, and the order of restarts


def table(rows: Iterable[Row]) -> list[str]:
    """The plan as lines of aligned columns."""
    cells = [("parameter", "now", "planned", "takes", "scope", "reason", "source")]
    cells += [(r.parameter, r.now, r.planned, r.context, r.scope, r.reason, r.source) for r in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(7)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def restart_order(
    leader: str, standbys: Sequence[str], before: Mapping[str, int], after: Mapping[str, int]
) -> list[str]:
    """Who restarts first: the standbys, but the primary where it lowers what they need at least as much of."""
    raised = [name for name in SHARED if after.get(name, 0) > before.get(name, 0)]
    lowered = [name for name in SHARED if name in after and after[name] < before.get(name, 0)]
    if raised and lowered and standbys:
        raise TuningError(
            f"{', '.join(raised)} is raised and {', '.join(lowered)} lowered: the one goes to the standbys first, the other to the primary; "
            "do it in two runs"
        )
    return [leader, *standbys] if lowered else [*standbys, leader]
