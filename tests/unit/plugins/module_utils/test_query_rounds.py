# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole search, against a planner that knows one table: what is advised, refused and shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, TableColumn
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Index
from ansible_collections.nectar.backend.plugins.module_utils.query_choice import Limits, Trial
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Outcome, Statement, Task
from ansible_collections.nectar.backend.plugins.module_utils.query_report import advice_data, advice_lines, yaml_value
from ansible_collections.nectar.backend.plugins.module_utils.query_rounds import Advice, Search, advise

COLUMNS = {name: TableColumn(name, 8, -1) for name in ("id", "customer_id", "code", "body")}
FACTS = Facts({"public.orders": Table("public", "orders", 100_000, 2**24, COLUMNS, inserts=100)}, (), (), 3600, "")
BY_CUSTOMER = Statement("1", "SELECT * FROM orders WHERE customer_id = $1", 100, 60_000, 100)
BY_CODE = Statement("2", "SELECT * FROM orders WHERE code = $1", 10, 2, 10)
BROKEN = Statement("3", "SELECT * FROM gone WHERE a = $1", 10, 900, 10)


def ask(tasks: Sequence[Task]) -> list[Outcome]:
    """Plan as PostgreSQL would: by an index on the column that is asked for, or else by reading all."""
    return [plan(task) for task in tasks]


def plan(task: Task) -> Outcome:
    names = tuple(f"<{number}>" for number, _index in enumerate(task.indexes))
    sizes = tuple(1000 * (1 + len(index.include)) for index in task.indexes)
    if "gone" in task.text:
        return Outcome({}, 'relation "gone" does not exist', names, sizes)
    column = task.text.split("WHERE ")[1].split(" ")[0]
    fitting = [name for name, index in zip(names, task.indexes, strict=True) if index.columns[0] == column]
    node: dict[str, Any] = {
        "Node Type": "Index Scan" if fitting else "Seq Scan", "Schema": "public", "Relation Name": "orders", "Alias": "orders",
        "Total Cost": 5.0 if fitting else 5000.0, "Plan Rows": 1, "Output": list(COLUMNS),
        "Index Cond" if fitting else "Filter": f"(orders.{column} = $1)",
    }  # fmt: skip
    if fitting:
        node["Index Name"] = fitting[0]
    return Outcome([{"Plan": node}], "", names, sizes)


def advice(*statements: Statement, facts: Facts = FACTS) -> Advice:
    return advise(statements, 3600, facts, Limits(), ask)


def test_what_is_slow_gets_its_index_and_what_is_not_gets_none() -> None:
    found = advice(BY_CUSTOMER, BY_CODE)
    assert [p.index.says() for p in found.proposals] == ["orders (customer_id)"]
    assert [(g.statement.id, g.before, g.after) for g in found.proposals[0].gains] == [("1", 5000, 5)]


def test_an_index_that_does_not_pay_is_told_with_the_reason() -> None:
    table = Table("public", "orders", 100_000, 2**24, COLUMNS, inserts=10**8)
    found = advice(BY_CUSTOMER, facts=Facts({table.key: table}, (), (), 3600, ""))
    assert [(p.index.says(), "writes cost about" in p.refusal) for p in found.refused] == [
        ("orders (customer_id)", True)
    ]
    assert found.proposals == ()


def test_of_two_that_serve_alike_one_stays() -> None:
    alike = [Index("public", "orders", ("customer_id", name)) for name in ("code", "id")]
    search = Search(ask, FACTS)
    search.explain([BY_CUSTOMER])
    for number, index in enumerate(alike):
        search.chosen[str(number)] = Trial((index,), search.plans["1"], (1,), frozenset([index]))
    proposals, _gains = search.settle([BY_CUSTOMER], 3600)
    assert [(p.index.columns[1], bool(p.refusal)) for p in proposals] == [("id", False), ("code", True)]


def test_what_cannot_be_explained_is_told_and_leaves_the_others_alone() -> None:
    found = advice(BY_CUSTOMER, BROKEN)
    assert found.unexplained == {"3": 'relation "gone" does not exist'}
    assert len(found.proposals) == 1


def test_what_is_printed_can_be_pasted() -> None:
    lines = advice_lines("alice", advice(BY_CUSTOMER, BROKEN))
    pasted = yaml.safe_load("\n".join(lines[lines.index("    indexes:") :]))
    assert pasted == {"indexes": [{"table": "orders", "columns": ["customer_id"]}]}
    assert lines[0] == "alice: 2 slow statements in 60 minutes, 1 indexes to build, 0 further hints"
    assert any("5000.0" in line and "5.0" in line for line in lines)


def test_a_script_gets_the_same() -> None:
    data = advice_data(advice(BY_CUSTOMER, BROKEN))
    assert data["entries"] == [{"table": "orders", "columns": ["customer_id"]}]
    assert data["indexes"][0]["queries"][0] | {"query": ""} == {
        "id": "1", "query": "", "calls": 100, "mean_ms": 600.0, "cost_before": 5000.0, "cost_after": 5.0,
    }  # fmt: skip
    assert [(s["id"], s["helped"], bool(s["error"])) for s in data["slow"]] == [("1", True, False), ("3", False, True)]


def test_values_that_yaml_would_misread_are_quoted() -> None:
    values = ["placed_at DESC", "lower(email)", "status = 'open'", "no", "NOT done"]
    assert yaml.safe_load(yaml_value(values)) == values
