# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every part of the registry is checked with: problems, fields, names, keys."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Keys = tuple[Any, ...]

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
UNIX_USER = re.compile(r"[a-z_][a-z0-9_-]*")
POSTGRESQL_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
SIZE = re.compile(r"[1-9][0-9]{0,7}[MG]")
UNIT_NAME = re.compile(r"[A-Za-z0-9:_.-]+")
SUGGESTIONS = 50
UNIX_USER_LIMIT = 32
IDENTIFIER_LIMIT = 63
KEY_TYPES = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing to put right: where it is, what was found and expected, and what to do."""

    found: str
    expected: str
    remedy: str
    where: str = ""
    keys: Keys = ()
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        subject = f"{self.where}: " if self.where else ""
        end = "" if self.remedy.endswith("?") else "."
        return (
            f"{place}{subject}{self.found}; expected {self.expected}. {self.remedy[:1].upper()}{self.remedy[1:]}{end}"
        )


class RegistryError(Exception):
    """Everything that is wrong with a registry."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def located(self, file: str, line_of: Callable[[Keys], int]) -> RegistryError:
        """The same error with file and line, in the order of the file."""
        placed = (item if item.file else replace(item, file=file, line=line_of(item.keys)) for item in self.problems)
        return RegistryError(sorted(placed, key=lambda item: (item.file != file, item.file, item.line)))


@dataclass(frozen=True)
class Spot:
    """A place in the registry: the keys that lead there, and what people call it."""

    keys: Keys
    where: str = ""

    def at(self, *keys: object) -> Spot:
        return Spot((*self.keys, *keys), self.where)

    def of(self, part: str) -> Spot:
        """The same place, called a part of what it is in."""
        return Spot(self.keys, f"{self.where}, {part}")


@dataclass
class Report:
    """Collects problems, so that one run shows them all."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, spot: Spot, found: str, expected: str, remedy: str) -> None:
        self.problems.append(Problem(found=found, expected=expected, remedy=remedy, where=spot.where, keys=spot.keys))

    def suggest(self, name: object, known: Collection[str], otherwise: str) -> str:
        """A did-you-mean, or else another remedy; in a flood of problems it would take minutes, and nobody reads it."""
        if len(self.problems) >= SUGGESTIONS:
            return otherwise
        close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
        return f"did you mean {close[0]}?" if close else otherwise

    def raise_problems(self) -> None:
        if self.problems:
            raise RegistryError(self.problems)


@dataclass(frozen=True)
class Field:
    """What a field may hold, in code and in words."""

    accepts: Callable[[Any], bool]
    expected: str
    remedy: str = ""
    required: bool = False


def show(value: object) -> str:
    """A value as the registry would spell it, short enough for a message."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 72 else f"{text[:60]}… ({len(text)} characters)"


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\n" not in value


def is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_memory(value: object) -> bool:
    return isinstance(value, str) and SIZE.fullmatch(value) is not None


def mebibytes(memory: str) -> int:
    """A size such as 448M or 2G in MiB."""
    return int(memory[:-1]) * (1024 if memory.endswith("G") else 1)


def is_switch(value: object) -> bool:
    return isinstance(value, bool)


def is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(is_text(item) for item in value)


TEXT = Field(is_text, "text on one line", "put it in quotes")
TEXTS = Field(is_list_of_text, "a list of texts", "write it as [one, two], and quote what looks like a number")
SWITCH = Field(is_switch, "true or false")
MAPPING = Field(is_mapping, "a mapping", "write it as {name: value}")
MEMORY = Field(is_memory, "whole megabytes or gigabytes", "write it as 448M or 2G")
NUMBER = Field(is_number, "a whole number", "write it without quotes, leading zeros or a point")


