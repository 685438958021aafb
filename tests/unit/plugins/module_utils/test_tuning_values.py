# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import Parameter, TuningError

BUFFERS = Parameter("shared_buffers", "16384", "8kB", "postmaster", "integer", "16", "1073741823")
WORK = Parameter("work_mem", "4096", "kB", "user", "integer", "64", "2147483647")
CHECKPOINTS = Parameter("checkpoint_timeout", "300", "s", "sighup", "integer", "30", "86400")
LIMIT = Parameter("temp_file_limit", "-1", "kB", "superuser", "integer", "-1", "2147483647")
COST = Parameter("random_page_cost", "4", "", "user", "real", "0", "1.79769e+308")
JIT = Parameter("jit", "on", "", "user", "bool")
COMPRESSION = Parameter("wal_compression", "off", "", "superuser", "enum", choices=("pglz", "lz4", "zstd", "on", "off"))
FORMAT = Parameter("log_line_prefix", "%m ", "", "sighup", "string")
DELAY = Parameter("commit_delay", "0", "", "superuser", "integer", "0", "100000")


@pytest.mark.parametrize(
    ("parameter", "value", "canonical"),
    [
        pytest.param(BUFFERS, "128MB", "16384", id="in units of 8 kB"),
        pytest.param(BUFFERS, 16384, "16384", id="a number without a unit is in its own"),
        pytest.param(WORK, "64MB", "65536", id="kilobytes"),
        pytest.param(WORK, "0.5GB", "524288", id="a fraction"),
        pytest.param(CHECKPOINTS, "15min", "900", id="seconds"),
        pytest.param(CHECKPOINTS, "30000ms", "30", id="in a smaller unit"),
        pytest.param(COST, 1.1, "1.1", id="a real number"),
        pytest.param(COST, 4, "4", id="a real number without a fraction"),
        pytest.param(JIT, False, "off", id="YAML's truth value"),
        pytest.param(COMPRESSION, "LZ4", "lz4", id="a choice"),
        pytest.param(COMPRESSION, False, "off", id="YAML's off, which is a choice"),
        pytest.param(COMPRESSION, "on", "pglz", id="PostgreSQL shows another word"),
        pytest.param(FORMAT, "%p ", "%p ", id="text"),
    ],
)
def test_canonical(parameter: Parameter, value: object, canonical: str) -> None:
    assert parameter.canonical(value) == canonical


@pytest.mark.parametrize(
    ("parameter", "value", "problem"),
    [
        pytest.param(WORK, "many", "expected a number with one of B, kB, MB", id="no number"),
        pytest.param(WORK, "10min", "expected one of the units B, kB", id="a time for a size"),
        pytest.param(DELAY, "3s", "expected a number without a unit", id="a unit for a plain number"),
        pytest.param(CHECKPOINTS, "5s", "expected between 30s and 1d", id="too little"),
        pytest.param(DELAY, 100001, "expected between 0 and 100000", id="too much"),
        pytest.param(JIT, "maybe", "expected on or off", id="no truth value"),
        pytest.param(COMPRESSION, "zip", "expected one of pglz, lz4", id="no choice"),
    ],
)
def test_a_value_that_cannot_be_is_refused(parameter: Parameter, value: object, problem: str) -> None:
    with pytest.raises(TuningError, match=problem) as caught:
        parameter.canonical(value)
    assert parameter.name in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "setting", "shown"),
    [
        pytest.param(BUFFERS, "16384", "128MB", id="a size"),
        pytest.param(LIMIT, "-1", "-1", id="no limit"),
        pytest.param(WORK, "4100", "4100kB", id="no whole megabytes"),
        pytest.param(CHECKPOINTS, "900", "15min", id="a time"),
        pytest.param(LIMIT, "0", "0", id="nothing"),
        pytest.param(COST, "1.1", "1.1", id="a plain number"),
    ],
)
def test_show(parameter: Parameter, setting: str, shown: str) -> None:
    assert parameter.show(setting) == shown
    assert parameter.canonical(shown) == setting
