# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times as cron writes them, on the clock of a time zone, also where that clock skips or repeats an hour.

A time in a skipped hour comes when the clock has jumped; one in a repeated hour comes once, the first time. Where the hour
is a star, every hour that really passes counts: a skipped one has no times, a repeated one has them twice.
"""

from __future__ import annotations

import bisect
import datetime
import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)
# The longest that a date may be away: 29 February, over a year such as 2100.
HORIZON_DAYS = 8 * 366
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
PART = re.compile(r"(?:(\*)|([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?)(?:/([0-9]+))?")


class CronError(ValueError):
    """A text that is no time for cron."""


@dataclass(frozen=True)
class CronField:
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text in self.words:
            return self.words.index(text) + self.first
        if not text.isdigit() or not self.first <= int(text) <= self.last:
            also = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
            raise CronError(f"{self.name} has {text}, not {self.first} to {self.last}{also}")
        return int(text)


FIELDS = (
    CronField("the minute", 0, 59),
    CronField("the hour", 0, 23),
    CronField("the day of the month", 1, 31),
    CronField("the month", 1, 12, MONTHS),
    CronField("the day of the week", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """When something comes; a day counts by month and week alone where one of them is a star, else by either."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    every_hour: bool
    every_day: bool
    every_weekday: bool

    def comes_on(self, date: datetime.date) -> bool:
        if date.month not in self.months:
            return False
        by_day, by_week = date.day in self.days, date.isoweekday() % 7 in self.weekdays
        return (by_day and by_week) if self.every_day or self.every_weekday else (by_day or by_week)


def parse_cron(text: str) -> Cron:
    """Read the five fields minute, hour, day of the month, month and day of the week."""
    parts = text.lower().split()
    if len(parts) != len(FIELDS):
        raise CronError(f"it has {len(parts)} field{'s' * (len(parts) != 1)}, not 5")
    minutes, hours, days, months, weekdays = (_values(field, part) for field, part in zip(FIELDS, parts, strict=True))
    return Cron(
        minutes,
        hours,
        days,
        months,
        tuple(sorted({day % 7 for day in weekdays})),
        every_hour=parts[1].startswith("*"),
        every_day=parts[2].startswith("*"),
        every_weekday=parts[4].startswith("*"),
    )


def _values(field: CronField, text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        match = PART.fullmatch(part)
        if not match:
            raise CronError(
                f"{field.name} has {part or 'nothing between commas'}, not *, 5, 1-5, */2 or a list of these"
            )
        star, low, high, pace = match.groups()
        first = field.first if star else field.number(low)
        # As cron reads it: a lone number with a pace goes on to the end.
        last = field.number(high) if high else (field.last if star or pace else first)
        if last < first:
            raise CronError(f"{field.name} has {part}, which runs backwards")
        if pace and not int(pace):
            raise CronError(f"{field.name} has {part}, whose pace is 0")
        found.update(range(first, last + 1, int(pace or 1)))
    return tuple(sorted(found))


def time_zone(name: str) -> datetime.tzinfo:
    """The time zone of this name, as Europe/Berlin."""
    if name == "UTC":
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CronError(f"no time zone has the name {name}") from error


def to_instant(local: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """When a clock shows this time, for the first time; when it has jumped, where it skips that time."""
    first, second = _readings(local, zone)
    return first if first <= second else _end_of_gap(second, first, zone)


def _readings(local: datetime.datetime, zone: datetime.tzinfo) -> tuple[datetime.datetime, datetime.datetime]:
    """The instant by the offset before a change of the clock, and by the one after it; the same on all other days."""
    return (
        local.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC),
        local.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC),
    )


def _end_of_gap(before: datetime.datetime, after: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    offset = before.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


@functools.lru_cache(maxsize=512)
def times_on(cron: Cron, date: datetime.date, zone: datetime.tzinfo) -> tuple[datetime.datetime, ...]:
    """The instants of one local date, in order."""
    if not cron.comes_on(date):
        return ()
    found: set[datetime.datetime] = set()
    for hour, minute in itertools.product(cron.hours, cron.minutes):
        local = datetime.datetime.combine(date, datetime.time(hour, minute))
        first, second = _readings(local, zone)
        if not cron.every_hour:
            found.add(to_instant(local, zone))
        elif first <= second:
            found.update((first, second))
    return tuple(sorted(found))


def times_after(cron: Cron, at: datetime.datetime, zone: datetime.tzinfo) -> Iterator[datetime.datetime]:
    """The instants after `at`, in order, as far as anything can be foreseen."""
    date = at.astimezone(zone).date() - DAY
    for _day in range(HORIZON_DAYS):
        if cron.comes_on(date):
            times = times_on(cron, date, zone)
            yield from times[bisect.bisect_right(times, at) :]
        date += DAY


def last_time(cron: Cron, at: datetime.datetime, zone: datetime.tzinfo, days: int) -> datetime.datetime | None:
    """The last instant up to `at`, if it was at most so many days ago."""
    date = at.astimezone(zone).date() + DAY
    for _day in range(days + 3):
        times = times_on(cron, date, zone)
        if up_to := bisect.bisect_right(times, at):
            return times[up_to - 1]
        date -= DAY
    return None
