# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `window`: changes go when the team wants them, on the clock of the team's own time zone.

A rollout may go on while an allow window is open, or where there are none, and no deny window is. A window with `overrun`
lets a rollout that began before it shut go on to its end.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from ansible_collections.nectar.backend.plugins.module_utils.cron import (
    HORIZON_DAYS,
    Cron,
    CronError,
    last_time,
    parse_cron,
    time_zone,
    times_after,
    to_instant,
)
from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    COMMON_FIELDS,
    FAIL,
    HOLD,
    PASS,
    Verdict,
    flaws,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    SWITCH,
    TEXT,
    Field,
    Report,
    Spot,
    check_entry,
    show,
)

GATE = "window"
ALLOW, DENY = "allow", "deny"
FINISH_STEP, FALL_BACK = "finish_step", "fallback"
SHUT = (FINISH_STEP, HOLD, FALL_BACK)
DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,3})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?")
LONGEST_DAYS = 366
# How often the answer may turn before what comes then counts as never.
MOST_TURNS = 300


def _is_shut(value: object) -> bool:
    return value in SHUT


def _is_duration(value: object) -> bool:
    return isinstance(value, str) and read_duration(value) is not None


def _is_windows(value: object) -> bool:
    return isinstance(value, list)


WINDOWS = Field(_is_windows, "a list of windows", 'write it as [{cron: "0 2 * * *", duration: 2h}]')
FIELDS = {
    ALLOW: WINDOWS,
    DENY: WINDOWS,
    "zone": TEXT,
    "shut_mid_rollout": Field(_is_shut, f"one of {', '.join(SHUT)}"),
    **COMMON_FIELDS,
}
WINDOW_FIELDS = {
    "cron": Field(TEXT.accepts, "five fields of cron", 'write it as "0 2 * * 1-5"', required=True),
    "duration": Field(
        _is_duration, f"days, hours and minutes, up to {LONGEST_DAYS}d", "write it as 2h, 1h30m or 2d", required=True
    ),
    "zone": TEXT,
    "overrun": SWITCH,
}


@dataclass(frozen=True)
class WindowFacts:
    """What the gate looks at: times are seconds since 1970, `began` is the rollout's."""

    now: float
    step: int = 0
    bake: float = 0
    began: float | None = None
    override: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Window:
    """One window: it opens at the times of `cron`, for days of the calendar and then for exact seconds."""

    kind: str
    cron: Cron
    zone: datetime.tzinfo
    days: int
    seconds: int
    overrun: bool
    says: str

    def open_until(self, at: datetime.datetime) -> datetime.datetime | None:
        """When the window shuts that is open at this instant; None where none is."""
        opened = last_time(self.cron, at, self.zone, self.days + self.seconds // 86_400 + 1)
        if opened is None:
            return None
        end = opened
        if self.days:
            local = opened.astimezone(self.zone).replace(tzinfo=None) + datetime.timedelta(days=self.days)
            end = to_instant(local, self.zone)
        end += datetime.timedelta(seconds=self.seconds)
        return end if at < end else None

    def opens_after(self, at: datetime.datetime) -> datetime.datetime | None:
        return next(times_after(self.cron, at, self.zone), None)


def read_duration(text: str) -> tuple[int, int] | None:
    """Days of the calendar, and exact seconds; None where the text says neither."""
    match = DURATION.fullmatch(text)
    if not match:
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups())
    seconds = hours * 3600 + minutes * 60
    if not 0 < days * 86_400 + seconds <= LONGEST_DAYS * 86_400:
        return None
    return days, seconds


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    report = Report()
    fields = check_entry(report, Spot((), field), spec, FIELDS)
    if "zone" in fields:
        _check_zone(report, field, fields["zone"])
    for kind in (ALLOW, DENY):
        for index, entry in enumerate(fields.get(kind, [])):
            _check_window(report, f"{field}.{kind}[{index}]", entry)
    if not report.problems and not any(fields.get(kind) for kind in (ALLOW, DENY)):
        report.add(
            Spot((), field), "holds no window", "allow, deny or both", 'add allow: [{cron: "0 2 * * *", duration: 2h}]'
        )
    return flaws(report)


