# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The window gate: when it opens and shuts, also on the days on which clocks change, and what a rollout then does."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.cron import CronError
from ansible_collections.nectar.backend.plugins.module_utils.gate_window import (
    WindowFacts,
    check,
    judge,
    propose_window,
    read_duration,
)

OVERRIDE = {"person": "alice", "why": "orders are lost"}


def at(text: str) -> float:
    """Seconds since 1970 at a time in UTC."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()


def window(cron: str, duration: str = "1h", **more: Any) -> dict[str, Any]:
    return {"cron": cron, "duration": duration, **more}


def verdict(spec: dict[str, Any], now: str, **facts: Any) -> str:
    return judge(spec, WindowFacts(at(now), **facts)).verdict


# What a registry may hold


def test_a_sound_entry() -> None:
    entry = {
        "allow": [window("0 2 * * 1-5", "2h", overrun=True, zone="America/New_York")],
        "deny": [window("0 0 24 dec *", "3d")],
        "zone": "Europe/Berlin",
        "shut_mid_rollout": "fallback",
        "deadline": 60,
    }
    assert check(entry, "window") == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param({}, "window: holds no window; expected allow, deny or both", id="empty"),
        pytest.param({"allow": [], "deny": []}, "holds no window", id="empty lists"),
        pytest.param({"allow": {}}, "allow is {}; expected a list of windows", id="a mapping"),
        pytest.param({"alow": []}, "Did you mean allow?", id="a slip"),
        pytest.param({"allow": [3]}, "window.allow[0]: is 3; expected a mapping", id="a window that is none"),
        pytest.param({"allow": [{"duration": "1h"}]}, "window.allow[0]: cron is missing", id="no cron"),
        pytest.param({"allow": [{"cron": "0 2 * * *"}]}, "duration is missing", id="no duration"),
        pytest.param({"deny": [window("0 2 * *")]}, "it has 4 fields, not 5", id="no cron at all"),
        pytest.param({"deny": [window("0 0 31 feb *")]}, "which never comes", id="a day that is none"),
        pytest.param({"deny": [window("0 2 * * *", "2")]}, 'duration is "2"; expected days, hours', id="no unit"),
        pytest.param({"deny": [window("0 2 * * *", "0h")]}, 'duration is "0h"', id="no time"),
        pytest.param({"deny": [window("0 2 * * *", "400d")]}, 'duration is "400d"', id="too long"),
        pytest.param({"deny": [window("0 2 * * *", zone="Europe/Berlyn")]}, "mean Europe/Berlin?", id="a zone's slip"),
        pytest.param({"allow": [window("0 2 * * *")], "zone": "CEST"}, 'zone is "CEST"', id="no zone"),
        pytest.param({"allow": [window("0 2 * * *", overrun="yes")]}, 'overrun is "yes"', id="no switch"),
        pytest.param(
            {"allow": [window("0 2 * * *")], "shut_mid_rollout": "stop"},
            "one of finish_step, hold, fallback",
            id="mode",
        ),
    ],
)
def test_what_is_refused(entry: dict[str, Any], said: str) -> None:
    problems = check(entry, "window")
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", (0, 5400)),
        ("2h", (0, 7200)),
        ("1h30m", (0, 5400)),
        ("2d", (2, 0)),
        ("1d12h", (1, 43_200)),
        ("", None),
        ("h", None),
        ("30m1h", None),
        ("1.5h", None),
    ],
)
def test_durations(text: str, expected: tuple[int, int] | None) -> None:
    assert read_duration(text) == expected


# Whether it is open

NIGHT = {"allow": [window("0 2 * * 1-5", "2h")], "zone": "Europe/Berlin"}
WEEK = {"deny": [window("0 9 * * 1-5", "8h")]}


@pytest.mark.parametrize(
    ("spec", "now", "expected"),
    [
        pytest.param(NIGHT, "2026-11-25 00:59:59", "hold", id="a second before it opens"),
        pytest.param(NIGHT, "2026-11-25 01:00", "pass", id="it opens on the clock of its zone"),
        pytest.param(NIGHT, "2026-11-25 02:59:59", "pass", id="its last second"),
        pytest.param(NIGHT, "2026-11-25 03:00", "hold", id="its end is outside"),
        pytest.param(NIGHT, "2026-11-28 01:30", "hold", id="not on Saturday"),
        pytest.param(NIGHT, "2026-07-01 00:30", "pass", id="in summer an hour earlier in UTC"),
        pytest.param(WEEK, "2026-11-25 08:59", "pass", id="a deny window alone allows all else"),
        pytest.param(WEEK, "2026-11-25 09:00", "hold", id="a deny window"),
        pytest.param({**NIGHT, **WEEK}, "2026-11-25 01:30", "pass", id="allowed and not denied"),
        pytest.param(
            {**NIGHT, "deny": [window("0 0 25 nov *", "1d")]}, "2026-11-25 01:30", "hold", id="deny wins over allow"
        ),
        pytest.param(
            {"allow": [window("0 22 * * *", "4h")]}, "2026-11-26 01:59", "pass", id="over midnight, from the day before"
        ),
        pytest.param(
            {"allow": [window("0 22 * * *"), window("30 22 * * *")]}, "2026-11-25 23:15", "pass", id="any allow window"
        ),
        pytest.param(
            {"allow": [window("0 22 * * *", zone="Asia/Tokyo")], "zone": "Europe/Berlin"},
            "2026-11-25 13:30",
            "pass",
            id="a window's own zone",
        ),
        pytest.param({"allow": [window("0 0 1 11 *", "30d")]}, "2026-11-25 12:00", "pass", id="a month"),
    ],
)
def test_open_or_shut(spec: dict[str, Any], now: str, expected: str) -> None:
    assert verdict(spec, now) == expected


# In Berlin the clock goes from 02:00 to 03:00 on 29 March 2026 at 01:00 UTC, and from 03:00 to 02:00 on 25 October at 01:00 UTC.


@pytest.mark.parametrize(
    ("cron", "duration", "opens", "shuts"),
    [
        pytest.param("0 1 29 3 *", "2h", "2026-03-29 00:00", "2026-03-29 02:00", id="hours are hours, over the jump"),
        pytest.param(
            "30 2 29 3 *", "1h", "2026-03-29 01:00", "2026-03-29 02:00", id="a skipped time opens at the jump"
        ),
        pytest.param("0 0 28 3 *", "2d", "2026-03-27 23:00", "2026-03-29 22:00", id="the short weekend has 47 hours"),
        pytest.param("0 0 28 3 *", "48h", "2026-03-27 23:00", "2026-03-29 23:00", id="48 hours are 48 hours"),
        pytest.param(
            "0 1 25 10 *", "2h", "2026-10-24 23:00", "2026-10-25 01:00", id="hours are hours, over the second 02:00"
        ),
        pytest.param("30 2 25 10 *", "1h", "2026-10-25 00:30", "2026-10-25 01:30", id="a repeated time opens once"),
        pytest.param("0 0 24 10 *", "2d", "2026-10-23 22:00", "2026-10-25 23:00", id="the long weekend has 49 hours"),
        pytest.param(
            "30 2 28 3 *", "1d", "2026-03-28 01:30", "2026-03-29 01:00", id="a day that ends in the skipped hour"
        ),
    ],
)
def test_clocks_that_change(cron: str, duration: str, opens: str, shuts: str) -> None:
    spec = {"allow": [window(cron, duration)], "zone": "Europe/Berlin"}
    for edge, before, after in ((opens, "hold", "pass"), (shuts, "pass", "hold")):
        assert judge(spec, WindowFacts(at(edge) - 1)).verdict == before
        assert judge(spec, WindowFacts(at(edge))).verdict == after


def test_every_hour_opens_in_both_of_a_repeated_one() -> None:
    spec = {"allow": [window("0 * 25 10 *", "30m")], "zone": "Europe/Berlin"}
    hour = [verdict(spec, f"2026-10-25 0{hour}:{minute}") for hour in (0, 1) for minute in ("10", "40")]
    assert hour == ["pass", "hold", "pass", "hold"]


# What a rollout does that began before: the nine transitions that Argo CD documents

BEGAN, NOW = "2026-11-25 01:30", "2026-11-25 03:30"
EARLY, EARLY_TOO, LATE, ALL_NIGHT = "0 1 * * *", "15 1 * * *", "0 3 * * *", "0 0 * * *"


def allow(cron: str, *, overrun: bool, duration: str = "1h") -> dict[str, Any]:
    return window(cron, duration, overrun=overrun)


@pytest.mark.parametrize(
    ("allowing", "denying", "goes_on"),
    [
        pytest.param([], [allow(LATE, overrun=True)], True, id="1: no window, then deny with overrun"),
        pytest.param([], [allow(LATE, overrun=False)], False, id="2: no window, then deny without"),
        pytest.param([allow(EARLY, overrun=True)], [allow(LATE, overrun=True)], True, id="3: allow with, deny with"),
        pytest.param(
            [allow(EARLY, overrun=True)], [allow(LATE, overrun=False)], False, id="4: allow with, deny without"
        ),
        pytest.param(
            [allow(EARLY, overrun=False)], [allow(LATE, overrun=True)], True, id="5: allow without, deny with"
        ),
        pytest.param(
            [allow(EARLY, overrun=False)], [allow(LATE, overrun=False)], False, id="6: allow without, deny without"
        ),
        pytest.param([allow(EARLY, overrun=True)], [], True, id="7: allow with overrun ends"),
        pytest.param(
            [allow(EARLY, overrun=True), allow(EARLY_TOO, overrun=True)], [], True, id="8: several with overrun end"
        ),
        pytest.param(
            [allow(EARLY, overrun=True), allow(EARLY_TOO, overrun=False)],
            [],
            False,
            id="9: one of several without, all end",
        ),
        pytest.param(
            [allow(ALL_NIGHT, overrun=False, duration="6h")],
            [allow(LATE, overrun=True)],
            True,
            id="5, with the allow window still open",
        ),
        pytest.param(
            [],
            [allow(LATE, overrun=True), allow(LATE, overrun=False)],
            False,
            id="two deny windows, of which one doesn't let run over",
        ),
    ],
)
def test_transitions(allowing: list[Any], denying: list[Any], goes_on: bool) -> None:
    spec = {"allow": allowing, "deny": denying}
    assert verdict(spec, BEGAN) == "pass"
    running = judge(spec, WindowFacts(at(NOW), step=1, began=at(BEGAN)))
    assert running.verdict == ("pass" if goes_on else "hold")
    assert running.evidence.get("overrun", False) is goes_on
    assert verdict(spec, NOW) == "hold", "a new rollout is never let begin"


def test_overrun_is_for_those_that_were_let_begin() -> None:
    spec = {"allow": [allow(EARLY, overrun=True)]}
    assert verdict(spec, NOW, step=1, began=at("2026-11-25 00:30")) == "hold"
    assert verdict(spec, NOW, step=1) == "hold"


# What shuts a rollout in

BAKE = 1800.0
MODES = {"finish_step": {}, "hold": {"shut_mid_rollout": "hold"}, "fallback": {"shut_mid_rollout": "fallback"}}


@pytest.mark.parametrize(
    ("mode", "now", "step", "expected"),
    [
        pytest.param("finish_step", "02:45", 1, "pass", id="a step may outlast the window"),
        pytest.param("finish_step", "03:30", 1, "hold", id="no further one begins"),
        pytest.param("hold", "02:30", 1, "pass", id="a step that just fits"),
        pytest.param("hold", "02:31", 1, "hold", id="a step that would outlast the window waits"),
        pytest.param("hold", "02:31", 0, "hold", id="the first one too"),
        pytest.param("hold", "03:30", 1, "hold", id="shut"),
        pytest.param("fallback", "02:45", 1, "pass", id="a step that began is let finish"),
        pytest.param("fallback", "03:30", 1, "fail", id="back at once"),
        pytest.param("fallback", "03:30", 0, "hold", id="before the first step there is nothing to take back"),
    ],
)
def test_shut_mid_rollout(mode: str, now: str, step: int, expected: str) -> None:
    spec = {"allow": [window("0 2 * * *")], **MODES[mode]}
    began = at("2026-11-25 02:00") if step else None
    assert verdict(spec, f"2026-11-25 {now}", step=step, bake=BAKE, began=began) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        pytest.param(OVERRIDE, "pass", id="with a person and a reason"),
        pytest.param({"person": "alice", "why": ""}, "hold", id="without a reason"),
        pytest.param({}, "hold", id="empty"),
        pytest.param(None, "hold", id="none"),
    ],
)
def test_an_override_is_explicit_and_recorded(override: dict[str, str] | None, expected: str) -> None:
    found = judge(NIGHT, WindowFacts(at("2026-11-25 12:00"), override=override))
    assert found.verdict == expected
    assert ("override" in found.evidence) is (expected == "pass")
    assert ("alice goes on all the same: orders are lost" in found.reason) is (expected == "pass")


def test_an_override_that_nobody_needs_is_not_used() -> None:
    assert "override" not in judge(NIGHT, WindowFacts(at("2026-11-25 01:30"), override=OVERRIDE)).evidence


# What it says


@pytest.mark.parametrize(
    ("spec", "now", "reason"),
    [
        pytest.param(
            NIGHT,
            "2026-11-25 16:48",
            'the window allow "0 2 * * 1-5" for 2h (Europe/Berlin) is shut; '
            "the next opening is Thu 2026-11-26 02:00 CET, in 8 h 12 min",
            id="the next opening",
        ),
        pytest.param(
            {**NIGHT, "deny": [window("0 0 26 nov *", "1d")]},
            "2026-11-25 16:48",
            'the window allow "0 2 * * 1-5" for 2h (Europe/Berlin) is shut; '
            "the next opening is Fri 2026-11-27 02:00 CET, in 32 h 12 min",
            id="an opening that is denied is none",
        ),
        pytest.param(
            {"deny": [window("0 9 * * *"), window("30 9 * * *")]},
            "2026-11-25 09:29:30",
            'the window deny "0 9 * * *" for 1h (UTC) is open; the next opening is Wed 2026-11-25 10:30 UTC, in 60 min',
            id="deny windows that overlap",
        ),
        pytest.param(
            NIGHT, "2026-11-25 01:30", "the window is open until Wed 2026-11-25 04:00 CET", id="until when it is open"
        ),
        pytest.param(
            {"allow": [window("0 * * * *")]}, "2026-11-25 01:30", "the window is open, and nothing foreseeable shuts it",
            id="windows that join",
        ),
        pytest.param(
            {"deny": [window("* * * * *")]},
            "2026-11-25 01:30",
            'the window deny "* * * * *" for 1h (UTC) is open, and no time to come is open; '
            "look at the windows in the registry",
            id="never",
        ),
        pytest.param(
            {"allow": [window("0 0 1 1 *", "1d")]},
            "2026-11-25 00:00",
            'the window allow "0 0 1 1 *" for 1d (UTC) is shut; the next opening is Fri 2027-01-01 00:00 UTC, in 37 days',
            id="a distant one",
        ),
    ],
)  # fmt: skip
def test_reasons(spec: dict[str, Any], now: str, reason: str) -> None:
    assert judge(spec, WindowFacts(at(now))).reason == reason


def test_the_time_left_is_told() -> None:
    evidence = judge(NIGHT, WindowFacts(at("2026-11-25 00:58:00"))).evidence
    assert evidence == {"opens": "2026-11-25T01:00:00+00:00", "seconds_left": 120}


# What the traffic suggests

FIRST_HOUR = int(at("2026-11-02 00:00")) // 3600


def traffic(quiet: set[int], days: int = 7, busy: int = 1000) -> dict[int, int]:
    return {FIRST_HOUR + hour: 10 if hour % 24 in quiet else busy for hour in range(days * 24)}


@pytest.mark.parametrize(
    ("counts", "zone", "hours", "cron"),
    [
        pytest.param(traffic({3, 4}), "UTC", 2, "0 3 * * *", id="two quiet hours"),
        pytest.param(traffic({3, 4}), "Europe/Berlin", 2, "0 4 * * *", id="on the zone's clock"),
        pytest.param(traffic({23, 0}), "UTC", 2, "0 23 * * *", id="over midnight"),
        pytest.param(
            {hour: n for hour, n in traffic({5}).items() if n > 10}, "UTC", 1, "0 5 * * *", id="hours without any"
        ),
    ],
)
def test_a_window_is_proposed(counts: dict[int, int], zone: str, hours: int, cron: str) -> None:
    proposal = propose_window(counts, zone, hours)
    assert proposal.window == {"cron": cron, "duration": f"{hours}h", "zone": zone}
    assert check({"allow": [proposal.window]}, "window") == []


def test_a_proposal_has_its_figures() -> None:
    assert propose_window(traffic({3, 4}), "UTC").reason == (
        "from 03:00 to 05:00 (UTC) come 0.1% of 154140 requests, seen over 7.0 days; the busiest 2 hours have 9.1%"
    )  # fmt: skip


@pytest.mark.parametrize(
    "counts", [pytest.param({}, id="none"), pytest.param(traffic(set(), days=2), id="two days"), pytest.param(traffic(set(), busy=0), id="silence")]
)  # fmt: skip
def test_too_little_is_no_proposal(counts: dict[int, int]) -> None:
    proposal = propose_window(counts, "UTC")
    assert proposal.window is None
    assert "a proposal needs 3 days" in proposal.reason


def test_a_proposal_is_shorter_than_a_day() -> None:
    with pytest.raises(CronError, match="a window of 24 hours"):
        propose_window(traffic({3}), "UTC", 24)
