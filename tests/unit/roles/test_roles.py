# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every role promises: documented variables that agree with its defaults, a page and a verify file of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; an empty file is an empty mapping."""
    return yaml.safe_load(path.read_text()) or {}


def entry_points(role: Path) -> dict[str, Any]:
    """Return the role's argument specifications by entry point."""
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]


def documented(role: Path) -> dict[str, Any]:
    """Return every documented option of every entry point."""
    return {name: option for spec in entry_points(role).values() for name, option in spec.get("options", {}).items()}


each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


@each_role
def test_defaults_are_documented_options(role: Path) -> None:
    assert set(load(role / "defaults" / "main.yml")) <= set(documented(role))


@each_role
def test_documented_defaults_are_the_defaults(role: Path) -> None:
    defaults = load(role / "defaults" / "main.yml")
    options = documented(role)
    stated = {name: option["default"] for name, option in options.items() if "default" in option}
    assert {name: defaults.get(name, "(none)") for name in stated} == stated


@each_role
def test_an_option_without_default_is_required_or_described_as_optional(role: Path) -> None:
    defaults = load(role / "defaults" / "main.yml")
    silent = [
        name
        for name, option in documented(role).items()
        if name not in defaults
        and not option.get("required")
        and "omit" not in " ".join(str(option["description"]).lower().split())
    ]
    assert silent == []


@each_role
def test_every_default_stands_under_a_plain_sentence(role: Path) -> None:
    lines = (role / "defaults" / "main.yml").read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"[a-z_]+:", line) and not before.startswith("#")
    ]
    assert bare == []


@each_role
def test_variables_carry_the_role_name(role: Path) -> None:
    assert [name for name in documented(role) if not name.startswith(f"{role.name}_")] == []


@each_role
def test_secrets_are_marked(role: Path) -> None:
    spoken = [
        name
        for name, option in documented(role).items()
        if re.search(r"_(password|secret)$", name) and option.get("no_log") is not True
    ]
    assert spoken == []


@each_role
def test_every_entry_point_has_its_tasks(role: Path) -> None:
    assert [name for name in entry_points(role) if not (role / "tasks" / f"{name}.yml").exists()] == []


@each_role
def test_the_role_has_a_page_and_a_verify_file(role: Path) -> None:
    wanted = [role / "README.md", role / "meta" / "main.yml", ROOT / "molecule" / "verify" / f"test_{role.name}.py"]
    assert [str(path.relative_to(ROOT)) for path in wanted if not path.exists()] == []


def tasks_in(path: Path) -> Iterator[dict[str, Any]]:
    """Every task of a file, those in blocks too."""
    waiting = list(yaml.safe_load(path.read_text()) or [])
    while waiting:
        task = waiting.pop()
        yield task
        for part in ("block", "rescue", "always"):
            waiting += task.get(part, [])


@each_role
def test_a_host_that_may_be_away_ends_no_task_that_runs_once(role: Path) -> None:
    """For ansible-core it would end the play, whatever ignore_unreachable says, unless errors are ignored too."""
    ending = [
        task["name"]
        for path in (role / "tasks").glob("*.yml")
        for task in tasks_in(path)
        if task.get("run_once") and task.get("ignore_unreachable") and not task.get("ignore_errors")
    ]
    assert ending == []
