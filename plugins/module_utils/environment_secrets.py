# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An environment's secrets: which are needed, which are missing, which are no secrets at all.

Nothing here reads a file or makes randomness; whoever calls passes both in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.databases import SECOND_TURN

# Characters that a secret must have where nothing else is asked for.
DEFAULT_LENGTH = 32
SHORTEST = 8

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")

# Below this name lies, beside a mapping's secrets, what a rotation replaces until nothing uses it any more.
PREVIOUS = "previous"

# A value that is one of these words, or starts with one of the longer ones, was never chosen by anyone.
# fmt: off
SAMPLE_WORDS = frozenset({
    "admin", "changeit", "default", "dummy", "fixme", "foobar", "letmein", "none", "null",
    "passw0rd", "password", "postgres", "root", "secret", "test", "todo", "token",
})
SAMPLE_STARTS = (
    "changeme", "example", "insertyour", "notasecret", "placeholder",
    "replaceme", "replacethis", "sample", "yourpassword", "yoursecret",
)
# fmt: on
TEMPLATE_STARTS = ("<", "${", "{{")

Path = tuple[str, ...]


class SecretsError(ValueError):
    """Secrets that can't be used, with the name and the remedy."""


@dataclass(frozen=True)
class SecretsPlan:
    """What the secrets will be, and which names are new, kept, or asked for by nobody."""

    secrets: dict[str, object]
    made: tuple[str, ...]
    present: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return bool(self.made)


@dataclass(frozen=True)
class Renewal:
    """What the secrets will be once some are renewed or settled; `renewed` and `settled` are dotted names."""

    secrets: dict[str, object]
    renewed: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecretProblem:
    """Why one secret can't be used; never says its value."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


def flatten_required(required: object) -> dict[Path, int]:
    """Give every required name with the characters it must have at least.

    Takes nested mappings whose leaves are lengths (or null for the default), or a list of dotted names.
    """
    if isinstance(required, Mapping):
        return dict(sorted(_required_leaves(required, ())))
    if isinstance(required, Sequence) and not isinstance(required, (str, bytes)):
        return {_split_name(name): DEFAULT_LENGTH for name in sorted(set(map(str, required)))}
    raise SecretsError(
        f"required: must be a mapping of names to lengths or a list of dotted names, not {_kind(required)}"
    )


def plan_secrets(existing: object, required: object, make: Callable[[int], str]) -> SecretsPlan:
    """Keep every secret that there is, and make those that are required and missing."""
    present = flatten_secrets(existing)
    wanted = flatten_required(required)
    for path in wanted:
        _refuse_overlap(path, present)
    missing = {path: make(length) for path, length in wanted.items() if path not in present}
    return SecretsPlan(
        secrets=_nest({**present, **missing}),
        made=_dotted(missing),
        present=_dotted(path for path in wanted if path in present),
        unused=_dotted(path for path in present if path not in wanted),
    )


def renew_secrets(existing: object, renew: Mapping[str, str | bool | None], make: Callable[[int], str]) -> Renewal:
    """Give names new values, and keep what they were below `previous` of the same mapping.

    A value of None is made, and what is False isn't there. Where something is kept already, a renewal is under way: it goes on with the values that it has.
    """
    present = flatten_secrets(existing)
    under_way = {path[:-2] for path in present if PREVIOUS in path[-2:-1]}
    wanted = {_split_name(name): value for name, value in renew.items()}
    changing = {path: value for path, value in wanted.items() if path[:-1] not in under_way}
    values = dict(present)
    for path, value in changing.items():
        if path in present:
            values[(*path[:-1], PREVIOUS, path[-1])] = present[path]
        elif value is None:
            raise SecretsError(f"{'.'.join(path)} is not there, so there is nothing to replace; run site.yml first")
        values[path] = make(DEFAULT_LENGTH) if value is None else value
        if value is False:
            del values[path]
    return Renewal(_nest(values), renewed=_dotted(changing))


def settle_secrets(existing: object, names: Collection[str]) -> Renewal:
    """Forget what was kept below `previous` of these mappings."""
    present = flatten_secrets(existing)
    gone = {_split_name(name) for name in names} & {path[:-2] for path in present if PREVIOUS in path[-2:-1]}
    left = {path: value for path, value in present.items() if not (PREVIOUS in path[-2:-1] and path[:-2] in gone)}
    return Renewal(_nest(left), settled=_dotted(gone))


def find_problems(secrets: object, required: object) -> tuple[SecretProblem, ...]:
    """Name every required secret that is missing, empty, too short, a sample, or used twice."""
    tree = secrets if isinstance(secrets, Mapping) else {}
    owners: dict[str, str] = {}
    problems = []
    for path, length in flatten_required(required).items():
        name = ".".join(path)
        value = _value_at(tree, path)
        reason = _reason_against(value, path, length)
        if reason is None and isinstance(value, str):
            first = owners.setdefault(value, name)
            reason = None if first == name else f"has the same value as {first}"
        if reason is not None:
            problems.append(SecretProblem(name, reason))
    return tuple(problems)


def flatten_secrets(secrets: object) -> dict[Path, str | bool]:
    """Give every secret by its path; refuse what is no nested mapping of texts, beside the truth about whose turn it is."""
    if not isinstance(secrets, Mapping):
        raise SecretsError(f"holds {_kind(secrets)}, where nested mappings of names to texts are expected")
    return dict(sorted(_secret_leaves(secrets, ())))


def render_secrets(secrets: Mapping[str, object]) -> str:
    """Write the secrets as YAML, one quoted text a line."""
    header = "# This environment's secrets, made once. Keep this file: the servers know these values.\n---\n"
    return header + "".join(_render_lines(secrets, 0))


def required_by_deployments(
    deployments: Mapping[str, Any], applications: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """Name what each deployment needs: the password of its database role, and its application's own secrets."""
    required = {}
    for name, deployment in sorted(deployments.items()):
        application = applications.get(deployment["application"])
        if application is None:
            raise SecretsError(f"deployment {name}: there is no application {deployment['application']!r}")
        required[name] = dict.fromkeys(sorted({"database_password", *application.get("secrets", ())}), DEFAULT_LENGTH)
    return required


