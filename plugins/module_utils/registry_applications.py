# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The applications that deployments run: told by data, checked before any server sees them."""

from __future__ import annotations

import posixpath
import re
import string
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.given_source import git_flaws
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    DNS_LABEL,
    MAPPING,
    MEMORY,
    SWITCH,
    TEXT,
    TEXTS,
    Field,
    Report,
    Spot,
    check_entry,
    check_section,
    clean_label,
    is_number,
    is_text,
    mebibytes,
    show,
)
from ansible_collections.nectar.backend.plugins.module_utils.registry_rollout import (
    ROLLOUT,
    merge_rollout,
    read_rollout,
)
from ansible_collections.nectar.backend.plugins.module_utils.revisions import BESIDE_SECRETS

PLACEHOLDERS = (
    "name", "address", "port", "server_name", "url", "shared", "release", "workers", "threads", "worker_timeout",
    "database_host", "database_port", "database_name", "database_user", "database_password", "database_query",
)  # fmt: skip
PROCESS_TYPES = ("web", "worker", "timer")
SOURCES = ("directory", "git", "wheel", "package")
# What the budget decides: a second figure elsewhere would be one too many.
BUDGET_VARIABLES = {"WEB_CONCURRENCY": "workers"}
MOST_WORKERS = 64
LONGEST_MIGRATION = 86_400
# Said of a deployment's migrations only where it differs from what holds for all.
MIGRATION_FIELDS = ("backward_compatible", "migrate_lock_timeout", "migrate_statement_timeout")
SLUG = re.compile(r"[a-z][a-z0-9_]*")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _is_url_path(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"/[^\s?#]*", value) is not None


def _is_slugs(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and SLUG.fullmatch(item) for item in value)


def _are_secrets(value: object) -> bool:
    return isinstance(value, list) and _is_slugs(value) and not {*BESIDE_SECRETS} & {*value}


def _is_inner_paths(value: object) -> bool:
    return isinstance(value, list) and all(is_text(item) and _is_inner_path(item) for item in value)


def _is_inner_path(path: str) -> bool:
    return not path.startswith("/") and posixpath.normpath(path) == path and path.split("/")[0] not in ("..", ".")


def _is_process_type(value: object) -> bool:
    return value in PROCESS_TYPES


