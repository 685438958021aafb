# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show advice: a table for a person, data for a script, and YAML to paste into the registry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.query_choice import HOUR_MS, Proposal
from ansible_collections.nectar.backend.plugins.module_utils.query_hints import MEBIBYTE, one_line
from ansible_collections.nectar.backend.plugins.module_utils.query_rounds import Advice


def advice_data(advice: Advice) -> dict[str, Any]:
    """For a script."""
    return {
        "counted_hours": round(advice.counted / 3600, 2),
        "indexes": [proposal_data(proposal) for proposal in advice.proposals],
        "refused": [
            {**proposal_data(proposal), "why": proposal.refusal, "beyond_limit": proposal.is_beyond_limit}
            for proposal in advice.refused
        ],
        "hints": [hint.data() for hint in advice.hints],
        "slow": [
            {
                "id": statement.id,
                "query": statement.text,
                "calls": statement.calls,
                "mean_ms": round(statement.mean, 3),
                "total_ms": round(statement.total, 1),
                "helped": any(gain.statement.id == statement.id for gain in advice.gains),
                "error": advice.unexplained.get(statement.id, ""),
            }
            for statement in advice.looked_at
        ],
        "write_loss": round(advice.cost.loss, 4),
        "write_loss_by_table": {key: round(cost.loss, 4) for key, cost in sorted(advice.table_costs.items())},
        "to_spare": list(advice.to_spare),
        "given_back": round(advice.given_back, 4),
        "entries": [proposal.index.entry() for proposal in advice.proposals],
    }


def proposal_data(proposal: Proposal) -> dict[str, Any]:
    return {
        "entry": proposal.index.entry(),
        "name": proposal.index.name,
        "sql": proposal.index.create(),
        "size": proposal.size,
        "table_size": proposal.table_size,
        "saved_ms_per_hour": round(proposal.saved, 1),
        "write_ms_per_hour": round(proposal.writes, 1),
        "makes_spare": list(proposal.replaces),
        "queries": [
            {
                "id": gain.statement.id,
                "query": gain.statement.text,
                "calls": gain.statement.calls,
                "mean_ms": round(gain.statement.mean, 3),
                "cost_before": round(gain.before, 2),
                "cost_after": round(gain.after, 2),
            }
            for gain in proposal.gains
        ],
    }


def entry_yaml(entry: Mapping[str, Any]) -> str:
    """An entry as one line of YAML."""
    return "- {" + ", ".join(f"{name}: {yaml_value(value)}" for name, value in entry.items()) + "}"


def yaml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(yaml_value(item) for item in value)}]"
    text = str(value)
    # JSON's strings are YAML's; plain words need no quotes.
    plain = text.replace("_", "").replace(".", "").replace(" ", "").isalnum() and text.lower() not in YAML_WORDS
    return text if plain and not text[0].isdigit() else json.dumps(text, ensure_ascii=False)


YAML_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def advice_lines(name: str, advice: Advice) -> list[str]:
    """For a person."""
    lines = [
        f"{name}: {len(advice.looked_at)} slow statements in {duration(advice.counted)}, {len(advice.proposals)} indexes to build, "
        f"{len(advice.hints)} further hints"
    ]
    for proposal in advice.proposals:
        lines += proposal_lines(proposal)
    if advice.table_costs:
        lines.append(writes_line(advice))
    for proposal in advice.refused:
        lines.append(f"not advised: {proposal.index.says()}: {proposal.refusal}")
    lines += [f"{hint.kind}: {hint.subject}: {hint.says}" for hint in advice.hints]
    lines += [f"not explained: {one_line(text_of(advice, key))}: {error}" for key, error in advice.unexplained.items()]
    if advice.proposals:
        lines.append(f"to accept them, write in the registry under {name}, then run with -e apply=true:")
        lines.append("    indexes:")
        lines += [f"      {entry_yaml(proposal.index.entry())}" for proposal in advice.proposals]
    dearer = [proposal for proposal in advice.refused if proposal.is_beyond_limit]
    if dearer:
        lines.append("to take these too, for what writes lose by them (optimisation_write_loss_max is the limit):")
        lines += [f"      # {entry_yaml(proposal.index.entry())}" for proposal in dearer]
    return lines


def writes_line(advice: Advice) -> str:
    """What all advised indexes together cost writes."""
    by_table = sorted(advice.table_costs.items(), key=lambda item: (-item[1].loss, item[0]))
    each = ", ".join(f"{key.removeprefix('public.')} {100 * cost.loss:.1f} %" for key, cost in by_table)
    back = (
        f"; dropping {', '.join(advice.to_spare)} would give back about {100 * advice.given_back:.1f} %"
        if advice.given_back >= 0.001
        else ""
    )
    limit = f"of {100 * advice.write_loss:g} % that they may"
    return (
        f"writes: all of these together cost about {100 * advice.cost.loss:.1f} % of what is written a second, "
        f"{'so little that it may' if advice.cost.is_seldom else limit} ({each}){back}"
    )


def text_of(advice: Advice, key: str) -> str:
    return next((statement.text for statement in advice.looked_at if statement.id == key), key)


def proposal_lines(proposal: Proposal) -> Iterable[str]:
    writes = f"{proposal.writes / 1000:.2g} s of writes an hour" if proposal.writes else "hardly any writes"
    yield (
        f"index on {proposal.index.says()}: about {proposal.size / MEBIBYTE:.0f} MiB (table {proposal.table_size / MEBIBYTE:.0f} MiB); "
        f"saves about {100 * proposal.saved / HOUR_MS:.2g} % of a processor, {proposal.saved / 1000:.2g} s an hour, for {writes}"
    )
    yield f"    {'calls':>9}  {'mean ms':>9}  {'cost before':>12}  {'after':>10}  query"
    for gain in proposal.gains:
        statement = gain.statement
        yield (
            f"    {statement.calls:>9}  {statement.mean:>9.2f}  {gain.before:>12.1f}  {gain.after:>10.1f}  {one_line(statement.text, 90)}"
        )
    if proposal.replaces:
        yield f"    afterwards to spare: {', '.join(proposal.replaces)}"


def duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
