# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What servers remember of rollouts for when etcd is silent, and whose copy counts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.outcome_copies import (
    bad_revisions,
    newest_copies,
    silent_lines,
    updated_copy,
)

NOW = "2026-02-01T00:00:00Z"
ONE, TWO = {"release": "orders-1", "revision": "r1"}, {"release": "orders-2", "revision": "r2"}
MARK = {"release": "orders-2", "reason": "it leaked", "since": "before"}
COPY = {"deployment": "alice", "at": "before", "good": {**ONE, "since": "before"}, "bad": {"r2": MARK}, "rollouts": []}
NEW_MARK = {**MARK, "since": NOW}


@pytest.mark.parametrize(
    ("copy", "ended", "known", "good", "bad"),
    [
        pytest.param({}, {"good": TWO}, {"good": TWO, "bad": {}}, TWO, {}, id="as etcd has it"),
        pytest.param(COPY, {}, {"good": None, "bad": {"r2": MARK}}, None, {"r2": MARK}, id="etcd knows better"),
        pytest.param(COPY, {"good": TWO}, {"error": "silent"}, {**TWO, "since": NOW}, {}, id="a good end without etcd"),
        pytest.param(
            {}, {"bad": {**TWO, "reason": "it leaked"}}, {"error": "silent"}, None, {"r2": NEW_MARK}, id="a bad one"
        ),
        pytest.param(
            COPY,
            {"bad": {**TWO, "reason": "it leaked"}},
            {"error": "its lease was lost", "good": ONE, "bad": {}},
            ONE,
            {"r2": NEW_MARK},
            id="etcd refused to write it down",
        ),
        pytest.param(COPY, {"good": TWO}, {}, {**TWO, "since": NOW}, {}, id="its host was away"),
        pytest.param(COPY, {}, {"error": "silent"}, COPY["good"], {"r2": MARK}, id="nobody's fault"),
    ],
)
def test_what_is_remembered(
    copy: dict[str, Any],
    ended: dict[str, Any],
    known: dict[str, Any],
    good: dict[str, Any] | None,
    bad: dict[str, Any],
) -> None:
    found = updated_copy(copy, {"name": "alice", "finished": {"result": "x"}, **ended}, known, NOW)
    assert (found["good"], found["bad"], found["at"]) == (good, bad, NOW)
    assert found["rollouts"] == [{"result": "x", "ended": NOW}]


def test_the_last_rollouts_come_first_and_are_few() -> None:
    copy: dict[str, Any] = {}
    for number in range(7):
        copy = updated_copy(copy, {"name": "alice", "finished": {"seconds": number}}, {}, NOW)
    assert [entry["seconds"] for entry in copy["rollouts"]] == [6, 5, 4, 3, 2]


def test_the_newest_copy_counts() -> None:
    old, new = {"at": "2026-01-01T00:00:00Z", "bad": {}}, {"at": "2026-01-02T00:00:00Z", "bad": {"r2": MARK}}
    infos = {"app1": {"outcomes": {"alice": old}}, "app2": {"outcomes": {"alice": new}}, "app3": {}}
    copies = newest_copies(infos)
    assert copies == {"alice": {**new, "host": "app2"}}
    assert bad_revisions(copies["alice"]) == {"r2": "it leaked"}
    assert silent_lines(["alice", "bob"], copies) == [
        "alice: etcd does not answer; what was marked bad is told by the copy on app2, of 2026-01-02T00:00:00Z",
        "bob: etcd does not answer, and no server has a copy of what was marked bad",
    ]
