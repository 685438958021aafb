# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils import tuning
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import Parameter, TuningError


def size(name: str, megabytes: float, context: str = "sighup") -> Parameter:
    return Parameter(name, str(round(megabytes * 1024)), "kB", context, "integer", "-1", "2147483647")


def count(name: str, number: float, context: str = "postmaster", kind: str = "integer") -> Parameter:
    return Parameter(name, str(number), "", context, kind)


PARAMETERS = [
    size("shared_buffers", 60, "postmaster"),
    size("wal_buffers", 2, "postmaster"),
    size("work_mem", 1, "user"),
    size("maintenance_work_mem", 16, "user"),
    size("autovacuum_work_mem", 16),
    size("max_wal_size", 128),
    count("autovacuum_max_workers", 2),
    count("max_parallel_workers", 2, "user"),
    count("max_connections", 20),
    count("hash_mem_multiplier", 2, "user", "real"),
    count("random_page_cost", 4, "user", "real"),
    count("effective_io_concurrency", 1, "user"),
    count("max_wal_senders", 8),
    Parameter("checkpoint_timeout", "300", "s", "sighup", "integer", "30", "86400"),
    Parameter("jit", "off", "", "user", "bool"),
    Parameter("wal_compression", "off", "", "superuser", "enum", choices=("pglz", "lz4", "on", "off")),
    Parameter("shared_preload_libraries", "pg_stat_statements", "", "postmaster"),
    Parameter("pg_stat_statements.max", "2000", "", "postmaster", "integer", "100", "1073741823"),
    Parameter("server_version", "17.6", "", "internal"),
    Parameter("fsync", "on", "", "sighup", "bool"),
]
SERVER = tuning.Server(
    170006, {p.name: p for p in PARAMETERS}, ("pg_stat_statements", "auto_explain"), ("pg_stat_statements",)
)
FIGURES = {
    "memory": {"value": 240, "unit": "MB"},
    "max_connections": {"value": 20, "setting": 20},
    "work_mem": {"value": 1024, "setting": "1024kB"},
    "max_wal_size": {"value": 128, "setting": "128MB"},
}
RULES = tuning.Rules(FIGURES)


def propose(rules: tuning.Rules = RULES, **values: Any) -> tuning.Plan:
    wanted = [tuning.Wish(name.replace("__", "."), value, "asked", "proposal") for name, value in values.items()]
    return tuning.plan(SERVER, rules, wanted, proposed=True)


def test_a_row_says_all_of_a_change() -> None:
    plan = propose(checkpoint_timeout="15min", random_page_cost=1.1, max_wal_senders=10)
    assert [(r.parameter, r.now, r.planned, r.context, r.scope) for r in plan.rows] == [
        ("checkpoint_timeout", "5min", "15min", "reload", "cluster"),
        ("random_page_cost", "4", "1.1", "reload", "member"),
        ("max_wal_senders", "8", "10", "restart", "cluster"),
    ]
    assert plan.restarting == ["max_wal_senders"]
    assert plan.refusals == ()


def test_what_is_so_already_is_no_row() -> None:
    assert propose(checkpoint_timeout="300s", jit=False).rows == ()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param(
            {"work_memory": "8MB"},
            "PostgreSQL 17 has no such parameter; perhaps work_mem",
            id="unknown, or of another version",
        ),
        pytest.param({"checkpoint_timeout": "5s"}, "expected between 30s and 1d", id="out of bounds"),
        pytest.param({"work_mem": "64MB"}, "the budget has 240 MB", id="no memory for it"),
        pytest.param({"shared_buffers": "1GB"}, "the budget has 240 MB", id="no memory for the buffers"),
        pytest.param({"max_wal_size": "1GB"}, "doesn't fit the write-ahead log's filesystem", id="no room for the log"),
        pytest.param({"max_connections": 500}, "comes from the budget", id="binds the pools"),
        pytest.param(
            {"auto_explain__log_min_duration": 5}, "name it in shared_preload_libraries", id="installed, not loaded"
        ),
        pytest.param(
            {"timescaledb__max_background_workers": 5}, "no installed package has timescaledb", id="not installed"
        ),
        pytest.param(
            {"shared_preload_libraries": "pg_stat_statements, citus"},
            "citus: no such library",
            id="preload what is missing",
        ),
        pytest.param(
            {"shared_preload_libraries": "auto_explain"}, "leaves out pg_stat_statements", id="preload without another"
        ),
        pytest.param({"fsync": False}, "loses", id="loses commits"),
        pytest.param({"listen_addresses": "*"}, "belongs to the role postgresql", id="another role's"),
        pytest.param({"server_version": "18"}, "only tells", id="can't be set"),
    ],
)
def test_what_cannot_be_is_refused_as_a_whole(values: dict[str, Any], told: str) -> None:
    plan = propose(random_page_cost=1.1, **values)
    assert len(plan.refusals) == 1
    assert told in plan.refusals[0]
    assert plan.change == {}


