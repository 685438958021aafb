# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Raise an alarm while too much of the log waits for the archive."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

# Beside this file lie the few modules that it shares with the collection.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.nectar.backend.plugins.module_utils.backups import judge_queue

# The journal takes a line's level from its beginning.
ALERT = "<1>"


def main() -> int:
    """Look once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--status", required=True, help="PostgreSQL's folder pg_wal/archive_status")
    parser.add_argument("--ceiling", type=int, required=True, help="bytes")
    parser.add_argument("--drops", action="store_true", help="beyond the ceiling the log is dropped")
    parser.add_argument("--state", required=True, help="the file that tells others")
    given = parser.parse_args()
    try:
        queue = judge_queue(os.listdir(given.status), given.ceiling, given.drops)
        draft = f"{given.state}.new"
        with open(draft, "w", encoding="utf-8") as stream:
            json.dump({"alarming": queue.alarming, "size": queue.size, "says": queue.says, "at": time.time()}, stream)
        os.replace(draft, given.state)
    except OSError as error:
        print(f"{ALERT}nobody can say how much of the log waits for the archive: {error}", file=sys.stderr)
        return 1
    if queue.alarming:
        print(f"{ALERT}{queue.says}", file=sys.stderr)
    return int(queue.alarming)


if __name__ == "__main__":
    sys.exit(main())
