# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a plan as EXPLAIN (VERBOSE, FORMAT JSON) tells it: which tables are read, by which conditions, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.query_expressions import (
    EQUAL,
    Column,
    Condition,
    SortKey,
    bare,
    conditions_of,
    read_sort_key,
    references,
    tokens_of,
)

# What a scan itself checks, and what joins rest on.
OWN = ("Filter", "Index Cond", "Recheck Cond")
JOINS = ("Hash Cond", "Merge Cond", "Join Filter")
TEXTS = (*OWN, *JOINS)
LISTS = ("Output", "Sort Key", "Group Key", "Presorted Key")
# Nodes that hand on their child's columns as they are.
HANDING_ON = frozenset({"Limit", "Gather", "Gather Merge", "LockRows"})
AGGREGATES = frozenset({"Aggregate", "Group", "WindowAgg", "Unique", "SetOp"})


class PlanError(Exception):
    """A plan that can't be read."""


@dataclass(frozen=True)
class Scan:
    """A table as one part of a plan reads it."""

    schema: str
    table: str
    alias: str
    conditions: tuple[Condition, ...]
    joins: tuple[Condition, ...]
    # Every column that the plan needs of it; None where it needs the whole row.
    needed: frozenset[str] | None
    sorts: tuple[tuple[SortKey, ...], ...] = ()
    groups: tuple[tuple[Column, ...], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class Plan:
    """What a statement would do, at which cost."""

    cost: float
    rows: float
    scans: tuple[Scan, ...]
    indexes: frozenset[str] = frozenset()
    is_limited: bool = False
    aggregates: bool = False
    nodes: tuple[str, ...] = field(default=())


def read_plan(reply: Any) -> Plan:
    """Read what EXPLAIN returned."""
    try:
        root = reply[0]["Plan"]
        nodes = list(walk(root))
        kinds = tuple(str(node["Node Type"]) for node in nodes)
        return Plan(
            float(root["Total Cost"]),
            float(root["Plan Rows"]),
            tuple(_scans(root, nodes)),
            frozenset(str(node["Index Name"]) for node in nodes if "Index Name" in node),
            "Limit" in kinds,
            any(kind in AGGREGATES for kind in kinds),
            kinds,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise PlanError(f"the plan has an unknown form: {error!r} in {str(reply)[:200]}") from error


def walk(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


def _scans(root: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Iterator[Scan]:
    exact = set(_exact(root))
    for node in nodes:
        if "Relation Name" not in node or not str(node["Node Type"]).endswith("Scan"):
            continue
        alias = str(node["Alias"])
        texts = [str(node[name]) for name in OWN if name in node]
        # The condition of a bitmap stands in its child.
        texts += [str(child["Index Cond"]) for child in walk(node) if child is not node and "Index Cond" in child]
        own = tuple(dict.fromkeys(c for text in texts for c in conditions_of(text) if c.column.alias == alias))
        joins = tuple(
            dict.fromkeys(
                condition
                for other in nodes
                for name in JOINS
                if name in other
                for condition in conditions_of(str(other[name]))
                if condition.column.alias == alias and condition.kind == EQUAL and condition.others
            )
        )
        yield Scan(
            str(node.get("Schema", "public")),
            str(node["Relation Name"]),
            alias,
            own,
            joins,
            _needed(node, nodes, alias, is_exact=id(node) in exact),
            tuple(dict.fromkeys(_sorts(nodes, alias))),
            tuple(dict.fromkeys(_groups(nodes, alias))),
        )


def _exact(root: Mapping[str, Any]) -> Iterator[int]:
    """The nodes whose output is what the statement returns; below an aggregate, a scan may hand up more than is needed."""
    node = root
    yield id(node)
    while node["Node Type"] in HANDING_ON and node.get("Plans"):
        node = node["Plans"][0]
        yield id(node)


def _needed(
    scan: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], alias: str, *, is_exact: bool
) -> frozenset[str] | None:
    columns: set[str] = set()
    alone = len({other["Alias"] for other in nodes if "Relation Name" in other}) == 1
    for node in nodes:
        with_output = node is not scan or is_exact
        for text in _texts(node, with_output=with_output):
            columns.update(name for owner, name in references(tokens_of(text)) if owner == alias)
        if alone and with_output:
            # Of a single table, what comes out is named without its alias; words that are no columns do no harm.
            texts = [str(text) for text in node.get("Output", ())]
            columns.update(bare(token.text) for text in texts for token in tokens_of(text) if token.kind == "name")
    return None if "*" in columns else frozenset(columns)


def _texts(node: Mapping[str, Any], *, with_output: bool) -> Iterator[str]:
    yield from (str(node[name]) for name in TEXTS if name in node)
    for name in LISTS:
        if name != "Output" or with_output:
            yield from (str(text) for text in node.get(name, ()))


def _sorts(nodes: Sequence[Mapping[str, Any]], alias: str) -> Iterator[tuple[SortKey, ...]]:
    for node in nodes:
        keys = [read_sort_key(str(text)) for text in node.get("Sort Key", ())]
        known = [key for key in keys if key is not None and key.column.alias == alias]
        if keys and len(known) == len(keys):
            yield tuple(known)


def _groups(nodes: Sequence[Mapping[str, Any]], alias: str) -> Iterator[tuple[Column, ...]]:
    for node in nodes:
        keys = [read_sort_key(str(text)) for text in node.get("Group Key", ())]
        known = [key.column for key in keys if key is not None and key.column.alias == alias]
        if keys and len(known) == len(keys):
            yield tuple(known)
