# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which path is open, shut or unknown, and whether that is right; how the matrix shows it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.viewpoint_matrix import (
    faults,
    heat_map,
    judge_paths,
    summary,
)


def path(
    service: str = "postgresql", *, must: bool = False, viewpoint: str = "lb1", target: str = "db1"
) -> dict[str, Any]:
    return {"viewpoint": viewpoint, "endpoint": "asked", "service": service, "target": target, "must": must}


def seen(*verdicts: str, code: str = "") -> dict[str, Any]:
    candidates = [
        {"address": "192.0.2.31", "port": port, "verdict": verdict, "reason": verdict, "evidence": {"error_code": code}}
        for port, verdict in enumerate(verdicts, 5432)
    ]
    return {"endpoints": [{"name": "asked", "ok": False, "why": verdicts[0], "candidates": candidates}]}


POOLER = "others' databases, pooler"


@pytest.mark.parametrize(
    ("asked", "result", "state", "ok"),
    [
        pytest.param(path(must=True), seen("reachable"), "open", True, id="a path that must be open, and is"),
        pytest.param(path(must=True), seen("filtered", "reachable"), "open", True, id="over the second address"),
        pytest.param(path(must=True), seen("filtered"), "shut", False, id="a path that must be open, and isn't"),
        pytest.param(path(must=True), seen("refused"), "shut", False, id="a service that must answer, and refuses"),
        pytest.param(path(), seen("filtered"), "shut", True, id="a path that must be shut, and is"),
        pytest.param(path(), seen("refused"), "shut", True, id="also where it is refused"),
        pytest.param(path(), seen("filtered", "reachable"), "open", False, id="one address of two is open, and must not be"),
        pytest.param(path("slots", must=True), seen("reachable", "refused"), "open", True, id="an idle slot refuses, and its path is open"),
        pytest.param(path("slots", must=True), seen("reachable", "filtered"), "shut", False, id="a slot that the firewall hides"),
        pytest.param(path("slots"), seen("filtered", "filtered"), "shut", True, id="slots that must be hidden"),
        pytest.param(path(POOLER), seen("proven"), "open", False, id="a role that gets into another's database"),
        pytest.param(path(POOLER), seen("reachable", code="28000"), "shut", True, id="a role that may not"),
        pytest.param(path(POOLER), seen("reachable", code="53300"), "unknown", False, id="a full server says nothing about who may"),
        pytest.param(path(POOLER), seen("refused"), "unknown", False, id="nor does one that is down"),
        pytest.param(path(), None, "unknown", False, id="a viewpoint that can't be asked"),
    ],
)  # fmt: skip
def test_a_path_is_judged_by_what_must_be(
    asked: dict[str, Any], result: dict[str, Any] | None, state: str, ok: bool
) -> None:
    (cell,) = judge_paths([asked], {"lb1": result})
    assert (cell.state, cell.ok) == (state, ok)
    assert bool(faults([cell])) is not ok


def test_the_table_has_a_row_for_each_viewpoint_and_capitals_for_what_is_wrong() -> None:
    cells = judge_paths(
        [path(), path("ssh", must=True), path("ssh", must=True, target="db2"), path(viewpoint="ops1")],
        {"lb1": seen("reachable"), "ops1": seen("filtered")},
    )
    assert summary(cells) == [["from", "ssh", "postgresql"], ["lb1", "2 of 2", "OPEN 1 of 1"], ["ops1", "-", "shut"]]


def test_a_viewpoint_that_cannot_be_asked_is_told_once() -> None:
    cells = judge_paths([path(), path("ssh", must=True), path("etcd")], {"lb1": None})
    (only,) = faults(cells)
    assert only["subject"] == "from lb1"
    assert "3 paths" in only["message"]


def test_the_page_needs_nothing_else_and_escapes_what_it_is_told() -> None:
    result = seen("reachable")
    result["endpoints"][0]["candidates"][0]["address"] = "<script>"
    page = heat_map(judge_paths([path()], {"lb1": result}), "Who reaches what", "now")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert 'class="bad"' in page
    assert "http" not in page.replace("https", "")
    assert "src=" not in page
