# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a registry's YAML on the controller: quickly, strictly, and with the line of every key.

It works on libyaml's events, because building PyYAML's nodes takes four times the memory, hides duplicate keys, and
overflows the C stack on deeply nested input. Lines are looked up by a second pass, which only an error ever pays for.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import yaml
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Keys, Problem, RegistryError

SIZE_LIMIT = 8 * 1024 * 1024
DEPTH_LIMIT = 32
TOO_DEEP = (f"nests deeper than {DEPTH_LIMIT} levels", "a registry of a few levels", "check the brackets")
# Values that aliases may add to a file; enough for any sharing, and quickly passed by an alias bomb.
ALIASED_LIMIT = 200_000

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Octal, hexadecimal, base-60 numbers and dates stay text: nobody means 8 by `010`, or 750 by `12:30`.
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*)?\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*\.(?:[eE][-+]?[0-9]+)?")
WORDS: dict[str, bool | None] = {
    spelling: value
    for words, value in (("true yes on", True), ("false no off", False), ("null", None))
    for word in words.split()
    for spelling in (word, word.capitalize(), word.upper())
} | {"": None, "~": None}
TAGS = {f"tag:yaml.org,2002:{kind}": kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


class Source:
    """One file's plain data, and where each key stands in it.

    Mistakes that leave the rest readable, such as a duplicate key, wait in `problems`, so that the registry's own
    mistakes are shown beside them.
    """

    def __init__(self, name: str, text: str, data: Any = None) -> None:
        self.name = name
        self.text = text
        self.data = data
        self.problems: list[Problem] = []
        if data is None:
            self.data, self.problems = build(name, text)

    @cached_property
    def _lines(self) -> dict[Keys, int]:
        builder = Builder(self.name, lines={})
        builder.consume(self.text)
        return builder.lines or {}

    def line_of(self, keys: Keys) -> int:
        """The line of a key, or of the nearest enclosing key that is written down."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 1)


def fingerprint(text: str) -> str:
    """What changes whenever the text does."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_source(path: str, name: str) -> Source:
    """A file's data, which must be without any mistake."""
    source = Source(name, read_text(path, name))
    if source.problems:
        raise RegistryError(source.problems)
    return source


def read_text(path: str, name: str) -> str:
    """The file's text; refuse what can't be a registry before any parsing."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise refusal(name, 1, "is not a regular file", "a YAML file", "name the file itself")
            if status.st_size > SIZE_LIMIT:
                raise refusal(
                    name,
                    1,
                    f"has {status.st_size:,} bytes",
                    f"at most {SIZE_LIMIT:,}",
                    "10,000 members take 1,000,000; check that this is the right file",
                )
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise refusal(
            name, 1, f"can't be read: {error.strerror}", "a readable YAML file", "check its path and mode"
        ) from None
    return decode(name, content)


def decode(name: str, content: bytes) -> str:
    """UTF-8 text without control characters, or a refusal that names the line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refusal(
            name,
            line,
            f"holds the byte 0x{content[error.start]:02x}, which is not UTF-8",
            "YAML text",
            "save it as UTF-8 text",
        ) from None
    if found := CONTROL_CHARACTER.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise refusal(
            name, line, f"holds the control character 0x{ord(found.group()):02x}", "YAML text", "save it as UTF-8 text"
        )
    if text.startswith("$ANSIBLE_VAULT"):
        raise refusal(
            name,
            1,
            "is encrypted",
            "a plain registry, which holds no secrets",
            "decrypt it with ansible-vault, and keep secrets in group_vars/<group>/vault.yml",
        )
    return text


def build(name: str, text: str) -> tuple[Any, list[Problem]]:
    """One YAML document's plain data, and the mistakes in it; those that hide the rest are raised."""
    builder = Builder(name)
    data = builder.consume(text)
    if data is None and not builder.problems:
        builder.refuse(1, "is empty", "a mapping of sections", "see docs/registry.md for the smallest registry")
    if data is None or builder.broken_off:
        raise RegistryError(builder.problems)
    return data, builder.problems


def refusal(name: str, line: int, found: str, expected: str, remedy: str) -> RegistryError:
    """A file-level error."""
    return RegistryError([Problem(found=found, expected=expected, remedy=remedy, file=name, line=line)])


class Frame:
    """A mapping or list that is still open."""

    __slots__ = ("anchor", "at", "container", "key", "merged", "size")

    def __init__(self, container: Any, at: object, anchor: str | None) -> None:
        self.container = container
        self.at = at  # this container's own key or index in its parent
        self.anchor = anchor
        self.key: Any = NO_KEY
        self.merged: list[dict[Any, Any]] = []
        self.size = 1


NO_KEY = object()
MERGE = object()


class Builder:
    """Turn parser events into plain data; note duplicate keys, tags and aliases that can't be meant."""

    def __init__(self, name: str, lines: dict[Keys, int] | None = None) -> None:
        self.name = name
        self.lines = lines
        self.problems: list[Problem] = []
        self.stack: list[Frame] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.aliased = 0
        self.documents = 0
        self.broken_off = False
        self.root: Any = None

    def consume(self, text: str) -> Any:
        """Read all events; a syntax error ends the reading, and is one problem among those found so far."""
        try:
            for event in self._events(text):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._count_document(event)
                elif isinstance(event, yaml.NodeEvent):
                    self._node(event)
                elif isinstance(event, yaml.CollectionEndEvent):
                    self._close(event)
        except yaml.MarkedYAMLError as error:
            self.broken_off = True
            self._syntax(error, text)
        except RegistryError as error:
            self.broken_off = True
            self.problems.extend(error.problems)
        return self.root

    @staticmethod
    def _events(text: str) -> Iterator[yaml.Event]:
        return yaml.parse(text, Loader=LOADER)

    def refuse(self, line: int, found: str, expected: str, remedy: str) -> None:
        self.problems.append(Problem(found=found, expected=expected, remedy=remedy, file=self.name, line=line))

    def _count_document(self, event: yaml.Event) -> None:
        self.documents += 1
        if self.documents == 2:
            self.refuse(
                line_of(event), "starts a second YAML document", "one document", "join them, or take out the line `---`"
            )

    def _node(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
            self._place(value, event, 1)
        elif isinstance(event, yaml.AliasEvent):
            self._place(*self._alias(event))
        else:
            self._open(event)

    def _open(self, event: yaml.NodeEvent) -> None:
        if len(self.stack) >= DEPTH_LIMIT:
            raise refusal(self.name, line_of(event), *TOO_DEEP)
        self._refuse_tag(event)
        container: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        at = self._place(container, event, 0)
        self.stack.append(Frame(container, at, event.anchor))

    def _close(self, event: yaml.Event) -> None:
        frame = self.stack.pop()
        for merged in frame.merged:
            for key, value in merged.items():
                frame.container.setdefault(key, value)
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.container, frame.size)
        if self.stack:
            self.stack[-1].size += frame.size
        if frame.at is MERGE:
            self._merge(frame.container, event)

    def _place(self, value: Any, event: yaml.NodeEvent, size: int) -> object:
        """Put a value into the open container; answer the key or index that it took."""
        if not self.stack:
            if self.documents == 1:
                self.root = value
            return None
        frame = self.stack[-1]
        frame.size += size
        if isinstance(frame.container, list):
            frame.container.append(value)
            at: object = len(frame.container) - 1
            self._note(at, event)
            return at
        if frame.key is NO_KEY:
            self._take_key(frame, value, event)
            return NO_KEY
        at, frame.key = frame.key, NO_KEY
        if at is MERGE:
            if size:  # a scalar or an alias; an open mapping is merged when it closes
                self._merge(value, event)
        else:
            frame.container[at] = value
        return at

    def _take_key(self, frame: Frame, key: Any, event: yaml.NodeEvent) -> None:
        if isinstance(key, (dict, list)):
            raise refusal(
                self.name, line_of(event), "uses a mapping or list as a key", "a name", "write the key as plain text"
            )
        if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            frame.key = MERGE
            return
        if key in frame.container:
            where = ".".join(map(str, (*self._path(), key)))
            self.refuse(
                line_of(event), f"{where} is there twice", "each key once", "take one of the two out, or rename it"
            )
        frame.key = key
        frame.container[key] = None
        self._note(key, event)

    def _merge(self, value: Any, event: yaml.Event) -> None:
        merged = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in merged):
            self.refuse(
                line_of(event),
                "merges (<<) what is not a mapping",
                "an alias of a mapping",
                "anchor a mapping, or write the fields out",
            )
            return
        self.stack[-1].merged.extend(merged)

    def _alias(self, event: yaml.AliasEvent) -> tuple[Any, yaml.NodeEvent, int]:
        name = str(event.anchor)
        if any(frame.anchor == name for frame in self.stack):
            raise refusal(
                self.name,
                line_of(event),
                f"*{name} stands inside its own anchor &{name}",
                "an alias of something finished",
                "write the value out",
            )
        if name not in self.anchors:
            raise refusal(
                self.name,
                line_of(event),
                f"*{name} has no anchor &{name} above it",
                "an anchor before its alias",
                "write the value out",
            )
        value, size = self.anchors[name]
        self.aliased += size
        if self.aliased > ALIASED_LIMIT:
            raise refusal(
                self.name,
                line_of(event),
                f"aliases stand for over {ALIASED_LIMIT:,} values",
                "fewer",
                "use `defaults`, or write the values out",
            )
        return value, event, size

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if event.tag is None:
            return resolve_plain(event.value) if event.implicit[0] else event.value
        self._refuse_tag(event)
        return event.value if TAGS.get(event.tag, "str") == "str" else resolve_plain(event.value)

    def _refuse_tag(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag is None or tag == "!" or tag in TAGS:
            return
        remedy = "keep secrets in group_vars/<group>/vault.yml" if tag == "!vault" else "take the tag out"
        self.refuse(line_of(event), f"uses the tag {tag}", "plain YAML", remedy)

    def _note(self, at: object, event: yaml.Event) -> None:
        if self.lines is not None:
            self.lines.setdefault((*self._path(), at), line_of(event))

    def _path(self) -> Keys:
        return tuple(frame.at for frame in self.stack[1:])

    def _syntax(self, error: yaml.MarkedYAMLError, text: str) -> None:
        mark = error.problem_mark or error.context_mark
        number = mark.line if mark else 0
        line = (text.splitlines() or [""])[min(number, max(text.count("\n") - 1, 0))]
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent:
            self.refuse(number + 1, "is indented with a tab", "spaces", "replace the tab with two spaces")
            return
        # From PyYAML 6.0.4 on the scanner refuses some depths itself, before the first event.
        if "nesting depth" in (error.problem or ""):
            self.refuse(number + 1, *TOO_DEEP)
            return
        found = ", ".join(part for part in (error.context, error.problem) if part)
        self.refuse(
            number + 1,
            f"is not YAML ({found})",
            "valid YAML",
            "check the indentation, colons, quotes and brackets up to this line",
        )


def resolve_plain(value: str) -> Any:
    """The value that an unquoted word stands for."""
    if value in WORDS:
        return WORDS[value]
    if INTEGER.fullmatch(value) and len(value) < 20:
        return int(value)
    if FLOAT.fullmatch(value):
        return float(value.replace("_", ""))
    return value


def line_of(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def expand(path: str, environment: Mapping[str, str]) -> str:
    """Fill ${NAME} and ${NAME:-default} from the environment; a variable that is unset and has no default is empty."""

    def fill(match: re.Match[str]) -> str:
        return environment.get(match["name"], "") or match["default"] or ""

    return re.sub(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}", fill, path)
