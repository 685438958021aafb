# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate `command`: a check of the team's own, told by its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    FAIL,
    HOLD,
    PASS,
    Verdict,
    check_fields,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    UNIX_USER,
    Field,
    is_list_of_text,
    is_number,
)

GATE = "command"
LONGEST_TIMEOUT = 600
TIMEOUT, USER = 10, "nobody"
# As sysexits.h has it: try again later.
NOT_YET = 75
LONGEST_OUTPUT = 300


def _is_command(value: object) -> bool:
    return is_list_of_text(value) and isinstance(value, list) and bool(value) and value[0].startswith("/")


def _is_timeout(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 1 <= value <= LONGEST_TIMEOUT


def _is_user(value: object) -> bool:
    return isinstance(value, str) and UNIX_USER.fullmatch(value) is not None


FIELDS = {
    "argv": Field(
        _is_command,
        "a list of a program's whole path and its arguments",
        "write it as [/usr/local/bin/check, --quick]",
        required=True,
    ),
    "timeout": Field(_is_timeout, f"whole seconds from 1 to {LONGEST_TIMEOUT}", "write it without quotes, as 10"),
    "user": Field(_is_user, "a user of the database server", f"leave it out for {USER}"),
}


@dataclass(frozen=True)
class CommandFacts:
    """How the program ended: its exit code, or why it has none, and what it wrote."""

    code: int | None
    output: str = ""
    error: str = ""


def check(spec: Mapping[str, Any], field: str) -> list[str]:
    """Everything wrong with the gate's entry in the registry."""
    return check_fields(spec, field, FIELDS)


def judge(spec: Mapping[str, Any], facts: CommandFacts) -> Verdict:
    """Say what the program's end means: 0 passes, 75 holds, all else fails; one that didn't end holds."""
    program = spec["argv"][0]
    lines = [line.strip() for line in facts.output.splitlines() if line.strip()]
    said = f": {lines[-1][:LONGEST_OUTPUT]}" if lines else ""
    evidence = {"code": facts.code, "output": facts.output[-LONGEST_OUTPUT:]}
    if facts.code is None:
        return Verdict(GATE, HOLD, f"{program} {facts.error}", evidence)
    verdict = {0: PASS, NOT_YET: HOLD}.get(facts.code, FAIL)
    return Verdict(GATE, verdict, f"{program} ended with {facts.code}{said}", evidence)
