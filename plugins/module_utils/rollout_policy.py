# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a deployment's rollouts go: the registry's field `rollout`, its defaults, and its steps on real hosts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils import (
    gate_approval,
    gate_capacity,
    gate_command,
    gate_compare,
    gate_database,
    gate_freeze,
    gate_http,
    gate_lease,
    gate_prometheus,
    gate_window,
)
from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    GATES,
    GateError,
    flaw,
    flaws,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    MAPPING,
    Field,
    Report,
    Spot,
    check_entry,
    is_number,
    show,
)

MOST_STEPS = 20
LONGEST_BAKE = 86_400
PERCENT = re.compile(r"([1-9][0-9]?|100)%")
WHOLE = "100%"
STEPS: tuple[Mapping[str, Any], ...] = (
    {"hosts": 1, "share": 10, "bake": 30},
    {"hosts": WHOLE, "share": 100, "bake": 30},
)
DEFAULT_GATES = ("http", "compare")
# What is asked before a migration by itself where the environment has backups: their proof, and nothing else of the database.
BACKUP_ALONE: Mapping[str, Any] = {"lag": False, "transaction": False, "disk": False}

Check = Callable[[Mapping[str, Any], str], list[str]]


def _is_steps(value: object) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= MOST_STEPS


def _is_hosts(value: object) -> bool:
    if isinstance(value, str):
        return PERCENT.fullmatch(value) is not None
    return is_number(value) and isinstance(value, int) and value >= 1


