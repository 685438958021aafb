# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times as cron writes them, where a clock jumps too."""

from __future__ import annotations

import datetime
import itertools

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.cron import (
    CronError,
    last_time,
    parse_cron,
    time_zone,
    times_after,
    times_on,
    to_instant,
)

BERLIN = time_zone("Europe/Berlin")


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "comes", "on_wednesday"),
    [
        pytest.param("0 0 * * *", ["2026-11-23", "2026-11-24"], True, id="every day"),
        pytest.param("0 0 * * 1-5", ["2026-11-23", "2026-11-27"], True, id="by week"),
        pytest.param("0 0 * * mon,FRI", ["2026-11-23", "2026-11-27"], False, id="by name"),
        pytest.param("0 0 * * 7", ["2026-11-29", "2026-12-06"], False, id="7 is Sunday too"),
        pytest.param("0 0 * * 5-7", ["2026-11-27", "2026-11-29"], False, id="over the end of the week"),
        pytest.param("0 0 1 * *", ["2026-12-01", "2027-01-01"], False, id="by month"),
        pytest.param("0 0 24 dec *", ["2026-12-24"], False, id="a day of the year"),
        pytest.param("0 0 1 * 0", ["2026-11-29", "2026-12-01"], False, id="either, where both are named"),
        pytest.param("0 0 */10 * 1", ["2027-01-11"], False, id="both, where one starts with a star"),
        pytest.param("0 0 29 2 *", ["2028-02-29"], False, id="leap day"),
    ],
)
def test_the_days(text: str, comes: list[str], on_wednesday: bool) -> None:
    cron = parse_cron(text)
    assert all(cron.comes_on(datetime.date.fromisoformat(day)) for day in comes)
    assert cron.comes_on(datetime.date(2026, 11, 25)) is on_wednesday


@pytest.mark.parametrize(
    ("text", "minutes", "hours"),
    [
        pytest.param("5 3 * * *", (5,), (3,), id="one"),
        pytest.param("0,30 1-3 * * *", (0, 30), (1, 2, 3), id="a list and a range"),
        pytest.param("*/20 8-18/5 * * *", (0, 20, 40), (8, 13, 18), id="paces"),
        pytest.param("10/25 0 * * *", (10, 35), (0,), id="from a number on"),
    ],
)
def test_the_times(text: str, minutes: tuple[int, ...], hours: tuple[int, ...]) -> None:
    cron = parse_cron(text)
    assert (cron.minutes, cron.hours) == (minutes, hours)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 2 * *", "it has 4 fields, not 5"),
        ("daily", "it has 1 field, not 5"),
        ("60 2 * * *", "the minute has 60, not 0 to 59"),
        ("0 24 * * *", "the hour has 24"),
        ("0 2 0 * *", "the day of the month has 0, not 1 to 31"),
        ("0 2 * 13 *", "the month has 13, not 1 to 12 or jan to dec"),
        ("0 2 * * montag", "the day of the week has montag, not *, 5"),
        ("0 2 * * xyz", "the day of the week has xyz, not 0 to 7 or sun to sat"),
        ("0 5-2 * * *", "5-2, which runs backwards"),
        ("*/0 2 * * *", "whose pace is 0"),
        ("1,,2 2 * * *", "nothing between commas"),
        ("-1 2 * * *", "the minute has -1"),
        ("0 ٣ * * *", "the hour has ٣"),
    ],
)
def test_what_is_no_time(text: str, said: str) -> None:
    with pytest.raises(CronError, match=said.replace("*", r"\*")):
        parse_cron(text)


@pytest.mark.parametrize("name", ["Mars/Phobos", "Europe", "../etc/passwd", "/etc/localtime", ""])
def test_an_unknown_time_zone(name: str) -> None:
    with pytest.raises(CronError, match="no time zone"):
        time_zone(name)


# In Berlin, 29 March 2026 has no 02:00 to 02:59, and 25 October 2026 has them twice.
SPRING, AUTUMN = datetime.date(2026, 3, 29), datetime.date(2026, 10, 25)


@pytest.mark.parametrize(
    ("text", "date", "expected"),
    [
        pytest.param("30 1 * * *", SPRING, ["2026-03-29 00:30"], id="before the jump"),
        pytest.param("30 2 * * *", SPRING, ["2026-03-29 01:00"], id="a skipped time comes with the jump"),
        pytest.param("0,30 2 * * *", SPRING, ["2026-03-29 01:00"], id="two skipped times come once"),
        pytest.param("30 3 * * *", SPRING, ["2026-03-29 01:30"], id="after the jump"),
        pytest.param("30 2 * * *", AUTUMN, ["2026-10-25 00:30"], id="a repeated time comes once, the first time"),
        pytest.param("30 3 * * *", AUTUMN, ["2026-10-25 02:30"], id="after the repeated hour"),
    ],
)
def test_a_named_hour_comes_once_whatever_the_clock_does(text: str, date: datetime.date, expected: list[str]) -> None:
    assert times_on(parse_cron(text), date, BERLIN) == tuple(utc(time) for time in expected)


@pytest.mark.parametrize(
    ("date", "hours"),
    [
        pytest.param(datetime.date(2026, 11, 25), 24, id="a common day"),
        pytest.param(SPRING, 23, id="the short day"),
        pytest.param(AUTUMN, 25, id="the long day"),
    ],
)
def test_every_hour_is_every_hour_that_passes(date: datetime.date, hours: int) -> None:
    times = times_on(parse_cron("0 * * * *"), date, BERLIN)
    assert len(times) == hours
    assert {after - before for before, after in itertools.pairwise(times)} == {datetime.timedelta(hours=1)}


def test_a_day_that_a_zone_left_out() -> None:
    # Samoa went from 29 to 31 December 2011 when it changed sides of the date line.
    assert to_instant(datetime.datetime(2011, 12, 30, 12), time_zone("Pacific/Apia")) == utc("2011-12-30 10:00")


def test_the_next_and_the_last() -> None:
    cron, at = parse_cron("0 2 * * 1-5"), utc("2026-11-27 02:00")
    assert last_time(cron, at, datetime.UTC, 1) == at
    assert next(times_after(cron, at, datetime.UTC)) == utc("2026-11-30 02:00")
    assert last_time(cron, utc("2026-11-30 01:59"), datetime.UTC, 3) == at
    assert last_time(parse_cron("0 0 1 1 *"), at, datetime.UTC, 30) is None


def test_what_never_comes() -> None:
    assert next(times_after(parse_cron("0 0 30 2 *"), utc("2026-01-01"), datetime.UTC), None) is None


def test_a_leap_day_is_found_over_a_century_without_one() -> None:
    assert next(times_after(parse_cron("0 0 29 2 *"), utc("2096-03-01"), datetime.UTC)) == utc("2104-02-29")
