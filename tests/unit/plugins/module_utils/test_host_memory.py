# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host may use: the least of its own count and its cgroup's limit."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.host_memory import (
    FILES,
    HostMemoryError,
    check_memory,
    free_memory,
    read_memory,
)

MEMINFO = "MemTotal:        2015232 kB\nMemFree:          145028 kB\n"
NO_LIMIT_V1 = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("v2", "v1", "least"),
    [
        pytest.param(None, None, 1968, id="a machine"),
        pytest.param("max\n", None, 1968, id="a container without a limit"),
        pytest.param("989855744\n", None, 944, id="a container's limit"),
        pytest.param(None, "989855744\n", 944, id="a container's limit by cgroup v1"),
        pytest.param(None, NO_LIMIT_V1, 1968, id="no limit by cgroup v1"),
        pytest.param("8589934592\n", None, 1968, id="a limit that the machine doesn't reach"),
    ],
)
def test_the_least_counts(v2: str | None, v1: str | None, least: int) -> None:
    found = read_memory(dict(zip(FILES, (MEMINFO, v2, v1), strict=True)))
    assert check_memory(found, least) == least
    with pytest.raises(
        HostMemoryError, match=rf"has {least} MiB by /.*, and {least + 1} MiB are planned; .* memory: {least}M"
    ):
        check_memory(found, least + 1)


def test_a_kernel_that_says_nothing_is_refused() -> None:
    with pytest.raises(HostMemoryError, match="no line MemTotal"):
        read_memory({"/proc/meminfo": ""})


AVAILABLE = "MemTotal: 2015232 kB\nMemAvailable: 1024000 kB\n"
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("texts", "free"),
    [
        pytest.param({}, 1000, id="a machine"),
        pytest.param({"memory.max": "max", "memory.current": str(300 * MIB)}, 1000, id="a container without a limit"),
        pytest.param({"memory.max": str(512 * MIB), "memory.current": str(300 * MIB)}, 212, id="a container"),
        pytest.param(
            {
                "memory.max": str(512 * MIB),
                "memory.current": str(300 * MIB),
                "memory.stat": f"active_file 4\ninactive_file {100 * MIB}\n",
            },
            312,
            id="files that can be dropped are free",
        ),
        pytest.param(
            {
                "memory/memory.limit_in_bytes": str(512 * MIB),
                "memory/memory.usage_in_bytes": str(600 * MIB),
                "memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {8 * MIB}\n",
            },
            0,
            id="nothing left by cgroup v1",
        ),
        pytest.param(
            {"memory/memory.limit_in_bytes": NO_LIMIT_V1, "memory/memory.usage_in_bytes": str(600 * MIB)},
            1000,
            id="no limit by cgroup v1",
        ),
    ],
)
def test_what_is_free(texts: dict[str, str], free: int) -> None:
    found = {"/proc/meminfo": AVAILABLE, **{f"/sys/fs/cgroup/{name}": text for name, text in texts.items()}}
    assert free_memory(found) == free


def test_a_kernel_that_does_not_tell_what_is_available_is_not_guessed_at() -> None:
    assert free_memory({"/proc/meminfo": MEMINFO}) is None
