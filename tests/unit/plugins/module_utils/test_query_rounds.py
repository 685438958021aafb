# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole search, against a planner that knows one table: what is advised, refused and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import yaml
from ansible_collections.nectar.backend.plugins.module_utils.index_candidates import Table, TableColumn
from ansible_collections.nectar.backend.plugins.module_utils.index_definitions import Existing, Index
from ansible_collections.nectar.backend.plugins.module_utils.query_choice import Limits, Trial
from ansible_collections.nectar.backend.plugins.module_utils.query_facts import Facts, Outcome, Statement, Task
from ansible_collections.nectar.backend.plugins.module_utils.query_report import advice_data, advice_lines, yaml_value
from ansible_collections.nectar.backend.plugins.module_utils.query_rounds import Advice, Search, advise
from ansible_collections.nectar.backend.plugins.module_utils.write_costs import read_writes

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
    sizes = tuple(10**7 * (1 + len(index.include)) for index in task.indexes)
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


def advice(*statements: Statement, facts: Facts = FACTS, write_loss: float = 1.0) -> Advice:
    return advise(statements, 3600, facts, Limits(write_loss=write_loss), ask)


def test_what_is_slow_gets_its_index_and_what_is_not_gets_none() -> None:
    found = advice(BY_CUSTOMER, BY_CODE)
    assert [p.index.says() for p in found.proposals] == ["orders (customer_id)"]
    assert [(g.statement.id, g.before, g.after) for g in found.proposals[0].gains] == [("1", 5000, 5)]


def test_an_index_that_does_not_pay_is_told_with_the_reason() -> None:
    table = Table("public", "orders", 100_000, 2**24, COLUMNS, inserts=10**7)
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
    found = search.settle([BY_CUSTOMER], 3600, read_writes([], 3600, FACTS), 1.0)
    assert [(p.index.columns[1], bool(p.refusal)) for p in found.proposals] == [("id", False), ("code", True)]


def busy(**columns: float) -> Facts:
    """A table of many writes, and how far its columns follow the order of its rows."""
    given = {name: TableColumn(name, 8, -1, correlation=columns.get(name, 0)) for name in COLUMNS}
    table = Table("public", "orders", 100_000, 2**24, given, inserts=10_000)
    return Facts({table.key: table}, (), (), 3600, "")


# Half an hour of processors for the first, a minute for the others.
OFTEN = Statement("1", "SELECT * FROM orders WHERE customer_id = $1", 100, 1_800_000, 100)
CODES = Statement("2", "SELECT * FROM orders WHERE code = $1", 100, 60_000, 100)
BODIES = Statement("4", "SELECT * FROM orders WHERE body = $1", 100, 50_000, 100)


def chosen(found: Advice) -> list[str]:
    return [p.index.columns[0] for p in found.proposals]


def test_each_pays_alone_and_all_together_cost_writes_no_more_than_they_may() -> None:
    whole = advice(OFTEN, CODES, BODIES, facts=busy())
    assert chosen(whole) == ["customer_id", "code", "body"]
    limited = advice(OFTEN, CODES, BODIES, facts=busy(), write_loss=whole.cost.loss / 2)
    assert chosen(limited) == ["customer_id"]
    assert limited.cost.loss <= whole.cost.loss / 2
    assert [(p.index.columns[0], "writes would lose" in p.refusal, p.is_beyond_limit) for p in limited.refused] == [
        ("body", True, True),
        ("code", True, True),
    ]
    lines = advice_lines("alice", limited)
    assert lines[-2:] == ["      # - {table: orders, columns: [body]}", "      # - {table: orders, columns: [code]}"]
    assert chosen(advice(OFTEN, CODES, facts=busy(), write_loss=0)) == []


def test_what_costs_little_stays_where_what_saves_more_has_to_go() -> None:
    # Keys in the order of the rows cost less than others.
    cost = advice(BODIES, facts=busy(body=1)).cost.loss
    assert chosen(advice(CODES, BODIES, facts=busy(body=1), write_loss=cost * 1.01)) == ["body"]


def test_what_left_early_comes_back_where_it_fits() -> None:
    # By worth the order is customer_id, code, body: with code out, body fits beside customer_id where code doesn't.
    facts = busy(body=1)
    less = Statement("4", "SELECT * FROM orders WHERE body = $1", 100, 20_000, 100)
    both = advice(OFTEN, less, facts=facts).cost.loss
    assert chosen(advice(OFTEN, CODES, less, facts=facts, write_loss=both * 1.001)) == ["customer_id", "body"]


def test_the_writes_are_told() -> None:
    found = advice(OFTEN, CODES, facts=busy(), write_loss=0.2)
    line = next(line for line in advice_lines("alice", found) if line.startswith("writes:"))
    assert line == (
        f"writes: all of these together cost about {100 * found.cost.loss:.1f} % of what is written a second, of 20 % that they may "
        f"(orders {100 * found.cost.loss:.1f} %)"
    )
    assert advice_data(found)["write_loss_by_table"] == {"public.orders": round(found.cost.loss, 4)}
    assert not any(line.startswith("writes:") for line in advice_lines("alice", advice(BY_CODE)))


def test_what_could_go_is_told_beside_what_writes_lose() -> None:
    old = Existing("old_idx", Index("public", "orders", ("customer_id",)), 10**7)
    twin = Existing("twin_idx", Index("public", "orders", ("customer_id",)), 10**7)
    found = advice(CODES, facts=replace(busy(), indexes=(old, twin)))
    assert found.to_spare and found.given_back > 0
    line = next(line for line in advice_lines("alice", found) if line.startswith("writes:"))
    assert line.endswith(f"; dropping {', '.join(found.to_spare)} would give back about {100 * found.given_back:.1f} %")


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


def test_where_hardly_anything_is_written_no_limit_holds() -> None:
    found = advice(BY_CUSTOMER, write_loss=0)
    assert chosen(found) == ["customer_id"]
    assert any("so little that it may (orders " in line for line in advice_lines("alice", found))