def _is_share(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 1 <= value <= 100


def _is_bake(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 0 <= value <= LONGEST_BAKE


def _is_shadow(value: object) -> bool:
    return isinstance(value, (bool, list))


FIELDS = {
    "steps": Field(
        _is_steps,
        f"a list of 1 to {MOST_STEPS} steps",
        "write it as [{hosts: 1, share: 10}, {hosts: 100%, share: 100}]",
    ),
    "gates": Field(MAPPING.accepts, "a mapping of gates", "write it as {window: {…}, compare: {}}"),
    "shadow": Field(_is_shadow, "true, or a list of gates that report and don't block", "write it as [compare]"),
}
STEP_FIELDS = {
    "hosts": Field(_is_hosts, "a count of hosts or a percentage", "write it as 1 or 50%", required=True),
    "share": Field(
        _is_share, "a percentage of requests from 1 to 100", "write it without a sign, as 10", required=True
    ),
    "bake": Field(_is_bake, f"whole seconds from 0 to {LONGEST_BAKE}", "write it without quotes, as 30"),
}
DEFAULT_BAKE = 30


# Each gate says itself what its entry may hold.
CHECKS: Mapping[str, Check] = {
    "lease": gate_lease.check,
    "freeze": gate_freeze.check,
    "window": gate_window.check,
    "approval": gate_approval.check,
    "capacity": gate_capacity.check,
    "database": gate_database.check,
    "prometheus": gate_prometheus.check,
    "command": gate_command.check,
    "http": gate_http.check,
    "compare": gate_compare.check,
}


def check_policy(entry: object, field: str = "rollout") -> list[str]:
    """Everything wrong with one level's entry, a sentence each."""
    report = Report()
    spot = Spot((), field)
    fields = check_entry(report, spot, entry, FIELDS)
    if "steps" in fields:
        _check_steps(report, f"{field}.steps", fields["steps"])
    if isinstance(fields.get("shadow"), list):
        for name in fields["shadow"]:
            _check_shadow(report, f"{field}.shadow", name)
    problems = flaws(report)
    for name, spec in fields.get("gates", {}).items():
        problems += _check_gate(name, spec, f"{field}.gates")
    return problems


def _check_steps(report: Report, field: str, entries: Sequence[object]) -> None:
    steps = [
        check_entry(report, Spot((), f"{field}[{index}]"), entry, STEP_FIELDS) for index, entry in enumerate(entries)
    ]
    if not all({"hosts", "share"} <= step.keys() for step in steps):
        return
    last = f"{field}[{len(steps) - 1}]"
    if (steps[-1]["hosts"], steps[-1]["share"]) != (WHOLE, 100):
        report.add(
            Spot((), last),
            f"the last step has hosts: {steps[-1]['hosts']} and share: {steps[-1]['share']}",
            "all hosts and all requests in the last step",
            "write it as {hosts: 100%, share: 100}",
        )
    for index, (before, after) in enumerate(itertools.pairwise(steps), start=1):
        for name in ("hosts", "share"):
            if type(before[name]) is type(after[name]) and _figure(after[name]) < _figure(before[name]):
                report.add(
                    Spot((), f"{field}[{index}]"),
                    f"{name} falls from {before[name]} to {after[name]}",
                    "steps that only grow",
                    "put the smaller step first",
                )


def _figure(value: int | str) -> int:
    return int(str(value).rstrip("%"))


def _check_shadow(report: Report, field: str, name: object) -> None:
    able = [gate for gate, kind in GATES.items() if not kind.always]
    if name not in able:
        held = f"the gate {name} always counts" if name in GATES else f"the unknown gate {show(name)}"
        report.add(
            Spot((), field), f"names {held}", f"some of {', '.join(able)}", report.suggest(name, able, "take it out")
        )


def _check_gate(name: object, spec: object, field: str) -> list[str]:
    known = GATES.get(str(name))
    if known and (spec is None or isinstance(spec, dict)):
        return CHECKS[str(name)](spec or {}, f"{field}.{name}")
    if known is None:
        report = Report()
        remedy = report.suggest(name, GATES, "take it out")
        return [flaw(field, f"has the unknown gate {show(name)}", f"one of {', '.join(GATES)}", remedy)]
    if spec is not False:
        expected = "a mapping, or false to leave the gate out"
        return [flaw(field, f"{name} is {show(spec)}", expected, f"write it as {name}: {{}}")]
    if known.always:
        return [flaw(field, f"{name} is false", "a gate that may be left out", "take it out: it always counts")]
    return []


def merge_levels(levels: Iterable[Mapping[str, Any] | None]) -> dict[str, Any]:
    """One entry from those of several levels: steps and shadow are replaced, gates one by one."""
    merged: dict[str, Any] = {}
    for level in levels:
        gates = {**merged.get("gates", {}), **((level or {}).get("gates") or {})}
        merged = {**merged, **(level or {})}
        if gates:
            merged["gates"] = gates
    return merged


def full_policy(entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """The policy that an entry, or none, makes with the defaults: steps, gates, and which of them are in shadow."""
    merged = merge_levels([{"steps": list(STEPS), "gates": dict.fromkeys(DEFAULT_GATES), "shadow": []}, entry])
    given = merged["gates"]
    names = [name for name, kind in GATES.items() if kind.always or given.get(name, False) is not False]
    shadow = merged["shadow"] if isinstance(merged["shadow"], list) else (names if merged["shadow"] else [])
    return {
        "steps": [{"bake": DEFAULT_BAKE, **step} for step in merged["steps"]],
        "gates": {name: dict(given.get(name) or {}) for name in names},
        "shadow": [name for name in names if name in shadow and not GATES[name].always],
    }


def migration_policy(entry: Mapping[str, Any] | None, backups: bool) -> dict[str, Any]:
    """The policy whose gates are asked before a migration: where there are backups, a fresh proven one is wanted, too.

    An entry that names the gate `database` has said itself what it wants of it, be it nothing.
    """
    unasked = {"gates": {gate_database.GATE: dict(BACKUP_ALONE)}} if backups else {}
    return full_policy(merge_levels([unasked, entry]))


def careful_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The policy for a change that the former release can't bear: within a window, and with an approval, neither in shadow."""
    gates = policy["gates"]
    if "window" not in gates:
        raise GateError(
            "rollout.gates has no window; a migration that is not backward compatible needs one. "
            "Add window: {allow: [{cron: …, duration: …}]} to the deployment, or make the migration backward compatible."
        )
    return {
        **policy,
        "gates": {name: gates.get(name) or {} for name in GATES if name in gates or name == "approval"},
        "shadow": [name for name in policy["shadow"] if name not in ("window", "approval")],
    }


def resolve_steps(policy: Mapping[str, Any], hosts: Sequence[str]) -> list[dict[str, Any]]:
    """The steps of a policy on these hosts, in their order; each step holds the hosts of the ones before it.

    Steps that come to the same on few hosts are one, with the longer bake.
    """
    resolved: list[dict[str, Any]] = []
    count = 0
    for step in policy["steps"] if hosts else ():
        count = max(count, _count(step["hosts"], len(hosts)))
        taken = {"hosts": list(hosts[:count]), "share": step["share"], "bake": step["bake"]}
        if resolved and (resolved[-1]["hosts"], resolved[-1]["share"]) == (taken["hosts"], taken["share"]):
            resolved[-1]["bake"] = max(resolved[-1]["bake"], taken["bake"])
        else:
            resolved.append({"index": len(resolved), **taken})
    return resolved


def _count(hosts: int | str, number: int) -> int:
    wanted = -(-number * _figure(hosts) // 100) if isinstance(hosts, str) else hosts
    return min(wanted, number)


__all__ = [
    "CHECKS",
    "DEFAULT_GATES",
    "STEPS",
    "careful_policy",
    "check_policy",
    "full_policy",
    "merge_levels",
    "migration_policy",
    "resolve_steps",
]
