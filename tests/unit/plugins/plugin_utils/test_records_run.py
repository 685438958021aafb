# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run is read back from its lines, also from those that a killed process left; and whose it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.plugin_utils.records_run import (
    MAX_LABELS,
    Labels,
    RunError,
    address_of,
    login_of,
    named,
    read_run,
)

HEAD = {"event": "run", "uuid": "1", "started": "2026-01-31T15:45:01", "path": "/p/site.yml", "ansible_version": "2.21"}
HEAD |= {"python_version": "3.13", "controller": "here", "person": "alice", "arguments": {}}
PLAY = {"event": "play", "uuid": "2", "name": "A play", "at": "2026-01-31T15:45:02"}
TASK: dict[str, Any] = {
    "event": "task",
    "uuid": "3",
    "name": "Say",
    "action": "debug",
    "path": "/p/site.yml",
    "lineno": 4,
}
TASK |= {"tags": [], "handler": False, "at": "2026-01-31T15:45:03"}
RESULT = {"event": "result", "task": "3", "host": "app1", "status": "ok", "changed": False, "ignore_errors": False}
RESULT |= {"at": "2026-01-31T15:45:03", "ended": "2026-01-31T15:45:04", "delegated_to": ["lb1"]}
END = {"event": "end", "outcome": "failed", "at": "2026-01-31T15:45:09", "hosts": {"app1": {"ok": 1}}}


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.mark.parametrize(
    ("data", "outcome", "status", "ended"),
    [
        pytest.param(lines(HEAD, PLAY, TASK, RESULT, END), "failed", "failed", "2026-01-31T15:45:09", id="to its end"),
        pytest.param(
            lines(HEAD, PLAY, TASK, RESULT) + b'{"ev', "interrupted", "expired", "2026-01-31T15:45:04", id="killed"
        ),
        pytest.param(lines(HEAD), "interrupted", "expired", "2026-01-31T15:45:01", id="killed at once"),
    ],
)
def test_how_a_run_ended(data: bytes, outcome: str, status: str, ended: str) -> None:
    run = read_run(data)
    assert (run.outcome, run.status, run.ended) == (outcome, status, ended)


def test_hosts_that_were_delegated_to_belong_to_a_run() -> None:
    run = read_run(lines(HEAD, PLAY, TASK, RESULT, END))
    assert run.hosts == {"app1": {"ok": 1}, "lb1": {}}


@pytest.mark.parametrize(
    ("results", "status"),
    [
        pytest.param([{}], "completed", id="well"),
        pytest.param([{}, {"status": "failed"}], "failed", id="one failed"),
        pytest.param([{"status": "unreachable"}], "failed", id="unreachable"),
        pytest.param([{"status": "failed", "ignore_errors": True}], "completed", id="forgiven"),
    ],
)
def test_how_a_task_went(results: list[dict[str, Any]], status: str) -> None:
    run = read_run(lines(HEAD, PLAY, TASK, *({**RESULT, **one} for one in results)))
    assert run.plays[0].tasks[0].status == status


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        pytest.param(b"", "line 1: expected the event run", id="empty"),
        pytest.param(lines(PLAY), "line 1: expected the event run", id="no beginning"),
        pytest.param(lines(HEAD) + b"{]\n", "line 2: expected JSON", id="no JSON"),
        pytest.param(lines(HEAD, [1]), "line 2: expected an event, one of run, play", id="a list"),
        pytest.param(lines(HEAD, {"event": "odd"}), "line 2: expected an event", id="an unknown event"),
        pytest.param(lines({**HEAD, "uuid": 1}), "line 1: uuid: found 1, expected str", id="a wrong field"),
        pytest.param(lines(HEAD, TASK), "line 2: the event task fits none before it", id="a task without a play"),
        pytest.param(lines(HEAD, HEAD), "line 2: the event run fits none", id="two beginnings"),
    ],
)
def test_what_is_no_run_is_named(data: bytes, complaint: str) -> None:
    with pytest.raises(RunError) as caught:
        read_run(data)
    assert complaint in str(caught.value)


def test_labels_are_there_once_short_and_few() -> None:
    labels = Labels()
    assert labels.add("member", ["alice", None, "", "alice", "x" * 300]) == ["member:alice", "member:" + "x" * 247]
    assert labels.add("member", ["alice"]) == []
    labels.add("address", range(100))
    assert sum(name.startswith("address:") for name in labels.known) == MAX_LABELS


@pytest.mark.parametrize(
    ("value", "names"),
    [(None, []), ("", []), ("alice", ["alice"]), ("alice, bob,", ["alice", "bob"])],
)
def test_names_in_an_extra_variable(value: str | None, names: list[str]) -> None:
    assert named(value) == names


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        pytest.param(
            {"ansible_host": "192.0.2.1", "server": {"connect": ["192.0.2.2"]}}, "192.0.2.1", id="as it was used"
        ),
        pytest.param({"server": {"connect": ["192.0.2.2"]}}, "192.0.2.2", id="the first"),
        pytest.param({"server": {"connect": []}}, None, id="none"),
        pytest.param({}, None, id="localhost"),
    ],
)
def test_the_address_of_a_host(variables: dict[str, Any], address: str | None) -> None:
    assert address_of(variables) == address


@pytest.mark.parametrize(
    ("login", "user", "sudo", "number"),
    [
        pytest.param("1000", 0, None, 1000, id="the kernel knows, after sudo"),
        pytest.param("1000", 0, "1001", 1000, id="the kernel knows better than a variable"),
        pytest.param("4294967295", 0, "1001", 1001, id="sudo tells"),
        pytest.param("4294967295", 1002, "1001", 1002, id="a variable that anybody may set"),
        pytest.param("", 1002, None, 1002, id="no kernel's note"),
        pytest.param("", 0, "root", 0, id="no number"),
    ],
)
def test_whose_login_it_is(login: str, user: int, sudo: str | None, number: int) -> None:
    assert login_of(login, user, sudo) == number
