# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from typing import Any

import pytest

from nectar_backend.failures import (
    DEFAULT_REMEDY,
    SPOKEN_REMEDY,
    UNREACHABLE_REMEDY,
    Failure,
    find_remedy,
    group_failures,
    read_failure,
    relative_place,
)

LINKED = "/clone/.ansible/collections/ansible_collections/nectar/backend/roles/etcd/tasks/run.yml:7"


def failed(result: dict[str, Any], event: str = "runner_on_failed", **data: Any) -> dict[str, Any]:
    return {
        "event": event,
        "event_data": {"host": "db1", "task": "Start it", "task_path": LINKED, "res": result, **data},
    }


@pytest.mark.parametrize(
    ("result", "message", "output"),
    [
        pytest.param({"msg": "no"}, "no", (), id="a message"),
        pytest.param({"msg": ["one", "two"]}, "one\ntwo", (), id="a list of messages"),
        pytest.param(
            {"msg": "it failed", "stderr": "a\n\nb\n", "stdout": "c"}, "it failed", ("a", "b", "c"), id="output"
        ),
        pytest.param(
            {"msg": "said: broken", "stderr": "broken\n"}, "said: broken", (), id="output that the message has"
        ),
        pytest.param({"msg": "x", "stderr": "\n".join("abcdefghij")}, "x", tuple("abcdef"), id="the first lines"),
        pytest.param({"censored": "output has been hidden"}, "output has been hidden", (), id="a secret"),
        pytest.param({}, "no message", (), id="nothing at all"),
        pytest.param(
            {
                "msg": "One or more items failed",
                "results": [
                    {"msg": "fine", "_ansible_item_label": "one"},
                    {"msg": "broken", "rc": 1, "stderr": "why", "_ansible_item_label": "two"},
                ],
            },
            "two: broken",
            ("why",),
            id="the item that failed",
        ),
    ],
)
def test_the_words_of_a_failure(result: dict[str, Any], message: str, output: tuple[str, ...]) -> None:
    failure = read_failure(failed(result), "/clone")
    assert (failure.message, failure.output) == (message, output)


def test_the_place_of_a_failure() -> None:
    failure = read_failure(failed({"msg": "no"}, role="etcd"), "/clone")
    assert (failure.hosts, failure.task, failure.place) == (("db1",), "etcd : Start it", "roles/etcd/tasks/run.yml:7")


def test_a_file_elsewhere_keeps_its_name() -> None:
    assert relative_place("/elsewhere/site.yml:1", "/clone") == "/elsewhere/site.yml:1"


def test_hosts_that_say_the_same_are_shown_once() -> None:
    alike = [Failure((host,), "Start it", "site.yml:1", "no") for host in ("db1", "db2")]
    other = Failure(("db3",), "Start it", "site.yml:1", "something else")
    assert group_failures([alike[0], other, alike[1]]) == [
        Failure(("db1", "db2"), "Start it", "site.yml:1", "no"),
        other,
    ]


@pytest.mark.parametrize(
    ("event", "remedy"),
    [
        pytest.param(failed({"msg": "timed out"}, "runner_on_unreachable"), UNREACHABLE_REMEDY, id="unreachable"),
        pytest.param(failed({"msg": "odd"}), DEFAULT_REMEDY, id="unknown"),
        pytest.param(
            failed({"msg": "x; add y"}, task_action="ansible.builtin.assert"), SPOKEN_REMEDY, id="said already"
        ),
        pytest.param(failed({"msg": "x", "stderr": "No space left on device"}), "free some space", id="full disk"),
        pytest.param(failed({"msg": "sudo: a password is required"}), "run it as `sudo make …`", id="sudo"),
        pytest.param(failed({"msg": "Failed to fetch http://…"}), "the host can't reach", id="no network"),
    ],
)
def test_the_remedy(event: dict[str, Any], remedy: str) -> None:
    assert find_remedy(read_failure(event, "/clone")).startswith(remedy)
