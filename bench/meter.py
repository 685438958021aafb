# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run one command and write what it took: `python -I -S meter.py REPORT OUTPUT COMMAND…`.

A process of its own, because Linux counts the memory of whoever starts a command among the command's own until it is
replaced: started by a large process, a small one would look large.
"""

import json
import os
import sys
import time


def main(report: str, output: str, command: list[str]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    began = time.monotonic()
    child = os.posix_spawnp(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, sys.stdout.fileno(), output, flags, 0o600)]
    )
    _, status, used = os.wait4(child, 0)
    taken = {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_megabytes": used.ru_maxrss / 1024,
    }
    with open(report, "w", encoding="ascii") as file:
        json.dump(taken, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