def _check_window(report: Report, field: str, entry: object) -> None:
    spot = Spot((), field)
    fields = check_entry(report, spot, entry, WINDOW_FIELDS)
    if "zone" in fields:
        _check_zone(report, field, fields["zone"])
    if "cron" not in fields:
        return
    expected = "minute, hour, day of the month, month and day of the week"
    try:
        cron = parse_cron(fields["cron"])
    except CronError as error:
        report.add(spot, f"cron is {show(fields['cron'])}: {error}", expected, 'write it as "0 2 * * 1-5"')
        return
    if next(times_after(cron, datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC), datetime.UTC), None) is None:
        report.add(spot, f"cron is {show(fields['cron'])}, which never comes", expected, "look at its day and month")


def _check_zone(report: Report, field: str, name: str) -> None:
    try:
        time_zone(name)
    except CronError:
        known = available_timezones()
        otherwise = "see https://www.iana.org/time-zones" if known else "install the package tzdata"
        remedy = report.suggest(name, known, otherwise)
        report.add(Spot((), field), f"zone is {show(name)}", "a time zone's name such as Europe/Berlin", remedy)


def read_windows(spec: Mapping[str, Any]) -> tuple[Window, ...]:
    """The windows of a sound entry."""
    found = []
    for kind in (ALLOW, DENY):
        for entry in spec.get(kind) or ():
            zone = entry.get("zone") or spec.get("zone") or "UTC"
            days, seconds = read_duration(entry["duration"]) or (0, 0)
            says = f'{kind} "{entry["cron"]}" for {entry["duration"]} ({zone})'
            overrun = bool(entry.get("overrun", False))
            found.append(Window(kind, parse_cron(entry["cron"]), time_zone(zone), days, seconds, overrun, says))
    return tuple(found)


def judge(spec: Mapping[str, Any], facts: WindowFacts) -> Verdict:
    """Say whether a step may begin now."""
    windows = read_windows(spec)
    zone = time_zone(spec["zone"]) if spec.get("zone") else windows[0].zone
    mode = spec.get("shut_mid_rollout", FINISH_STEP)
    now = datetime.datetime.fromtimestamp(facts.now, datetime.UTC)
    shut_by = _shut_by(windows, now)
    if shut_by:
        if facts.step and _runs_over(windows, facts.began, now):
            return Verdict(GATE, PASS, f"{shut_by}, and lets a rollout that began before run over", {"overrun": True})
        return _shut(facts, mode, shut_by, _change(windows, now, to_open=True), zone)
    until = _change(windows, now, to_open=False)
    if until is None:
        return Verdict(GATE, PASS, "the window is open, and nothing foreseeable shuts it")
    left = (until - now).total_seconds()
    if mode == HOLD and left < facts.bake:
        shut_by = f"the window shuts at {_local(until, zone)}, before the step's {facts.bake:g} s are over"
        return _shut(facts, mode, shut_by, _change(windows, until, to_open=True), zone)
    evidence = {"shuts": until.isoformat(), "open_for_seconds": int(left)}
    return Verdict(GATE, PASS, f"the window is open until {_local(until, zone)}", evidence)


def _shut(
    facts: WindowFacts, mode: str, shut_by: str, opens: datetime.datetime | None, zone: datetime.tzinfo
) -> Verdict:
    """The verdict of a window that is shut, or would be too soon."""
    override = facts.override
    if override and override.get("person") and override.get("why"):
        reason = f"{shut_by}; {override['person']} goes on all the same: {override['why']}"
        return Verdict(GATE, PASS, reason, {"override": dict(override)})
    if opens is None:
        return Verdict(GATE, FAIL, f"{shut_by}, and no time to come is open; look at the windows in the registry")
    left = max(1, round(opens.timestamp() - facts.now))
    reason = f"{shut_by}; the next opening is {_local(opens, zone)}, in {_span(left)}"
    evidence = {"opens": opens.isoformat(), "seconds_left": left}
    if facts.step and mode == FALL_BACK:
        return Verdict(GATE, FAIL, reason, evidence)
    return Verdict(GATE, HOLD, reason, evidence)


