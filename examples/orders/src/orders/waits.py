"""Saying no to orders at once while commits wait for a standby, and yes to everything else.

With synchronous replication a commit is answered when a standby holds it. Without one it waits for as long as that
takes: no timeout of a statement ends it, nor does a client that leaves, and its connection goes on counting against the
role's limit. Orders that pile up would first take every thread, then every connection, and reads with them.

How long commits wait is asked of the database in the exchange that begins each transaction. A role sees the sessions of
its own, those of other servers and those that were left behind too, and needs no right to see others'. A write as a
probe would leave one more session waiting each time, and a process that knows of its own commits alone learns it late.
"""

from __future__ import annotations

# Seconds that commits may wait before no more orders are taken.
LIMIT = 5.0
# Seconds that a client is kept beyond it: whoever asks next finds the wait over its limit, and adds none of its own.
MARGIN = 0.5
# What others wait for reads as null. A session that acts as a role sees that role's sessions, and not those of its own
# login: so it is itself for the rest of this transaction, which has the role's rights all the same. A statement that
# commits by itself would count from its own begin, and there is none here. The function is what the view
# pg_stat_activity reads; to plan the view alone takes 1 ms, and this 0.2.
LONGEST_WAIT = (
    "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::float8"
    " FROM set_config('role', 'none', true) AS me, LATERAL pg_stat_get_activity(nullif(length(me), length(me)))"
    " WHERE wait_event = 'SyncRep' AND query = 'COMMIT'"
)


def refusal(waited: float) -> str:
    """Why no order can be taken, if commits have waited for so many seconds; empty if one can."""
    if waited <= LIMIT:
        return ""
    return f"commits have waited {waited:.1f} s for a standby, over {LIMIT:g}: no orders are taken, and reads go on"


def patience(waited: float) -> float:
    """Seconds for which a commit is awaited beside one that has waited already: all give up at the same time."""
    return LIMIT - waited + MARGIN
