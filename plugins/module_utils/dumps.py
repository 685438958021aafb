# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a dump in PostgreSQL's custom format holds, by the list that pg_restore prints."""

from __future__ import annotations

import re

# Dump id; catalogue's and object's own ids, the kind, schema, name and owner.
TABLE = re.compile(r"\d+; \d+ \d+ TABLE (\S+) (.+) \S+")


def tables_in(listing: str) -> list[str]:
    """Return the tables of a list, each with its schema; names may hold blanks."""
    return sorted(
        f"{match[1]}.{match[2]}"
        for line in listing.splitlines()
        if (match := TABLE.fullmatch(line.strip())) and match[1] != "DATA"
    )