def test_a_pinned_parameter_is_refused() -> None:
    plan = propose(tuning.Rules(FIGURES, {"jit": "off"}), jit="on")
    assert "stands in postgresql_parameters as off" in plan.refusals[0]


def test_work_mem_that_fits_may_be_tried() -> None:
    # 60 + 2 buffers, 16 and 2 x 16 of maintenance, 22 x (1.5 + 2 x 2) for sorts: 231 MB.
    assert propose(work_mem="2MB").change == {"work_mem": "2MB"}


def test_formulas_leave_out_what_cannot_be_and_what_is_kept() -> None:
    wanted = tuning.wishes("oltp", tuning.Host(is_solid=True), 170006)
    plan = tuning.plan(
        SERVER, tuning.Rules(FIGURES, {"wal_compression": "off"}, {"random_page_cost": 2}), wanted, proposed=False
    )
    assert plan.change == {"effective_io_concurrency": "200", "checkpoint_timeout": "15min"}
    assert plan.refusals == ()
    assert ["wal_compression" in note for note in plan.notes] == [True]


def test_where_the_server_lags_behind_the_budget_is_told() -> None:
    plan = tuning.plan(SERVER, tuning.Rules({**FIGURES, "max_connections": {"setting": 30}}), [], proposed=False)
    assert plan.notes == ("max_connections is 20, and the budget says 30: site.yml brings it",)


@pytest.mark.parametrize("kind", tuning.KINDS)
def test_no_formula_touches_what_the_budget_decides(kind: str) -> None:
    named = {wish.name for is_solid in (True, False) for wish in tuning.wishes(kind, tuning.Host(is_solid), 170006)}
    assert named & (tuning.MEMORY | tuning.LOG_SHARES | tuning.BUDGETS_ALONE | set(tuning.SHARED)) == set()


@pytest.mark.parametrize(
    ("kept", "fitting"),
    [
        pytest.param({"jit": "on", "work_mem": "2MB"}, {"jit": "on", "work_mem": "2MB"}, id="all"),
        pytest.param({"jit": "on", "work_mem": "64MB"}, {"jit": "on"}, id="no memory any more"),
        pytest.param({"max_wal_size": "256MB"}, {}, id="no log any more"),
        pytest.param({"max_wal_size": "64MB"}, {"max_wal_size": "64MB"}, id="less log"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_fitting(kept: dict[str, Any], fitting: dict[str, Any]) -> None:
    figures = {
        **FIGURES,
        "shared_buffers": {"setting": "60MB"}, "wal_buffers": {"setting": "2MB"},
        "maintenance_work_mem": {"setting": "16MB"}, "autovacuum_work_mem": {"setting": "16MB"},
        "autovacuum_max_workers": {"setting": 2}, "max_parallel_workers": {"setting": 2},
    }  # fmt: skip
    assert tuning.fitting(kept, figures) == fitting


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        pytest.param({}, {}, ["db2", "db3", "db1"], id="standbys first"),
        pytest.param(
            {"max_wal_senders": 8}, {"max_wal_senders": 10}, ["db2", "db3", "db1"], id="raised: standbys first"
        ),
        pytest.param(
            {"max_wal_senders": 10}, {"max_wal_senders": 8}, ["db1", "db2", "db3"], id="lowered: the primary first"
        ),
    ],
)
def test_restart_order(before: dict[str, int], after: dict[str, int], order: list[str]) -> None:
    assert tuning.restart_order("db1", ["db2", "db3"], before, after) == order


def test_raised_and_lowered_at_once_is_refused_where_there_are_standbys() -> None:
    before, after = (
        {"max_wal_senders": 8, "max_worker_processes": 8},
        {"max_wal_senders": 4, "max_worker_processes": 16},
    )
    assert tuning.restart_order("db1", [], before, after) == ["db1"]
    with pytest.raises(TuningError, match="max_worker_processes is raised and max_wal_senders lowered"):
        tuning.restart_order("db1", ["db2"], before, after)


def test_the_table_is_aligned() -> None:
    lines = tuning.table(propose(checkpoint_timeout="15min", random_page_cost=1.1).rows)
    assert [line.index("re", 30) for line in lines[1:]] == [lines[1].index("reload")] * 2
    assert lines[0].split() == ["parameter", "now", "planned", "takes", "scope", "reason", "source"]