def make_secret(length: int, token: Callable[[int], str]) -> str:
    """Make a text of at least `length` characters that starts with a letter or digit.

    A leading dash would read as an option wherever a tool takes the value as an argument.
    """
    while True:
        value = token(length)
        if value[:1].isalnum():
            return value


def _required_leaves(tree: Mapping[object, object], above: Path) -> list[tuple[Path, int]]:
    leaves: list[tuple[Path, int]] = []
    for key, value in tree.items():
        path = (*above, _checked_name(key, above))
        if isinstance(value, Mapping):
            leaves.extend(_required_leaves(value, path))
        else:
            leaves.append((path, _checked_length(value, path)))
    return leaves


def _checked_length(value: object, path: Path) -> int:
    if value is None:
        return DEFAULT_LENGTH
    if isinstance(value, bool) or not isinstance(value, int) or value < SHORTEST:
        raise SecretsError(
            f"required: {'.'.join(path)} must be a length of at least {SHORTEST} characters, not {value!r}"
        )
    return value


def _secret_leaves(tree: Mapping[object, object], above: Path) -> list[tuple[Path, str | bool]]:
    leaves: list[tuple[Path, str | bool]] = []
    for key, value in tree.items():
        path = (*above, _checked_name(key, above))
        if isinstance(value, Mapping):
            leaves.extend(_secret_leaves(value, path))
        elif (isinstance(value, str) and value) or (path[-1] == SECOND_TURN and isinstance(value, bool)):
            leaves.append((path, value))
        else:
            found = "an empty text" if value == "" else _kind(value)
            raise SecretsError(
                f"{'.'.join(path)} holds {found}, where a text is expected; quote the value, or take the name out to have one made"
            )
    return leaves


def _checked_name(key: object, above: Path) -> str:
    if not isinstance(key, str) or not NAME.match(key):
        where = f" below {'.'.join(above)}" if above else ""
        raise SecretsError(f"{key!r}{where} is no name for a secret: use letters, digits, - and _")
    return key


def _split_name(name: str) -> Path:
    path: Path = ()
    for part in name.split("."):
        path = (*path, _checked_name(part, path))
    return path


def _refuse_overlap(path: Path, present: Mapping[Path, str | bool]) -> None:
    for other in present:
        shorter = min(len(path), len(other))
        if path != other and path[:shorter] == other[:shorter]:
            raise SecretsError(
                f"{'.'.join(other)} is there, so {'.'.join(path)} can't be: a name holds either a text or further names"
            )


def _value_at(tree: object, path: Path) -> object:
    for part in path:
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _reason_against(value: object, path: Path, length: int) -> str | None:
    if value is None:
        return "is missing"
    if not isinstance(value, str):
        return f"is {_kind(value)}, where a text is expected; quote it"
    if not value.strip():
        return "is empty"
    if _is_sample(value, path):
        return "is a sample, not a secret"
    if len(value) < length:
        return f"has {len(value)} characters, fewer than the {length} it needs"
    return None


def _is_sample(value: str, path: Path) -> bool:
    bare = re.sub(r"[^a-z0-9]", "", value.lower())
    names = {re.sub(r"[^a-z0-9]", "", part.lower()) for part in (*path, "".join(path))}
    return (
        len(set(bare)) <= 1
        or bare in names
        or bare.rstrip("0123456789") in SAMPLE_WORDS
        or bare in SAMPLE_WORDS
        or bare.startswith(SAMPLE_STARTS)
        or value.strip().startswith(TEMPLATE_STARTS)
    )


def _nest(leaves: Mapping[Path, str | bool]) -> dict[str, object]:
    tree: dict[str, Any] = {}
    for path, value in sorted(leaves.items()):
        level = tree
        for part in path[:-1]:
            level = level.setdefault(part, {})
        level[path[-1]] = value
    return tree


def _render_lines(tree: Mapping[str, object], depth: int) -> list[str]:
    lines: list[str] = []
    for key, value in tree.items():
        # Quoted, so that names like `on`, `null` or `1` stay texts.
        start = f"{'  ' * depth}{json.dumps(key)}:"
        if isinstance(value, Mapping):
            lines += [f"{start}\n", *_render_lines(value, depth + 1)]
        else:
            lines.append(f"{start} {json.dumps(value)}\n")
    return lines


def _dotted(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(".".join(path) for path in paths))


def _kind(value: object) -> str:
    # By isinstance, for what comes from Ansible are subclasses of the plain types; bool stands before int, which it is too.
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "a truth value"),
        (int, "a number"),
        (float, "a number"),
        (str, "a text"),
        (list, "a list"),
        (Mapping, "a mapping"),
    )
    if value is None:
        return "nothing"
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a {type(value).__name__}")
