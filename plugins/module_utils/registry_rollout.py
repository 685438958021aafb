# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The registry's field `rollout`: checked at each level, and merged for a deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import MAPPING, Field, Report, Spot
from ansible_collections.nectar.backend.plugins.module_utils.rollout_policy import check_policy, merge_levels

NAME = "rollout"
ROLLOUT = Field(MAPPING.accepts, "a mapping of steps, gates and shadow", "write it as {gates: {window: {…}}}")


def read_rollout(report: Report, spot: Spot, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """One level's entry, empty where nothing is said; what is wrong with it is reported at its place."""
    entry = fields.get(NAME)
    if not entry:
        return {}
    # A check's sentence: `place: found; expected what. Remedy.`
    problems = check_policy(entry, NAME)
    for problem in problems:
        place, _sign, rest = problem.partition(": ")
        found, _sign, rest = rest.partition("; expected ")
        expected, _sign, remedy = rest.partition(". ")
        at = spot.at(*_keys(place))
        report.add(at, f"{place}: {found}", expected, remedy[:1].lower() + remedy[1:].removesuffix("."))
    return {} if problems else entry


def _keys(place: str) -> list[str | int]:
    """The keys that lead to a place, as `rollout.steps[0]`."""
    return [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", place)]


def merge_rollout(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """What a deployment has of its own field: nothing where no level says anything."""
    merged = merge_levels(levels)
    return {NAME: merged} if merged else {}
