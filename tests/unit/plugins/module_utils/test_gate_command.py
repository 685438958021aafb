# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the end of a team's own check means."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.gate_command import CommandFacts, check, judge

SPEC = {"argv": ["/usr/local/bin/check", "--quick"]}


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        pytest.param(CommandFacts(0), "pass", "/usr/local/bin/check ended with 0", id="well"),
        pytest.param(CommandFacts(0, "one\n two \n\n"), "pass", "/usr/local/bin/check ended with 0: two", id="it says"),
        pytest.param(CommandFacts(75, "not yet"), "hold", "/usr/local/bin/check ended with 75: not yet", id="not yet"),
        pytest.param(CommandFacts(1, "bad"), "fail", "/usr/local/bin/check ended with 1: bad", id="bad"),
        pytest.param(CommandFacts(-9), "fail", "/usr/local/bin/check ended with -9", id="killed"),
        pytest.param(
            CommandFacts(None, error="did not end within 10 s"),
            "hold",
            "/usr/local/bin/check did not end within 10 s",
            id="it hangs",
        ),
    ],
)
def test_judge(facts: CommandFacts, verdict: str, reason: str) -> None:
    found = judge(SPEC, facts)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_long_output_is_cut() -> None:
    assert len(judge(SPEC, CommandFacts(1, "x" * 10_000)).reason) < 400


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({**SPEC, "timeout": 60, "user": "checker"}, None),
        ({}, "argv is missing"),
        ({"argv": []}, "argv is []"),
        ({"argv": "/bin/true"}, 'argv is "/bin/true"; expected a list'),
        ({"argv": ["check"]}, "a program's whole path"),
        ({**SPEC, "timeout": 0}, "timeout is 0"),
        ({**SPEC, "user": "a b"}, 'user is "a b"'),
    ],
)
def test_check(spec: dict[str, Any], said: str | None) -> None:
    problems = check(spec, "command")
    assert [said in problem for problem in problems] == ([True] if said else [])
