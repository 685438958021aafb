# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide when commits have waited for a standby for too long, when that began, and when it is over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

# Seconds: what waits for less is found by the next look that the timer starts.
YOUNG = 0.5
# Seconds after the limit at which to look again.
MARGIN = 0.1

# What waits, as one line of JSON. A COMMIT waits from its begin on; what commits by itself has worked first, nobody knows for how long.
QUERY = """
SELECT json_build_object(
  'standby', pg_is_in_recovery(),
  'now', extract(epoch FROM clock_timestamp()),
  'waits', (SELECT coalesce(json_agg(json_build_object(
      'pid', pid, 'began', extract(epoch FROM query_start), 'exact', query ILIKE 'commit%' OR query ILIKE 'end%',
      'user', coalesce(usename, backend_type), 'database', coalesce(datname, ''))), '[]')
    FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query_start IS NOT NULL))
"""


class WriteWaitsError(Exception):
    """An answer, or a file, that can't be used."""


@dataclass(frozen=True)
class Wait:
    """A session that waits for a standby: since its statement began at the longest, and exactly since then if that is a COMMIT."""

    pid: int
    began: float
    exact: bool
    user: str
    database: str

    @property
    def key(self) -> tuple[int, float]:
        return self.pid, self.began


@dataclass(frozen=True)
class Look:
    """What one look at PostgreSQL saw; times are seconds since 1970."""

    now: float
    standby: bool = False
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True)
class Episode:
    """What an alert was raised for, and hasn't ended: since when, what was said, and whether it was that PostgreSQL didn't answer at all."""

    since: float
    says: str
    silent: bool = False


@dataclass(frozen=True)
class Verdict:
    """The episode that is open now, what there is to tell that nobody was told, and in how many seconds to look again; 0 for not at all."""

    episode: Episode | None = None
    news: str = ""
    again: float = 0.0


Known = Mapping[tuple[int, float], float]


def read_look(text: str) -> Look:
    """Read the answer to QUERY."""
    try:
        reply = json.loads(text)
        waits = tuple(
            Wait(int(entry["pid"]), float(entry["began"]), bool(entry["exact"]), entry["user"], entry["database"])
            for entry in reply["waits"]
        )
        return Look(float(reply["now"]), bool(reply["standby"]), waits)
    except (KeyError, TypeError, ValueError) as error:
        raise WriteWaitsError(f"PostgreSQL answered in an unknown form, {text[:200]!r}: {error}") from error


def read_episode(text: str) -> Episode:
    """Read what an earlier look left."""
    try:
        data = json.loads(text)
        return Episode(float(data["since"]), str(data["says"]), bool(data["silent"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WriteWaitsError(f"expected what a watch wrote, and found {text[:200]!r}: {error}") from error


def episode_text(episode: Episode) -> str:
    return json.dumps({"alarming": True, **asdict(episode)})


def since_when(look: Look, known: Known) -> dict[tuple[int, float], float]:
    """Since when each session surely waits: since it was first seen to, where its statement doesn't tell."""
    return {wait.key: wait.began if wait.exact else known.get(wait.key, look.now) for wait in look.waits}


def judge_waits(look: Look, known: Known, limit: float, episode: Episode | None) -> Verdict:
    """Say whether commits wait for longer than the limit; `known` is since_when() of this look."""
    ended = _end(look, episode) if episode else ""
    if look.standby or not look.waits:
        return Verdict(news=ended)
    first = min(look.waits, key=lambda wait: known[wait.key])
    waited = look.now - known[first.key]
    if waited > limit:
        return Verdict(episode) if episode and not episode.silent else _alert(look, first, waited, limit)
    # What may have waited for a while already shows at its limit, and not only when the timer next comes round.
    is_old = look.now - min(wait.began for wait in look.waits) >= YOUNG
    return Verdict(news=ended, again=limit - waited + MARGIN if is_old else 0.0)


def judge_silence(now: float, error: str, waited: float, limit: float, episode: Episode | None) -> Verdict:
    """What it means that PostgreSQL runs and hasn't answered for so many seconds; whatever was open stays so."""
    if episode:
        return Verdict(episode)
    if waited < limit:
        return Verdict(again=min(YOUNG, limit - waited + MARGIN))
    says = f"nobody can say how long commits wait for a standby: {error}"
    return Verdict(Episode(now - waited, says, silent=True), says)


def _alert(look: Look, first: Wait, waited: float, limit: float) -> Verdict:
    number = f"{len(look.waits)} commits wait" if len(look.waits) > 1 else "a commit waits"
    who = f"{first.user} in {first.database}" if first.database else first.user
    says = f"{number} for a standby, at the longest for {waited:.1f} s ({who}, pid {first.pid}), over {limit:g} s"
    return Verdict(Episode(look.now - waited, says), f"{says}; patronictl list shows which standbys stream")


def _end(look: Look, episode: Episode) -> str:
    lasted = f"after at most {max(0.0, look.now - episode.since):.0f} s"
    if look.standby:
        return f"this server no longer takes writes, {lasted}"
    return f"PostgreSQL answers again, {lasted}" if episode.silent else f"commits are answered again, {lasted}"
