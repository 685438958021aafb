# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an environment remembers of its rollouts, and under which conditions it is written."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import Entry, Outcome
from ansible_collections.nectar.backend.plugins.module_utils.rollout_record import (
    KEPT,
    Change,
    Claim,
    Keys,
    Known,
    Lease,
    RecordError,
    approval_value,
    break_lease,
    check_reason,
    duration,
    give_back,
    judge_taking,
    judge_writing,
    lease_of,
    lease_table,
    parse_change,
    parse_environment,
    take_lease,
    write_change,
)

NOW = datetime(2026, 11, 25, 17, 30, 0, 250000, tzinfo=UTC)
KEYS = Keys("lab")
CLAIM = Claim("bob", "laptop:812", "deploy", "orders-1", "bob-1")
VALUE = CLAIM.value(NOW)
LEASE = Lease("alice", 7, 99, 7, VALUE)
HELD = Known(lease=LEASE)


def entry(kind: str, value: Any, modified: int = 7, lease: int = 0) -> Entry:
    return Entry(f"/nectar/lab/{kind}", value, modified, lease)


def plain(request: dict[str, Any]) -> tuple[Any, ...]:
    """A request as a person would say it."""
    if (order := request.get("request_put")) is not None:
        return (
            "put",
            text(order["key"]),
            json.loads(text(order["value"])),
            *([order["lease"]] if "lease" in order else []),
        )
    if (order := request.get("request_delete_range")) is not None:
        return ("delete", text(order["key"]), *([text(order["range_end"])] if "range_end" in order else []))
    if (order := request.get("request_range")) is not None:
        return ("read", text(order["key"]))
    return ("if", text(request["key"]), request.get("mod_revision", "none"))


def text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def test_a_lease_is_taken_only_where_there_is_none() -> None:
    taken = take_lease(KEYS, "alice", CLAIM, 99, NOW)
    assert [plain(part) for part in taken.compare] == [("if", "/nectar/lab/lease/alice", "none")]
    assert [plain(part) for part in taken.success] == [
        ("put", "/nectar/lab/lease/alice", VALUE, "99"),
        ("read", "/nectar/lab/lease/alice"),
    ]
    assert VALUE == {
        "person": "bob",
        "controller": "laptop:812",
        "why": "deploy",
        "release": "orders-1",
        "rollout": "bob-1",
        "since": "2026-11-25T17:30:00Z",
    }


@pytest.mark.parametrize(
    ("succeeded", "found", "token"),
    [
        pytest.param(True, entry("lease/alice", VALUE), 7, id="taken"),
        pytest.param(
            False, entry("lease/alice", VALUE), 7, id="taken before an answer was lost, or by this very rollout"
        ),
        pytest.param(False, entry("lease/alice", VALUE | {"rollout": "carol-3"}), None, id="somebody else's"),
        pytest.param(False, None, None, id="gone again"),
        pytest.param(True, entry("lease/alice", VALUE | {"floor": 6}), 7, id="hosts know less than etcd"),
        pytest.param(
            True, entry("lease/alice", VALUE | {"floor": 40}), 41, id="hosts know more than an etcd made anew"
        ),
    ],
)
def test_whose_the_lease_is(succeeded: bool, found: Entry | None, token: int | None) -> None:
    lease = judge_taking(Outcome(succeeded, 8, ((found,) if found else (),)), CLAIM)
    assert (lease.token if lease else None) == token


def test_a_lease_is_given_back_only_as_it_was_taken() -> None:
    given = give_back(KEYS, LEASE)
    assert [plain(part) for part in given.compare] == [("if", "/nectar/lab/lease/alice", "7")]
    assert [plain(part) for part in given.success] == [("delete", "/nectar/lab/lease/alice")]


def test_who_breaks_a_lease_is_written_down() -> None:
    broken = break_lease(KEYS, LEASE, "carol", "bob is on a train", NOW)
    assert [plain(part) for part in broken.compare] == [("if", "/nectar/lab/lease/alice", "7")]
    assert [plain(part) for part in broken.success] == [
        ("delete", "/nectar/lab/lease/alice"),
        (
            "put",
            "/nectar/lab/history/alice/2026-11-25T17:30:00.250000Z",
            {
                "event": "lease broken",
                "person": "carol",
                "why": "bob is on a train",
                "at": "2026-11-25T17:30:00Z",
                "holder": VALUE,
            },
        ),
    ]


def orders(change: Change, known: Known, history: list[str] | None = None) -> list[tuple[Any, ...]]:
    return [plain(part) for part in write_change(KEYS, change, known, "bob", NOW, history or []).success]


WHEN = "2026-11-25T17:30:00Z"
GOOD = {"release": "orders-1", "revision": "aaa"}
FORMER = {"release": "orders-0", "revision": "bbb", "since": "2026-11-01T00:00:00Z", "former": None}


