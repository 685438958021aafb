# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Revisions: a release with its rendered environment, and the one checksum over both."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import string
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.databases import SECOND_TURN, login_of

REVISION_DIGITS = 12
PLAIN = ("name", "address", "port", "server_name", "url", "shared", "release", "workers", "threads", "worker_timeout")
DATABASE = ("database_host", "database_port", "database_name", "database_user", "database_password", "database_query")
# What a deployment has where nothing was planned for it.
UNPLANNED = {"workers": 1, "threads": 4, "worker_timeout": 30}
# A unit file and a process list may be read by anyone on the host.
SECRET_PLACEHOLDERS = ("database_password",)
SECRET_PREFIX = "secret_"
# What stands beside an application's own secrets: how it logs in to its database, and what a rotation replaces.
BESIDE_SECRETS = ("database_password", SECOND_TURN, "previous")


class RevisionError(ValueError):
    """A deployment whose revision can't be rendered, with the field, the value and what to do."""


@dataclass(frozen=True)
class DatabaseEndpoint:
    """A way to the database: the pooler on the host, or the primary itself."""

    host: str
    port: int
    query: str = ""


def placeholders_in(text: str) -> Iterator[str]:
    """Yield the names in braces; formats, conversions and attributes are none."""
    try:
        for _literal, name, specification, conversion in string.Formatter().parse(text):
            if name is not None:
                yield f"{name}:{specification}" if specification or conversion else name
    except ValueError as error:
        raise RevisionError(f"{text!r}: {error}; double a brace that is meant as such: {{{{ }}}}") from error


def check_text(field: str, text: str, known: Collection[str]) -> list[str]:
    """Say what is wrong with the placeholders of one text."""
    try:
        used = list(placeholders_in(text))
    except RevisionError as error:
        return [f"{field}: {error}"]
    return [
        f"{field} uses {{{name}}}, which is no placeholder here; {_suggestion(name, known)}"
        for name in used
        if name not in known
    ]


def _suggestion(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {{{near[0]}}}?" if near else f"known are {', '.join(sorted(known))}"


def check_application(application: Mapping[str, Any], environment: Mapping[str, str], has_database: bool) -> list[str]:
    """Say what is wrong with an application's texts, all at once."""
    public = [*PLAIN, *(DATABASE if has_database else ())]
    public = [name for name in public if name not in SECRET_PLACEHOLDERS]
    hidden = [*SECRET_PLACEHOLDERS, *secret_placeholders(application)]
    problems = []
    for field, command in _commands(application):
        problems += [
            f"{field} uses {{{name}}}, and commands can be read by anyone on the host; pass it through the environment"
            for name in _secrets_in(command, hidden)
        ]
        problems += check_text(field, command, [*public, *hidden])
        problems += _check_command(field, command)
    for variable, text in environment.items():
        problems += check_text(
            f"environment {variable}", text, [*public, *(hidden if has_database else secret_placeholders(application))]
        )
    return problems


def secret_placeholders(application: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the placeholders of the application's own secrets."""
    return tuple(f"{SECRET_PREFIX}{name}" for name in application.get("secrets") or ())


def _commands(application: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, process in application["processes"].items():
        yield f"command of {name}", process["command"]
    for index, command in enumerate(application.get("migrate") or ()):
        yield f"migrate[{index}]", command


def _secrets_in(command: str, hidden: Collection[str]) -> list[str]:
    try:
        return [name for name in placeholders_in(command) if name in hidden]
    except RevisionError:
        return []


def _check_command(field: str, command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        return [f"{field} is {command!r}: {error}; close the quotation"]
    return [] if words else [f"{field} is empty; say what is run"]


def values_for(
    deployment: Mapping[str, Any],
    slot: str,
    release: str,
    address: str,
    endpoint: DatabaseEndpoint,
    secrets: Mapping[str, Any],
    shared: str,
) -> dict[str, str]:
    """Return what the placeholders stand for in one slot on one host."""
    values = {
        "name": deployment["name"],
        "address": f"[{address}]" if ":" in address else address,
        "port": deployment["ports"][slot],
        "server_name": deployment["server_name"],
        "url": deployment["url"],
        "shared": shared,
        "release": release,
        **{name: (deployment.get("share") or UNPLANNED)[name] for name in UNPLANNED},
        **{f"{SECRET_PREFIX}{name}": value for name, value in secrets.items() if name not in BESIDE_SECRETS},
    }
    if deployment["database"]:
        values |= {
            "database_host": endpoint.host,
            "database_port": endpoint.port,
            "database_name": deployment["database"],
            "database_user": login_of(deployment["database_role"], secrets),
            "database_password": secrets["database_password"],
            "database_query": endpoint.query,
        }
    return {name: str(value) for name, value in values.items()}


def render(text: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders of a text that was checked before."""
    return text.format_map(values)


def render_environment(environment: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Fill the placeholders of all environment variables."""
    return {name: render(str(text), values) for name, text in environment.items()}


def missing_secrets(
    deployment: Mapping[str, Any], application: Mapping[str, Any], secrets: Mapping[str, str]
) -> list[str]:
    """Return the names of the secrets that the deployment needs and doesn't have."""
    needed = [*(["database_password"] if deployment["database"] else []), *(application.get("secrets") or ())]
    return [name for name in needed if not secrets.get(name)]


def revision_id(parts: Mapping[str, Any]) -> str:
    """Return one checksum over everything that decides how a deployment runs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:REVISION_DIGITS]


def environment_file(environment: Mapping[str, str]) -> str:
    """Write variables as systemd reads them: in double quotes, where four characters need a backslash."""
    return "".join(f'{name}="{_quoted(value)}"\n' for name, value in sorted(environment.items()))


def _quoted(value: str) -> str:
    return re.sub(r'(["\\`$])', r"\\\1", value)