def _shut_by(windows: Sequence[Window], at: datetime.datetime) -> str | None:
    """What keeps changes away at this instant; None where nothing does."""
    denying = [window for window in windows if window.kind == DENY and window.open_until(at)]
    if denying:
        return f"the window {denying[0].says} is open"
    allowing = [window for window in windows if window.kind == ALLOW]
    if allowing and not any(window.open_until(at) for window in allowing):
        others = f" and {len(allowing) - 1} more" if len(allowing) > 1 else ""
        return f"the window {allowing[0].says}{others} is shut"
    return None


def _runs_over(windows: Sequence[Window], began: float | None, at: datetime.datetime) -> bool:
    """Whether a rollout that was let begin may go on: every window in its way says so."""
    if began is None or _shut_by(windows, datetime.datetime.fromtimestamp(began, datetime.UTC)):
        return False
    denying = [window for window in windows if window.kind == DENY and window.open_until(at)]
    in_the_way = denying or [window for window in windows if window.kind == ALLOW]
    return all(window.overrun for window in in_the_way)


def _change(windows: Sequence[Window], at: datetime.datetime, *, to_open: bool) -> datetime.datetime | None:
    """The first instant from `at` on at which changes are possible, or are no more."""
    horizon = at + datetime.timedelta(days=HORIZON_DAYS)
    for _turn in range(MOST_TURNS):
        if (_shut_by(windows, at) is None) == to_open:
            return at
        turn = _next_turn(windows, at)
        if turn is None or turn > horizon:
            return None
        at = turn
    return None


def _next_turn(windows: Sequence[Window], at: datetime.datetime) -> datetime.datetime | None:
    """The next instant at which the answer may be another one."""
    allowing = [window for window in windows if window.kind == ALLOW]
    denying = [window for window in windows if window.kind == DENY]
    if ends := [end for window in denying if (end := window.open_until(at))]:
        return max(ends)
    ends = [end for window in allowing if (end := window.open_until(at))]
    starting = denying if ends or not allowing else allowing
    starts = [start for window in starting if (start := window.opens_after(at))]
    return min([*starts, *([max(ends)] if ends else [])], default=None)


def _local(moment: datetime.datetime, zone: datetime.tzinfo) -> str:
    return moment.astimezone(zone).strftime("%a %Y-%m-%d %H:%M %Z")


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // 1440} days"


@dataclass(frozen=True)
class Proposal:
    """A window that the traffic suggests, as the registry takes it, and why."""

    window: Mapping[str, Any] | None
    reason: str


FEWEST_DAYS = 3


def propose_window(counts: Mapping[int, int], zone: str, hours: int = 2) -> Proposal:
    """The quietest hours of the day, by requests per hour since 1970; an hour without an entry between others had none."""
    if not 1 <= hours <= 23:
        raise CronError(f"a window of {hours} hours; expected 1 to 23")
    span = max(counts) - min(counts) + 1 if counts else 0
    total = sum(counts.values())
    if span < FEWEST_DAYS * 24 or not total:
        return Proposal(
            None, f"{span} hours with {total} requests are seen; a proposal needs {FEWEST_DAYS} days with some"
        )
    days, by_hour = span / 24, [0] * 24
    clock = time_zone(zone)
    for hour, count in counts.items():
        by_hour[datetime.datetime.fromtimestamp(hour * 3600, clock).hour] += count
    sums = [sum(by_hour[(first + offset) % 24] for offset in range(hours)) for first in range(24)]
    first = min(range(24), key=sums.__getitem__)
    reason = (
        f"from {first:02}:00 to {(first + hours) % 24:02}:00 ({zone}) come {sums[first] / total:.1%} of {total} requests, "
        f"seen over {days:.1f} days; the busiest {hours} hours have {max(sums) / total:.1%}"
    )
    return Proposal({"cron": f"0 {first} * * *", "duration": f"{hours}h", "zone": zone}, reason)
