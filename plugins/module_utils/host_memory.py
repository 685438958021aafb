# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much memory a host may use: the least of what it counts itself and what its cgroup allows."""

from __future__ import annotations

import re
from collections.abc import Mapping

MEBIBYTE = 1024 * 1024
MEMINFO = "/proc/meminfo"
# The limit of a container, as cgroup v2 and v1 write it; v1 says "no limit" by a number that no machine has.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
FILES = (MEMINFO, *LIMITS)
# What a container uses, beside its limit: all of it, and the line of what the kernel can drop at once, as v2 and v1 write them.
USAGES = {
    LIMITS[0]: ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file"),
    LIMITS[1]: (
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
}
USAGE_FILES = (*FILES, *(path for usage in USAGES.values() for path in usage[:2]))


class HostMemoryError(ValueError):
    """A host whose memory can't be told, or doesn't reach."""


def read_memory(texts: Mapping[str, str | None]) -> dict[str, int]:
    """Return the MiB that each of FILES allows, by the file's path; a file that is absent or sets no limit is left out."""
    total = re.search(r"^MemTotal: +([0-9]+) kB$", texts.get(MEMINFO) or "", re.MULTILINE)
    if not total:
        raise HostMemoryError(f"{MEMINFO} has no line MemTotal; expected the memory in kB; look at the host's kernel")
    found = {MEMINFO: int(total[1]) // 1024}
    for path in LIMITS:
        limit = (texts.get(path) or "").strip()
        if limit.isdigit() and int(limit) // MEBIBYTE < found[MEMINFO]:
            found[path] = int(limit) // MEBIBYTE
    return found


def free_memory(texts: Mapping[str, str | None]) -> int | None:
    """Return the MiB that may be used beside what is used already, by USAGE_FILES; nothing where the kernel doesn't tell."""
    available = re.search(r"^MemAvailable: +([0-9]+) kB$", texts.get(MEMINFO) or "", re.MULTILINE)
    if not available:
        return None
    found = [int(available[1]) // 1024]
    for limit_path, (usage_path, stat_path, field) in USAGES.items():
        limit, usage = (texts.get(limit_path) or "").strip(), (texts.get(usage_path) or "").strip()
        droppable = re.search(rf"^{field} ([0-9]+)$", texts.get(stat_path) or "", re.MULTILINE)
        if limit.isdigit() and usage.isdigit():
            used = int(usage) - (int(droppable[1]) if droppable else 0)
            found.append(max(0, int(limit) - used) // MEBIBYTE)
    return min(found)


def check_memory(found: Mapping[str, int], required: int) -> int:
    """Return the least of what was found, or refuse what is less than required."""
    path, least = min(found.items(), key=lambda item: item[1])
    if least < required:
        raise HostMemoryError(
            f"the host has {least} MiB by {path}, and {required} MiB are planned; give it more, or declare memory: {least}M for it "
            "and see whether the plan still holds: ansible-playbook playbooks/plan.yml"
        )
    return least
