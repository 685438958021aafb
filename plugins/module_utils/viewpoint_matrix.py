# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who reaches what, against who should: a judgement of every path, as a table and as a page of its own."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.environment_endpoints import (
    DIRECT_OF_OTHERS,
    POOLER_OF_OTHERS,
    SERVICES,
)

OPEN, SHUT, UNKNOWN = "open", "shut", "unknown"
UNASKED = "this host could not be asked"
ISOLATION = (POOLER_OF_OTHERS, DIRECT_OF_OTHERS)
# How PostgreSQL and PgBouncer say that a role isn't let in; that nothing answers says nothing about who would be.
REFUSALS = {"28000", "28P01", "42501", "3D000", "08P01"}
HEADINGS = {POOLER_OF_OTHERS: "others (pooler)", DIRECT_OF_OTHERS: "others (direct)", "etcd_members": "etcd members"}


@dataclass(frozen=True)
class Cell:
    """One path, what was seen of it, and whether that is as it should be."""

    viewpoint: str
    service: str
    target: str
    must: bool
    state: str
    ok: bool
    reason: str


def judge_paths(paths: Sequence[Mapping[str, Any]], results: Mapping[str, Mapping[str, Any] | None]) -> list[Cell]:
    """Judge every path; what nobody could look at is unknown, and not as it should be."""
    found = {
        (viewpoint, item["name"]): item
        for viewpoint, result in results.items()
        for item in (result or {}).get("endpoints", ())
    }
    return [_judge(path, found.get((path["viewpoint"], path["endpoint"]))) for path in paths]


