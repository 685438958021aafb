# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A budget as a table for people: one line for each figure, with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# The figures of a share, in the order in which they are shown, with their units.
SHARE_UNITS = {"workers": "", "threads": "", "pool_size": "", "memory": "MB"}
HEADER = ("for", "setting", "value", "reason")
Row = tuple[str, str, str, str]


def budget_table(figures: Mapping[str, Any], shares: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Return the figures, and the deployments' shares of them, as lines of aligned columns."""
    rows = [*figure_rows(figures), *share_rows(shares or {})]
    return aligned([HEADER, *rows])


def figure_rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of each section; application servers have one of their own each."""
    for section, entries in figures.items():
        for name, entry in entries.items():
            if "value" in entry:
                yield _row(section, name, entry)
            else:
                yield from (_row(name, setting, figure) for setting, figure in entry.items())


def share_rows(shares: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """The rows of the deployments; those that have the same share stand together."""
    alike: dict[str, list[str]] = {}
    for name, share in shares.items():
        alike.setdefault(repr(share), []).append(name)
    for names in alike.values():
        share = shares[names[0]]
        for setting, unit in SHARE_UNITS.items():
            figure = {"value": share[setting], "unit": unit, "reason": share["reasons"][setting]}
            yield _row(_some(names), setting, figure)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _row(subject: str, name: str, figure: Mapping[str, Any]) -> Row:
    return (subject, name, f"{figure['value']} {figure['unit']}".rstrip(), str(figure["reason"]))


def aligned(rows: Sequence[Row]) -> str:
    """Rows as lines; the last column is as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])) for row in rows
    )
