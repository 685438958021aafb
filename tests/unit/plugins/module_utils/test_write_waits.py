# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When commits have waited for too long, what is told of it, and when somebody must look again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.write_waits import (
    Episode,
    Look,
    Verdict,
    Wait,
    WriteWaitsError,
    episode_text,
    judge_silence,
    judge_waits,
    read_episode,
    read_look,
    since_when,
)

NOW, LIMIT = 1000.0, 5.0
OPEN = Episode(980.0, "a commit waits")
SILENT = Episode(980.0, "nobody can say", silent=True)


def commit(seconds: float, exact: bool = True) -> Wait:
    """A session whose statement began so long ago."""
    return Wait(int(seconds * 10), NOW - seconds, exact, "alice", "alice")


def judge(waits: Sequence[Wait], episode: Episode | None = None, standby: bool = False, **known: float) -> Verdict:
    """Judge what is seen for the first time, but for what `known` says of it."""
    look = Look(NOW, standby, tuple(waits))
    seen = {wait.key: NOW - seconds for wait in waits for pid, seconds in known.items() if pid == f"pid{wait.pid}"}
    return judge_waits(look, since_when(look, seen), LIMIT, episode)


@pytest.mark.parametrize(
    ("waits", "again"),
    [
        pytest.param([], 0.0, id="nothing waits"),
        pytest.param([commit(0.001)], 0.0, id="as any commit does"),
        pytest.param([commit(2.0)], 3.1, id="for a while"),
        pytest.param([commit(0.1), commit(4.5)], 0.6, id="the longest decides"),
        pytest.param([commit(600.0, exact=False)], 5.1, id="a long statement that has just begun to wait"),
    ],
)
def test_what_is_not_over_the_limit_is_looked_at_when_it_would_be(waits: list[Wait], again: float) -> None:
    verdict = judge(waits)
    assert (verdict.episode, verdict.news, round(verdict.again, 6)) == (None, "", again)


@pytest.mark.parametrize(
    ("waits", "known", "says"),
    [
        pytest.param(
            [commit(6.0)],
            {},
            "a commit waits for a standby, at the longest for 6.0 s (alice in alice, pid 60), over 5 s",
            id="one",
        ),
        pytest.param(
            [commit(1.0), commit(7.5)], {}, "2 commits wait for a standby, at the longest for 7.5 s", id="several"
        ),
        pytest.param(
            [commit(600.0, exact=False)],
            {"pid6000": 5.1},
            "a commit waits for a standby, at the longest for 5.1 s",
            id="what commits by itself counts from when it was seen",
        ),
    ],
)
def test_what_is_over_the_limit_is_told_once(waits: list[Wait], known: dict[str, float], says: str) -> None:
    first = judge(waits, **known)
    assert first.episode and first.episode.says.startswith(says)
    assert first.news.startswith(first.episode.says)
    assert "patronictl list" in first.news
    assert judge(waits, first.episode, **known) == Verdict(first.episode)


@pytest.mark.parametrize(
    ("episode", "waits", "standby", "news"),
    [
        pytest.param(OPEN, [], False, "commits are answered again, after at most 20 s", id="nothing waits"),
        pytest.param(OPEN, [commit(0.1)], False, "commits are answered again, after at most 20 s", id="young ones"),
        pytest.param(OPEN, [], True, "this server no longer takes writes, after at most 20 s", id="it lost the lead"),
        pytest.param(SILENT, [], False, "PostgreSQL answers again, after at most 20 s", id="it was silent"),
    ],
)
def test_the_end_is_told_once(episode: Episode, waits: list[Wait], standby: bool, news: str) -> None:
    assert judge(waits, episode, standby) == Verdict(news=news)
    assert judge(waits, None, standby).news == ""


def test_a_wait_that_shows_after_a_silence_is_told() -> None:
    verdict = judge([commit(9.0)], SILENT)
    assert verdict.episode and not verdict.episode.silent
    assert verdict.news.startswith("a commit waits for a standby, at the longest for 9.0 s")


def test_a_silence_is_told_once_it_has_lasted() -> None:
    assert judge_silence(NOW, "refused", 0.0, LIMIT, None) == Verdict(again=0.5)
    told = judge_silence(NOW, "refused", 5.0, LIMIT, None)
    assert told.episode == Episode(NOW - 5, told.news, silent=True)
    assert told.news == "nobody can say how long commits wait for a standby: refused"
    assert judge_silence(NOW, "refused", 0.0, LIMIT, told.episode) == Verdict(told.episode)
    assert judge_silence(NOW, "refused", 9.0, LIMIT, OPEN) == Verdict(OPEN)


def test_an_answer_is_read() -> None:
    entry = {"pid": 7, "began": 990.5, "exact": True, "user": "alice", "database": "alice"}
    text = json.dumps({"standby": False, "now": NOW, "waits": [entry]})
    assert read_look(text) == Look(NOW, False, (Wait(7, 990.5, True, "alice", "alice"),))


@pytest.mark.parametrize("text", ["", "[]", '{"now": 1}', '{"now": 1, "standby": false, "waits": [{"pid": 1}]}'])
def test_an_unknown_answer_is_refused(text: str) -> None:
    with pytest.raises(WriteWaitsError, match="in an unknown form"):
        read_look(text)


def test_an_episode_is_kept() -> None:
    assert read_episode(episode_text(SILENT)) == SILENT
    kept: dict[str, Any] = json.loads(episode_text(OPEN))
    assert kept["alarming"] is True
    with pytest.raises(WriteWaitsError, match="expected what a watch wrote"):
        read_episode("{}")