def check_entry(report: Report, spot: Spot, entry: object, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The entry's valid fields; unknown, missing and mistyped ones are reported."""
    if entry is None:
        entry = {}
    if not isinstance(entry, dict):
        report.add(spot, f"is {show(entry)}", "a mapping of fields", f"write it as {{{next(iter(fields))}: …}}")
        return {}
    valid: dict[str, Any] = {}
    for name, value in entry.items():
        known = fields.get(name)
        if known is None:
            report.add(
                spot.at(name),
                f"has the unknown field {show(name)}",
                f"one of {', '.join(fields)}",
                report.suggest(name, fields, "take it out"),
            )
        elif not known.accepts(value):
            report.add(
                spot.at(name), f"{name} is {show(value)}", known.expected, known.remedy or f"write {known.expected}"
            )
        else:
            valid[name] = value
    for name, known in fields.items():
        if known.required and name not in entry:
            report.add(spot, f"{name} is missing", known.expected, f"add {name}")
    return valid


def check_section(report: Report, data: Mapping[str, Any], name: str) -> dict[Any, Any]:
    """A section of named entries; an absent or empty one has none."""
    section = data.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        report.add(
            Spot((name,)),
            f"{name} is {show(section)}",
            "a mapping of names to entries",
            "write each entry as `name: {…}`",
        )
        return {}
    return section


def broken_rules(name: object) -> list[str]:
    """The rules that a name of a member or deployment breaks; DNS, unix, PostgreSQL and systemd all carry it."""
    if not isinstance(name, str):
        return ["text (put it in quotes)"]
    user, database = f"nb-{name}", normalise(name)
    rules = {
        "a DNS label (a-z, 0-9 and inner hyphens, at most 63)": DNS_LABEL.fullmatch(name) and name[2:4] != "--",
        "a unix user (nb-<name> at most 32, login from a letter)": len(user) <= UNIX_USER_LIMIT
        and UNIX_USER.fullmatch(name),
        "a PostgreSQL identifier (from a letter, at most 63 bytes)": is_identifier(database),
        "a systemd unit (no spaces or signs)": UNIT_NAME.fullmatch(name),
        "a name without a slot's ending": not name.endswith(("-blue", "-green")),
    }
    return [rule for rule, holds in rules.items() if not holds]


def is_identifier(name: object) -> bool:
    """A PostgreSQL identifier that needs no quotes and is not kept for PostgreSQL itself."""
    return (
        isinstance(name, str)
        and POSTGRESQL_IDENTIFIER.fullmatch(name) is not None
        and len(name.encode()) <= IDENTIFIER_LIMIT
        and not name.startswith("pg_")
    )


def normalise(name: str) -> str:
    """The form in which two names must differ, and a deployment's default database."""
    return name.lower().replace("-", "_")


def is_dns_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= 253 and all(DNS_LABEL.fullmatch(label) for label in name.split("."))


def clean_label(name: object) -> str:
    """A DNS label near a name that is none, for remedies."""
    label = re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-")
    return label[: UNIX_USER_LIMIT - len("nb-")].strip("-") or "a-name"


def public_key(line: object) -> str | None:
    """A public key as type and data, without its comment; None when it is no key."""
    if not isinstance(line, str) or "\n" in line:
        return None
    parts = line.split(None, 2)
    if len(parts) < 2 or parts[0] not in KEY_TYPES:
        return None
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    prefix = len(parts[0]).to_bytes(4, "big") + parts[0].encode()
    return f"{parts[0]} {parts[1]}" if blob.startswith(prefix) and len(blob) > len(prefix) else None


def check_keys(report: Report, spot: Spot, lines: Sequence[object]) -> list[str]:
    """Public keys as OpenSSH writes them, each once."""
    keys: dict[str, None] = {}
    for index, line in enumerate(lines):
        key = public_key(line)
        if key is None:
            report.add(
                spot.at(index),
                f"key {show(line)}",
                "a public key such as `ssh-ed25519 AAAA…`",
                "paste the whole line of the .pub file",
            )
        else:
            keys[key] = None
    return list(keys)
