# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is remembered of a run, and when the file changes."""

from __future__ import annotations

import json

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.address_choice import Decision
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Verdict
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import (
    Candidate,
    Endpoint,
    EndpointError,
    LastGood,
)
from ansible_collections.nectar.backend.plugins.module_utils.last_good import (
    State,
    next_state,
    parse_state,
    past_answers,
    show_state,
)

DAY = 86_400.0
OLD: State = {"web": {"address": "192.0.2.1", "port": 443, "proven_at": 1000}}


def decided(address: str | None) -> Decision:
    chosen = Candidate(address, 443) if address else None
    verdict = Verdict.PROVEN if chosen else Verdict.REFUSED
    return Decision(Endpoint(name="web", probe="tcp", port=443), chosen is not None, verdict, "", chosen, ())


@pytest.mark.parametrize(
    ("address", "now", "expected"),
    [
        pytest.param("192.0.2.1", 1000 + DAY / 5, OLD["web"], id="the same again"),
        pytest.param("192.0.2.1", 1000 + DAY / 3, OLD["web"] | {"proven_at": 29800}, id="the same, dated anew"),
        pytest.param("192.0.2.1", 500.0, OLD["web"] | {"proven_at": 500}, id="the clock was set back"),
        pytest.param("192.0.2.2", 2000.0, {"address": "192.0.2.2", "port": 443, "proven_at": 2000}, id="another one"),
        pytest.param(None, 9000.0, OLD["web"], id="none now: the past is kept"),
    ],
)
def test_the_past_changes_with_the_answer_and_seldom_else(
    address: str | None, now: float, expected: dict[str, object]
) -> None:
    assert next_state(OLD, [decided(address)], now, DAY) == {"web": expected}


def test_who_was_not_asked_about_is_kept() -> None:
    other = {"address": "192.0.2.7", "port": 22, "proven_at": 5}
    assert next_state({"other": other}, [decided("192.0.2.1")], 1000.0, DAY) == {"other": other, **OLD}


def test_the_file_says_what_was_put_into_it() -> None:
    assert parse_state(show_state(OLD), "file") == OLD
    assert parse_state(None, "file") == {}
    assert past_answers(OLD, 1060.0) == {"web": LastGood("192.0.2.1", 443, 60.0)}
    assert past_answers(OLD, 0.0)["web"].age == 0.0


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("no JSON", id="something else"),
        pytest.param("[]", id="a list"),
        pytest.param('{"version": 9, "endpoints": {}}', id="a version to come"),
        pytest.param('{"version": 1, "endpoints": []}', id="no endpoints"),
        pytest.param(show_state({"web": OLD["web"] | {"address": "nowhere"}}), id="no address"),
        pytest.param(show_state({"web": OLD["web"] | {"port": 70000}}), id="no port"),
        pytest.param(
            json.dumps({"version": 1, "endpoints": {"web": {"address": "192.0.2.1", "port": 443}}}), id="no time"
        ),
    ],
)
def test_somebody_else_s_file_is_refused(text: str) -> None:
    with pytest.raises(EndpointError, match=r"state_file 'file'.*Name another file"):
        parse_state(text, "file")