def _judge(path: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Cell:
    if seen is None:
        state, reason = UNKNOWN, UNASKED
    elif path["service"] in ISOLATION:
        state, reason = _entry(seen)
    else:
        state, reason = _opening(seen, idle=path["service"] == "slots", must=path["must"])
    wanted = OPEN if path["must"] else SHUT
    return Cell(path["viewpoint"], path["service"], path["target"], path["must"], state, state == wanted, reason)


def _entry(seen: Mapping[str, Any]) -> tuple[str, str]:
    """Whether a role got into a database."""
    for item in seen["candidates"]:
        if item["verdict"] == "proven":
            return OPEN, item["reason"]
    for item in seen["candidates"]:
        code = item["evidence"].get("error_code")
        if code in REFUSALS:
            return SHUT, item["reason"]
    return UNKNOWN, seen["why"]


def _opening(seen: Mapping[str, Any], *, idle: bool, must: bool) -> tuple[str, str]:
    """Whether connections come through: where they must, at one address at least, and on each port of many."""
    verdicts = [item["verdict"] for item in seen["candidates"]]
    answering = [item for item in seen["candidates"] if item["verdict"] in ("proven", "reachable")]
    if must and idle:
        # An idle slot is stopped: a refusal shows that the way to it is open.
        closed = [item for item in seen["candidates"] if item["verdict"] not in ("reachable", "refused")]
        return (SHUT, closed[0]["reason"]) if closed else (OPEN, f"{len(answering)} of {len(verdicts)} slots answer")
    if answering:
        return OPEN, ", ".join(dict.fromkeys(_where(item) for item in answering)) + " answers"
    return SHUT, seen["why"]


def _where(item: Mapping[str, Any]) -> str:
    return f"[{item['address']}]:{item['port']}" if ":" in item["address"] else f"{item['address']}:{item['port']}"


def summary(cells: Sequence[Cell]) -> list[list[str]]:
    """One row for each viewpoint, one column for each service, a heading first."""
    services = [name for name in SERVICES if any(cell.service == name for cell in cells)]
    viewpoints = list(dict.fromkeys(cell.viewpoint for cell in cells))
    rows = [["from", *(HEADINGS.get(name, name) for name in services)]]
    for viewpoint in viewpoints:
        mine = [cell for cell in cells if cell.viewpoint == viewpoint]
        rows.append([viewpoint, *(_sum([cell for cell in mine if cell.service == name]) for name in services)])
    return rows


def _sum(cells: Sequence[Cell]) -> str:
    """What one viewpoint sees of one service: `3 of 3`, `shut`, and in capitals what should not be."""
    if not cells:
        return "-"
    if all(cell.state == UNKNOWN for cell in cells):
        return "?"
    reached = sum(cell.state == OPEN for cell in cells)
    if cells[0].must:
        return f"{reached} of {len(cells)}" if reached == len(cells) else f"ONLY {reached} of {len(cells)}"
    if reached:
        return f"OPEN {reached} of {len(cells)}"
    return "shut" if all(cell.ok for cell in cells) else "? some"


def faults(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """What is not as it should be, in words."""
    return [
        {
            "kind": "path",
            "subject": f"{cell.viewpoint} to {cell.service} of {cell.target}",
            "message": f"{_fault(cell)}: {cell.reason}",
        }
        for cell in cells
        if not cell.ok and cell.state != UNKNOWN
    ] + _blind(cells)


def _fault(cell: Cell) -> str:
    if cell.must:
        return "this path must be open, and is not"
    if cell.service in ISOLATION:
        return "a deployment's role gets into another's database, and must not; take its privileges there away"
    return "this path must be shut, and is open; close the firewall there (site.yml --tags firewall)"


def _blind(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """What nobody could look at: a whole viewpoint in one line, or one line for each service."""
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.state == UNKNOWN:
            place = f"from {cell.viewpoint}" if cell.reason == UNASKED else f"{cell.viewpoint} to {cell.service}"
            alike.setdefault(place, []).append(cell)
    return [{"kind": "path", "subject": place, "message": _unseen(unknown)} for place, unknown in alike.items()]


def _unseen(unknown: Sequence[Cell]) -> str:
    if unknown[0].reason == UNASKED:
        return f"{len(unknown)} paths are not known, for {UNASKED}; see what is said of it above"
    return f"not known of {', '.join(cell.target for cell in unknown)}: {unknown[0].reason}"


def as_data(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    return [asdict(cell) for cell in cells]


STYLE = """
:root{color-scheme:light dark;--good:#2f855a;--shut:#cfd8dc;--bad:#c53030;--unknown:#b7791f;--ink:#1a202c;--paper:#fff;--line:#d9dee3}
@media(prefers-color-scheme:dark){:root{--shut:#37424a;--ink:#e8edf2;--paper:#14181c;--line:#323b43}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem}
h1{font-size:1.35rem;margin:0 0 .3rem} p{max-width:70ch;margin:.3rem 0 1rem}
.wide{overflow-x:auto} table{border-collapse:separate;border-spacing:2px}
th{font-weight:600;text-align:left;padding:.15rem .4rem;white-space:nowrap}
thead tr.hosts th{font-weight:400;writing-mode:vertical-rl;transform:rotate(180deg);padding:.4rem .1rem}
thead tr.services th{border-bottom:2px solid var(--line)} tbody th{position:sticky;left:0;background:var(--paper)}
td{width:1.7rem;height:1.7rem;text-align:center;border-radius:3px;cursor:default}
.good{background:var(--good);color:#fff}.shut{background:var(--shut)}.bad{background:var(--bad);color:#fff;font-weight:700}
.unknown{background:var(--unknown);color:#fff} ul.key{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.4rem 1.4rem}
ul.key span{display:inline-block;width:1.5rem;text-align:center;border-radius:3px;margin-right:.4rem}
"""
KEY = (
    ("good", "✓", "open, as it must be"),
    ("shut", "·", "shut, as it must be"),
    ("bad", "!", "not as it must be"),
    ("unknown", "?", "could not be looked at"),
)


def heat_map(cells: Sequence[Cell], title: str, when: str) -> str:
    """A page that needs nothing else: viewpoints down, services and hosts across, reasons on the cells."""
    columns = list(dict.fromkeys((cell.service, cell.target) for cell in cells))
    columns.sort(key=lambda column: SERVICES.index(column[0]))
    groups = list(dict.fromkeys(service for service, _target in columns))
    by_place = {(cell.viewpoint, cell.service, cell.target): cell for cell in cells}
    spans = [
        f'<th colspan="{sum(service == name for service, _target in columns)}" scope="colgroup">{_text(HEADINGS.get(name, name))}</th>'
        for name in groups
    ]
    hosts = [f'<th scope="col">{_text(target)}</th>' for _service, target in columns]
    body = [
        f'<tr><th scope="row">{_text(viewpoint)}</th>'
        + "".join(_cell(by_place.get((viewpoint, *column))) for column in columns)
        + "</tr>"
        for viewpoint in dict.fromkeys(cell.viewpoint for cell in cells)
    ]
    wrong = faults(cells)
    said = "".join(f"<li><b>{_text(fault['subject'])}</b>: {_text(fault['message'])}</li>" for fault in wrong)
    key = "".join(f'<li><span class="{name}">{sign}</span>{meaning}</li>' for name, sign, meaning in KEY)
    verdict = f"{len(wrong)} findings:" if wrong else f"All {len(cells)} paths are as they must be."
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n<h1>{_text(title)}</h1>\n"
        f"<p>Seen {_text(when)}. Each row is a place that connections start from. Point at a cell to read what was seen.</p>\n"
        f'<ul class="key">{key}</ul>\n<div class="wide"><table>\n<thead><tr class="services"><th></th>{"".join(spans)}</tr>\n'
        f'<tr class="hosts"><th></th>{"".join(hosts)}</tr></thead>\n<tbody>\n{chr(10).join(body)}\n</tbody></table></div>\n'
        f"<p><b>{verdict}</b></p>\n<ul>{said}</ul>\n</html>\n"
    )


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    look = "unknown" if cell.state == UNKNOWN else "bad" if not cell.ok else "good" if cell.must else "shut"
    sign = next(sign for name, sign, _meaning in KEY if name == look)
    told = f"{cell.viewpoint} to {cell.service} of {cell.target}: {cell.state}. {cell.reason}"
    return f'<td class="{look}" title="{_text(told)}">{sign}</td>'


def _text(value: str) -> str:
    return html.escape(value, quote=True)