@pytest.mark.parametrize(
    ("change", "known", "expected"),
    [
        pytest.param(
            Change("alice", token=7, record={"id": "bob-1", "phase": "step"}),
            HELD,
            [("put", "/nectar/lab/rollout/alice", {"id": "bob-1", "phase": "step", "token": 7})],
            id="the record, with the token that wrote it",
        ),
        pytest.param(
            Change("alice", token=7, good=GOOD),
            HELD,
            [("put", "/nectar/lab/good/alice", {**GOOD, "since": WHEN, "former": None})],
            id="the first good one",
        ),
        pytest.param(
            Change("alice", token=7, good=GOOD),
            Known(lease=LEASE, good=FORMER),
            [
                (
                    "put",
                    "/nectar/lab/good/alice",
                    {**GOOD, "since": WHEN, "former": {"release": "orders-0", "revision": "bbb"}},
                )
            ],
            id="a good one remembers the one before",
        ),
        pytest.param(
            Change("alice", token=7, good={"release": "orders-0", "revision": "bbb"}),
            Known(lease=LEASE, good=FORMER | {"former": GOOD}),
            [("put", "/nectar/lab/good/alice", FORMER | {"former": GOOD})],
            id="the same good one again changes nothing",
        ),
        pytest.param(
            Change("alice", token=7, good=GOOD),
            Known(lease=LEASE, bad={"aaa": {}}),
            [
                ("put", "/nectar/lab/good/alice", {**GOOD, "since": WHEN, "former": None}),
                ("delete", "/nectar/lab/bad/alice/aaa"),
            ],
            id="what is good now is bad no more",
        ),
        pytest.param(
            Change("alice", token=7, bad={**GOOD, "reason": "5 % errors"}),
            HELD,
            [("put", "/nectar/lab/bad/alice/aaa", {"release": "orders-1", "reason": "5 % errors", "since": WHEN})],
            id="a bad one with its reason",
        ),
        pytest.param(
            Change("alice", token=7, finished={"result": "promoted"}),
            Known(lease=LEASE, record={"id": "bob-1", "phase": "step"}),
            [
                (
                    "put",
                    "/nectar/lab/history/alice/2026-11-25T17:30:00.250000Z",
                    {
                        "id": "bob-1",
                        "phase": "step",
                        "result": "promoted",
                        "event": "rollout",
                        "token": 7,
                        "ended": WHEN,
                    },
                ),
                ("delete", "/nectar/lab/rollout/alice"),
            ],
            id="a finished record goes to the history",
        ),
        pytest.param(
            Change("alice", approval={"why": "seen", "hours": 2}),
            Known(),
            [
                (
                    "put",
                    "/nectar/lab/approval/alice",
                    {"person": "bob", "release": "", "since": WHEN, "until": "2026-11-25T19:30:00Z", "why": "seen"},
                )
            ],
            id="an approval needs no lease",
        ),
        pytest.param(
            Change("alice", approval=False),
            Known(),
            [("delete", "/nectar/lab/approval/alice")],
            id="an approval is taken back",
        ),
    ],
)
def test_what_is_written(change: Change, known: Known, expected: list[tuple[Any, ...]]) -> None:
    assert orders(change, known) == expected


@pytest.mark.parametrize(
    ("count", "surplus"),
    [
        pytest.param(KEPT - 1, None, id="room for one more"),
        pytest.param(KEPT, ("delete", "k00", "k00\0"), id="the oldest goes"),
        pytest.param(KEPT + 3, ("delete", "k00", "k03\0"), id="all that are too many go"),
    ],
)
def test_the_history_stays_short(count: int, surplus: tuple[str, ...] | None) -> None:
    keys = [f"k{number:02}" for number in range(count)]
    found = orders(Change("alice", token=7, finished={}), HELD, keys)[2:]
    assert found == ([surplus] if surplus else [])