def _is_seconds(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 0 <= value <= LONGEST_MIGRATION


def _is_count(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and 1 <= value <= MOST_WORKERS


COUNT = Field(
    _is_count, f"a whole number from 1 to {MOST_WORKERS}", "write it without quotes, or leave it to the budget"
)
SECONDS = Field(_is_seconds, f"whole seconds up to {LONGEST_MIGRATION}", "write it without quotes, as 5")
URL_PATH = Field(_is_url_path, "a path that starts with /", "write it as /healthz, without a query")
FIELDS = {
    "source": Field(MAPPING.accepts, MAPPING.expected, MAPPING.remedy, required=True),
    "lock": TEXT,
    "processes": Field(MAPPING.accepts, MAPPING.expected, MAPPING.remedy, required=True),
    "migrate": TEXTS,
    "migrate_lock_timeout": SECONDS,
    "migrate_statement_timeout": SECONDS,
    "backward_compatible": SWITCH,
    "health_path": URL_PATH,
    "ready_path": URL_PATH,
    "environment": MAPPING,
    "rollout": ROLLOUT,
    "secrets": Field(
        _are_secrets,
        f"a list of names of a-z, 0-9 and _, none of them {', '.join(BESIDE_SECRETS)}",
        "write it as [admin_password]",
    ),
    "shared_paths": Field(
        _is_inner_paths,
        "a list of paths inside the shared folder",
        "write it as [uploads], without / at the start or ..",
    ),
}
SOURCE_FIELDS = dict.fromkeys((*SOURCES, "version", "revision", "subdirectory"), TEXT)
PROCESS_FIELDS = {
    "type": Field(_is_process_type, f"one of {', '.join(PROCESS_TYPES)}", required=True),
    "command": Field(TEXT.accepts, TEXT.expected, TEXT.remedy, required=True),
    "schedule": TEXT,
    "memory": MEMORY,
    "workers": COUNT,
    "threads": COUNT,
}


def read_applications(
    report: Report, data: Mapping[str, Any], absolute: Callable[[str], str]
) -> dict[str, dict[str, Any]]:
    """All applications, with every field present and paths made absolute."""
    section = check_section(report, data, "applications")
    return {str(name): _application(report, name, entry, absolute) for name, entry in section.items()}


def _application(report: Report, name: object, entry: object, absolute: Callable[[str], str]) -> dict[str, Any]:
    spot = Spot(("applications", name), f"application {name}")
    if not isinstance(name, str) or not DNS_LABEL.fullmatch(name):
        report.add(spot, f"name {show(name)}", "a name of a-z, 0-9 and inner hyphens", f"call it {clean_label(name)}")
    fields = check_entry(report, spot, entry, FIELDS)
    secrets = fields.get("secrets", [])
    application: dict[str, Any] = {
        "name": str(name),
        "source": _source(report, spot.at("source"), fields.get("source"), absolute),
        "processes": _processes(report, spot.at("processes"), fields.get("processes"), secrets),
        "migrate": fields.get("migrate", []),
        "environment": read_environment(report, spot.at("environment"), fields.get("environment", {}), secrets),
        "secrets": secrets,
        "shared_paths": fields.get("shared_paths", []),
        **merge_rollout(read_rollout(report, spot, fields)),
    }
    for index, command in enumerate(application["migrate"]):
        check_placeholders(report, spot.at("migrate", index), "migrate", command, secrets)
    if "lock" in fields:
        application["lock"] = absolute(fields["lock"])
    application.update(
        (path, fields[path]) for path in ("health_path", "ready_path", *MIGRATION_FIELDS) if path in fields
    )
    return application


def _source(report: Report, spot: Spot, entry: object, absolute: Callable[[str], str]) -> dict[str, str]:
    if entry is None:
        return {}
    fields = check_entry(report, spot.of("source"), entry, SOURCE_FIELDS)
    given = [name for name in SOURCES if name in fields]
    if len(given) != 1:
        found = f"source names {' and '.join(given)}" if given else "source names nothing to install"
        report.add(
            spot,
            found,
            f"one of {', '.join(SOURCES)}",
            'write it as {directory: ../app} or {package: app, version: "1.0"}',
        )
    elif ("version" in fields) != (given == ["package"]):
        found = "version is missing" if given == ["package"] else "version is given beside what has its own"
        report.add(
            spot,
            found,
            "a version with a package, and only there",
            "add the version in quotes" if given == ["package"] else "take it out",
        )
    elif given == ["git"]:
        for flaw in git_flaws(fields):
            report.add(spot, flaw.found, flaw.expected, f"{flaw.remedy[:1].lower()}{flaw.remedy[1:]}")
    elif stray := [name for name in ("revision", "subdirectory") if name in fields]:
        report.add(spot, f"{stray[0]} is given, and source is no git", "it with git, and only there", "take it out")
    return {name: absolute(value) if name in ("directory", "wheel") else value for name, value in fields.items()}


def _processes(report: Report, spot: Spot, entries: object, secrets: Collection[str]) -> dict[str, Any]:
    if not isinstance(entries, dict):
        return {}
    processes = {
        str(name): _process(report, spot.at(name).of(f"process {name}"), name, entry, secrets)
        for name, entry in entries.items()
    }
    web = [name for name, process in processes.items() if process.get("type") == "web"]
    if len(web) > 1:
        report.add(
            spot,
            f"processes {' and '.join(web)} are of type web",
            "one web process, which has the slot's port",
            "make the other a worker, or an application",
        )
    if not processes:
        report.add(spot, "processes is empty", "at least one process", "add web: {type: web, command: …}")
    return processes


def _process(report: Report, spot: Spot, name: object, entry: object, secrets: Collection[str]) -> dict[str, Any]:
    if not isinstance(name, str) or not DNS_LABEL.fullmatch(name):
        report.add(spot, f"name {show(name)}", "a name of a-z, 0-9 and inner hyphens", f"call it {clean_label(name)}")
    fields = check_entry(report, spot, entry, PROCESS_FIELDS)
    if "type" in fields and ("schedule" in fields) != (fields["type"] == "timer"):
        found = "schedule is missing" if fields["type"] == "timer" else f"schedule is given for a {fields['type']}"
        report.add(
            spot, found, "a schedule for a timer, and only there", "write it as systemd's OnCalendar, or take it out"
        )
    if "command" in fields:
        check_placeholders(report, spot.at("command"), "command", fields["command"], secrets)
    if fields.get("type") == "timer":
        for name in {"workers", "threads"} & fields.keys():
            report.add(
                spot.at(name), f"{name} is given for a timer", f"{name} of what runs all the time", "take it out"
            )
    return fields | ({"memory": mebibytes(fields["memory"])} if "memory" in fields else {})


def read_environment(
    report: Report, spot: Spot, environment: Mapping[Any, Any], secrets: Collection[str] | None
) -> dict[str, str]:
    """Environment variables as text; `secrets` is None where they can't be known."""
    variables: dict[str, str] = {}
    for name, value in environment.items():
        if not isinstance(name, str) or not ENVIRONMENT_NAME.fullmatch(name):
            report.add(
                spot.at(name), f"environment has {show(name)}", "a name of letters, digits and underscores", "rename it"
            )
        elif name in BUDGET_VARIABLES:
            field = BUDGET_VARIABLES[name]
            report.add(
                spot.at(name),
                f"environment {name} is {show(value)}, which the budget sets",
                f"{field} of the web process or of the deployment",
                f"write {field}: {show(value)} there instead",
            )
        elif isinstance(value, bool) or not isinstance(value, (str, int)) or "\n" in str(value) or "\0" in str(value):
            report.add(spot.at(name), f"environment {name} is {show(value)}", "text on one line", "put it in quotes")
        else:
            variables[name] = str(value)
            check_placeholders(report, spot.at(name), f"environment {name}", str(value), secrets)
    return variables


def check_placeholders(report: Report, spot: Spot, field: str, text: str, secrets: Collection[str] | None) -> None:
    """Refuse a placeholder that nothing fills."""
    known = [*PLACEHOLDERS, *(f"secret_{name}" for name in secrets or ())]
    try:
        used = list(_placeholders(text))
    except ValueError as error:
        report.add(
            spot,
            f"{field} is {show(text)} ({error})",
            "placeholders such as {port}",
            "double a brace that is meant as such: {{ }}",
        )
        return
    for name in used:
        if name in known or (secrets is None and name.startswith("secret_")):
            continue
        otherwise = "add it to secrets" if name.startswith("secret_") else "double a brace that is meant as such: {{ }}"
        report.add(
            spot, f"{field} uses {{{name}}}", f"one of {', '.join(known)}", report.suggest(name, known, otherwise)
        )


def _placeholders(text: str) -> Iterator[str]:
    for _literal, name, specification, conversion in string.Formatter().parse(text):
        if name is not None:
            yield f"{name}:{specification}" if specification or conversion else name
