"""Reading YAML: what plain data a file holds, on which lines, and which files are refused unread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import RegistryError
from ansible_collections.nectar.backend.plugins.plugin_utils.registry_source import (
    SIZE_LIMIT,
    Source,
    decode,
    expand,
    read_source,
    read_text,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: {b: [1, two, 'three', \"four\"]}", {"a": {"b": [1, "two", "three", "four"]}}, id="nested"),
        pytest.param("a: yes\nb: False\nc: ~\nd:", {"a": True, "b": False, "c": None, "d": None}, id="words"),
        pytest.param("a: 10\nb: -3\nc: 1_000\nd: 1.5", {"a": 10, "b": -3, "c": 1000, "d": 1.5}, id="numbers"),
        pytest.param("a: '10'\nb: \"yes\"", {"a": "10", "b": "yes"}, id="quoted is text"),
        pytest.param("a: 010\nb: 0x1f\nc: 12:30", {"a": "010", "b": "0x1f", "c": "12:30"}, id="ambiguous is text"),
        pytest.param("a: 2026-01-31", {"a": "2026-01-31"}, id="a date is text"),
        pytest.param("a: !!str 5\nb: !!int '5'", {"a": "5", "b": 5}, id="standard tags"),
        pytest.param("17: x", {17: "x"}, id="a number as key"),
        pytest.param("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}, id="alias"),
        pytest.param(
            "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}}, id="merge"
        ),
        pytest.param("a: {<<: [{b: 1}, {b: 2, c: 3}]}", {"a": {"b": 1, "c": 3}}, id="merge of several"),
        pytest.param("a: {<<: {b: 1}, b: 2}", {"a": {"b": 2}}, id="merge of an inline mapping"),
        pytest.param("a: |\n  x\n  y\n", {"a": "x\ny\n"}, id="block"),
        pytest.param("[1, [2]]", [1, [2]], id="a list is data, too"),
    ],
)
def test_data(text: str, expected: Any) -> None:
    source = Source("x.yml", text)
    assert (source.data, source.problems) == (expected, [])


@pytest.mark.parametrize("name", ["inventories/lab/members.yml", "inventories/static/members.yml"])
def test_it_reads_as_other_readers_do(name: str) -> None:
    text = Path(__file__).parents[4].joinpath(name).read_text()
    assert Source(name, text).data == yaml.safe_load(text)


def problems(text: str) -> list[str]:
    try:
        found = Source("x.yml", text).problems
    except RegistryError as error:
        found = list(error.problems)
    return [str(problem) for problem in found]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{last}'] * 10)}]\n" for last, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "x.yml:1: is empty", id="empty"),
        pytest.param("# only\n# comments\n", "x.yml:1: is empty", id="comments"),
        pytest.param("---\n...\n", "x.yml:1: is empty", id="empty document"),
        pytest.param("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n", "x.yml:5: b.c is there twice", id="duplicate key"),
        pytest.param("a: 1\n---\nb: 2\n", "x.yml:2: starts a second YAML document", id="two documents"),
        pytest.param("a:\n\tb: 1\n", "x.yml:2: is indented with a tab", id="tab"),
        pytest.param("a: [1, 2\nb: 3\n", "is not YAML", id="open bracket"),
        pytest.param('a: "x\n', "is not YAML", id="open quote"),
        pytest.param("a: b: c\n", "x.yml:1: is not YAML (mapping values are not allowed", id="two colons"),
        pytest.param("a: *x\n", "x.yml:1: *x has no anchor &x above it", id="alias without anchor"),
        pytest.param("a: 1\nb: &x\n  c: *x\n", "x.yml:3: *x stands inside its own anchor", id="recursive alias"),
        pytest.param("a: &x [1]\nb:\n  <<: *x\n", "x.yml:3: merges (<<) what is not a mapping", id="merge of a list"),
        pytest.param("a: {<<: 3}", "merges (<<) what is not a mapping", id="merge of a number"),
        pytest.param(BOMB, "aliases stand for over 200,000 values", id="alias bomb"),
        pytest.param("a: " + "[" * 100_000, "nests deeper than 32 levels", id="deep nesting"),
        pytest.param("? [1, 2]\n: x\n", "uses a mapping or list as a key", id="a list as key"),
        pytest.param("a: !vault x\n", "Keep secrets in group_vars", id="vault"),
        pytest.param("a: !!python/object:x {}\n", "uses the tag", id="a Python object"),
    ],
)
def test_refused(text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(text)), problems(text)


def test_mistakes_that_hide_nothing_are_all_found() -> None:
    assert len(problems("a: 1\na: 2\nb: !vault x\nc: {<<: 1}\n")) == 3


TEXT = """\
members:
  alice: {number: 1}
  bob:
    number: 2
    keys:
      - one
      - two
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        pytest.param(("members",), 1, id="a section"),
        pytest.param(("members", "alice", "number"), 2, id="inline"),
        pytest.param(("members", "bob"), 3, id="an entry"),
        pytest.param(("members", "bob", "keys", 1), 7, id="an item"),
        pytest.param(("members", "bob", "number", "x"), 4, id="the nearest above"),
        pytest.param(("nowhere",), 1, id="nowhere"),
        pytest.param((), 1, id="the whole"),
    ],
)
def test_lines(keys: tuple[Any, ...], line: int) -> None:
    assert Source("x.yml", TEXT).line_of(keys) == line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"a: 1\nb: \xff\xfe", ":2: holds the byte 0xff", id="not UTF-8"),
        pytest.param("a: 1".encode("utf-16"), ":1: holds the byte 0xff", id="UTF-16"),
        pytest.param(b"\x7fELF\x01\x00", ":1: holds the control character 0x7f", id="a program"),
        pytest.param(b"a: 1\n\x00", ":2: holds the control character 0x00", id="a zero byte"),
        pytest.param(b"$ANSIBLE_VAULT;1.1;AES256\n3132\n", ":1: is encrypted", id="vault"),
    ],
)
def test_junk(content: bytes, expected: str) -> None:
    with pytest.raises(RegistryError, match=expected):
        decode("x.yml", content)


def test_a_byte_order_mark_is_no_junk() -> None:
    assert decode("x.yml", b"\xef\xbb\xbfa: 1") == "a: 1"


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    with pytest.raises(RegistryError, match=f"52,428,800 bytes; expected at most {SIZE_LIMIT:,}"):
        read_text(str(path), "large.yml")


@pytest.mark.parametrize("name", ["absent.yml", "."])
def test_what_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="can't be read"):
        read_text(str(tmp_path / name), name)


def test_a_key_file_must_be_without_mistakes(tmp_path: Path) -> None:
    tmp_path.joinpath("keys.yml").write_text("a: []\na: []\n")
    with pytest.raises(RegistryError, match="a is there twice"):
        read_source(str(tmp_path / "keys.yml"), "keys.yml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain", "plain", id="nothing to fill"),
        pytest.param("${SET}/x", "value/x", id="set"),
        pytest.param("${SET:-other}/x", "value/x", id="set, with a default"),
        pytest.param("${UNSET:-~/other}/x", "~/other/x", id="default"),
        pytest.param("${EMPTY:-other}", "other", id="empty counts as unset"),
        pytest.param("${UNSET}x", "x", id="unset"),
        pytest.param("$SET {SET}", "$SET {SET}", id="other spellings stay"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, {"SET": "value", "EMPTY": ""}) == expected