def test_all_is_written_on_condition_of_the_lease_and_of_what_was_read() -> None:
    change = Change("alice", token=41, expected=12, record={})
    lease = Lease("alice", 41, 99, 7, VALUE | {"floor": 40})
    written = write_change(KEYS, change, Known(lease=lease), "bob", NOW)
    assert [plain(part) for part in written.compare] == [
        ("if", "/nectar/lab/lease/alice", "7"),
        ("if", "/nectar/lab/rollout/alice", "12"),
    ]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        pytest.param(
            Known(), "nobody holds its lease, and token 5 held it once; it ran out or was broken", id="ran out"
        ),
        pytest.param(HELD, "held by bob since 2026-11-25T17:30:00Z with token 7, not 5", id="somebody else's"),
    ],
)
def test_who_lost_the_lease_writes_nothing(known: Known, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        write_change(KEYS, Change("alice", token=5, record={}), known, "bob", NOW)


RECORD = {"id": "bob-1", "token": 7}


@pytest.mark.parametrize(
    ("change", "lease", "record", "message"),
    [
        pytest.param(
            Change("alice", token=7, expected=3, record={"id": "bob-1"}), VALUE, RECORD, None, id="its answer was lost"
        ),
        pytest.param(Change("alice", token=7, expected=3, finished={}), VALUE, None, None, id="so was that of the end"),
        pytest.param(
            Change("alice", token=7, record={"id": "bob-1"}), None, None, "nobody has it now", id="the lease ran out"
        ),
        pytest.param(
            Change("alice", token=6, record={"id": "bob-1"}), VALUE, None, "bob has it now", id="the lease was broken"
        ),
        pytest.param(
            Change("alice", token=7, expected=3, record={"id": "bob-2"}),
            VALUE,
            RECORD,
            "revision 12 was found, and 3 expected",
            id="the record is another one",
        ),
    ],
)
def test_a_writing_that_came_too_late(
    change: Change, lease: dict[str, Any] | None, record: dict[str, Any] | None, message: str | None
) -> None:
    outcome = Outcome(
        False,
        13,
        (
            (entry("lease/alice", lease),) if lease else (),
            (entry("rollout/alice", record, 12),) if record else (),
        ),
    )
    if message is None:
        judge_writing(outcome, change)
    else:
        with pytest.raises(RecordError, match=message):
            judge_writing(outcome, change)


def test_an_environment_is_read_by_deployment() -> None:
    freeze, known = parse_environment(
        KEYS,
        Outcome(
            True,
            9,
            (
                (entry("freeze", {"person": "bob"}),),
                (entry("lease/alice", VALUE, 7, 99),),
                (entry("rollout/alice", {"phase": "step"}, 12),),
                (entry("good/alice", GOOD), entry("good/staging", GOOD)),
                (entry("bad/alice/ccc", {"reason": "slow"}),),
                (entry("approval/alice", {"person": "carol"}),),
                (entry("history/alice/2026", {"event": "rollout"}),),
            ),
        ),
    )
    assert freeze == {"person": "bob"}
    assert known["staging"] == Known(good=GOOD, good_modified=7)
    assert known["alice"].data() == {
        "lease": VALUE | {"token": 7, "lease": "99"},
        "record": {"phase": "step"},
        "record_revision": 12,
        "good": GOOD,
        "bad": {"ccc": {"reason": "slow"}},
        "approval": {"person": "carol"},
        "history": [{"event": "rollout", "key": "2026"}],
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param({}, r"deployments\[\].name: None is no name", id="no name"),
        pytest.param({"name": "a/b"}, "'a/b' is no name of the registry", id="another key's name"),
        pytest.param({"name": "a", "record": []}, r"deployments\[a\].record: \[\] is no mapping", id="no record"),
        pytest.param({"name": "a", "record": {}}, r"deployments\[a\].token: it is missing", id="no token"),
        pytest.param(
            {"name": "a", "token": 1, "good": {}}, "good: release, revision is missing", id="a nameless good one"
        ),
        pytest.param({"name": "a", "token": 1, "bad": GOOD}, "bad: reason is missing", id="bad without a reason"),
    ],
)
def test_impossible_changes_are_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_change(data)


def test_a_step_of_a_plan_is_a_change_of_nothing() -> None:
    change = parse_change({"name": "alice", "release": "orders-1", "hosts": ["app1"], "record": None})
    assert (change, change.fenced) == (Change("alice"), False)


@pytest.mark.parametrize("hours", [0, -1, 169, "many", None])
def test_an_approval_holds_for_some_hours(hours: Any) -> None:
    with pytest.raises(RecordError, match=r"approval.hours: "):
        approval_value({"why": "seen", "hours": hours}, "bob", NOW)


def test_a_reason_says_something() -> None:
    assert check_reason(" black\n friday ") == "black friday"
    with pytest.raises(RecordError, match="why: nothing was given"):
        check_reason("  ")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (59, "59 s"), (3599, "59 min"), (7260, "2 h 1 min"), (200000, "2 days")],
)
def test_durations(seconds: int, said: str) -> None:
    assert duration(timedelta(seconds=seconds)) == said


def test_the_table_says_who_holds_what_since_when_and_why() -> None:
    known = {
        "staging": Known(record={"person": "dave", "phase": "step"}),
        "alice": Known(
            lease=LEASE, approval={"person": "carol", "release": "", "until": "2026-11-25T19:30:00Z", "why": "seen"}
        ),
        "bob": Known(approval={"person": "carol", "release": "", "until": "2026-11-25T17:29:00Z", "why": "late"}),
    }
    freeze = {"person": "erin", "since": "2026-11-25T17:00:00Z", "why": "black friday"}
    assert lease_table(known, freeze, NOW + timedelta(minutes=3)) == [
        "deployment  held by  from        since (UTC)          for    release   why",
        "alice       bob      laptop:812  2026-11-25 17:30:00  3 min  orders-1  deploy",
        "alice: carol approves of any release until 2026-11-25T19:30:00Z: seen",
        "staging: a rollout of dave was left in step; the next deploy or rollback settles it",
        "frozen by erin since 2026-11-25T17:00:00Z: black friday",
    ]
    assert lease_table({}, None, NOW) == ["nobody holds a lease"]


def test_a_holder_is_named_with_since_and_why() -> None:
    assert lease_of(entry("lease/alice", VALUE)).line(NOW + timedelta(minutes=3)) == (
        "alice is held by bob (from laptop:812) since 2026-11-25 17:30:00 UTC, for 3 min: deploy"
    )
