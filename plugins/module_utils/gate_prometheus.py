# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `prometheus`: figures that the environment's Prometheus knows are in their bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    COMMON_FIELDS,
    FAIL,
    HOLD,
    PASS,
    GateError,
    Verdict,
    flaws,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    TEXT,
    Field,
    Report,
    Spot,
    check_entry,
)

GATE = "prometheus"
URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
NAMES = ("deployment", "release", "revision")


def _is_queries(value: object) -> bool:
    return isinstance(value, list) and bool(value)


def _is_bound(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and URL.fullmatch(value) is not None


BOUND = Field(_is_bound, "a number", "write it without quotes, as 0.01")
FIELDS = {
    "queries": Field(_is_queries, "a list of queries", "write it as [{query: …, max: 0.01}]", required=True),
    "url": Field(_is_url, "an address of http or https", "write it as http://192.0.2.41:9090"),
    **COMMON_FIELDS,
}
QUERY_FIELDS = {
    "query": Field(TEXT.accepts, "a query of Prometheus", "put it in quotes", required=True),
    "min": BOUND,
    "max": BOUND,
}


@dataclass(frozen=True)
class PrometheusFacts:
    """What each query came to: its values, or why there are none."""

    answers: Sequence[tuple[float, ...] | str]


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    report = Report()
    for index, entry in enumerate(check_entry(report, Spot((), field), spec, FIELDS).get("queries", [])):
        spot = Spot((), f"{field}.queries[{index}]")
        found = check_entry(report, spot, entry, QUERY_FIELDS)
        if "query" in found and not {"min", "max"} & set(entry):
            report.add(spot, "has no bound", "min, max or both", "add max: 0.01")
    return flaws(report)


def query_paths(spec: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What is asked below Prometheus's address; $deployment, $release and $revision stand for the rollout's."""
    paths = []
    for entry in spec["queries"]:
        text = entry["query"]
        for name in NAMES:
            text = text.replace(f"${name}", names[name])
        paths.append(f"/api/v1/query?{urlencode({'query': text})}")
    return paths


def read_answer(reply: Any) -> tuple[float, ...]:
    """The values in an answer to an instant query."""
    try:
        if reply["status"] != "success":
            raise GateError(str(reply.get("error", reply["status"])))
        kind, result = reply["data"]["resultType"], reply["data"]["result"]
        if kind == "scalar":
            return (float(result[1]),)
        if kind == "vector":
            return tuple(float(series["value"][1]) for series in result)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        if isinstance(error, GateError):
            raise
        raise GateError(f"Prometheus answered in an unknown form: {error!r}") from error
    raise GateError(f"the query came to a {kind}; write it so that it comes to a vector or a scalar")


def judge(spec: Mapping[str, Any], facts: PrometheusFacts) -> Verdict:
    """Say whether all values are in their bounds; a query without a value holds."""
    found = [_judge_one(entry, answer) for entry, answer in zip(spec["queries"], facts.answers, strict=True)]
    worst = next((value for value in (FAIL, HOLD) if any(verdict == value for verdict, _says, _values in found)), PASS)
    reason = "; ".join(says for verdict, says, _values in found if verdict == worst)
    return Verdict(GATE, worst, reason, {"values": [values for _verdict, _says, values in found]})


def _judge_one(entry: Mapping[str, Any], answer: tuple[float, ...] | str) -> tuple[str, str, list[float]]:
    query = entry["query"]
    if isinstance(answer, str):
        return HOLD, f"{query}: Prometheus is silent: {answer}", []
    values = [value for value in answer if math.isfinite(value)]
    if not values:
        return HOLD, f"{query} has no value", []
    low, high = min(values), max(values)
    if "max" in entry and high > entry["max"]:
        return FAIL, f"{query} is {high:g}, over {entry['max']:g}", values
    if "min" in entry and low < entry["min"]:
        return FAIL, f"{query} is {low:g}, under {entry['min']:g}", values
    return PASS, f"{query} is {low:g}" if low == high else f"{query} is {low:g} to {high:g}", values
