# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read expressions as PostgreSQL prints them in a plan, and texts as pg_stat_statements keeps them.

This is no parser of SQL. What it doesn't know it leaves alone: HypoPG and the planner judge whatever comes of it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

EQUAL, RANGE, PATTERN = "equal", "range", "pattern"
NULL, NOT_NULL, TRUE, FALSE = "null", "not null", "true", "false"
OPERATORS = {"=": EQUAL, "<": RANGE, ">": RANGE, "<=": RANGE, ">=": RANGE, "~~": PATTERN, "~~*": PATTERN}
# Functions whose result rests on the argument alone, whatever the session says.
STEADY_FUNCTIONS = frozenset({"lower", "upper"})
# Constants of these types lose their quotes when pg_stat_statements puts a number in their place.
LITERAL_TYPES = frozenset({"interval", "date", "timestamp", "timestamptz", "time", "timetz"})

TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|[bBxX]?'(?:[^']|'')*'|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$)
  | (?P<param>\$\d+)
  | (?P<name>"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*)
  | (?P<number>\d[\w.]*|\.\d+)
  | (?P<cast>::)
  | (?P<sign>[(),.;\[\]])
  | (?P<operator>[-+*/<>=~!@\#%^&|`?:]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """One word or sign, and where it begins in the text."""

    kind: str
    text: str
    start: int

    def says(self, *words: str) -> bool:
        return self.kind == "name" and self.text.upper() in words


@dataclass(frozen=True)
class Column:
    """A column of a table that a plan calls by an alias, perhaps within a function."""

    alias: str
    name: str
    function: str = ""

    @property
    def expression(self) -> str:
        """The column as an index has it."""
        return f"{self.function}({self.name})" if self.function else self.name


@dataclass(frozen=True)
class Condition:
    """One condition that must hold; `others` are the aliases on its other side, and `parameter` is that side if it is just one."""

    column: Column
    kind: str
    others: frozenset[str] = frozenset()
    operator: str = ""
    parameter: str = ""


@dataclass(frozen=True)
class SortKey:
    """A column that rows are put in order by."""

    column: Column
    descending: bool = False
    # NULLS FIRST or NULLS LAST where it isn't what the direction has anyway.
    nulls: str = ""

    @property
    def expression(self) -> str:
        parts = [self.column.expression, "DESC" if self.descending else "", self.nulls]
        return " ".join(part for part in parts if part)


def tokens_of(text: str) -> list[Token]:
    """Cut a text into tokens; spaces and comments are left out."""
    found = ((match, match.lastgroup or "other") for match in TOKEN.finditer(text))
    return [
        Token("string" if kind == "tag" else kind, match[0], match.start()) for match, kind in found if kind != "space"
    ]


def strip_parentheses(tokens: Sequence[Token]) -> Sequence[Token]:
    """Take away the parentheses that hold all of it."""
    while len(tokens) >= 2 and tokens[0].text == "(" and _closes(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens


def _closes(tokens: Sequence[Token]) -> int:
    """The place at which the parenthesis that begins the tokens ends."""
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.text in "([") - (token.text in ")]") if token.kind == "sign" else 0
        if depth == 0:
            return place
    return -1


def _split(tokens: Sequence[Token], word: str) -> list[Sequence[Token]]:
    """Split at a word, or a sign, that no parentheses hold."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "sign":
            depth += (token.text in "([") - (token.text in ")]")
        if depth == 0 and (token.says(word) or (token.kind == "sign" and token.text == word)):
            parts.append([])
        else:
            parts[-1].append(token)
    return list(parts)


def conditions_of(text: str) -> list[Condition]:
    """The conditions that must all hold, those that are understood; a comparison of two columns is told from both sides."""
    return [condition for part in _conjuncts(tokens_of(text)) for condition in _read_condition(part)]


def _conjuncts(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    parts = _split(strip_parentheses(tokens), "AND")
    if len(parts) == 1:
        yield parts[0]
        return
    for part in parts:
        yield from _conjuncts(part)


def _read_condition(tokens: Sequence[Token]) -> Iterator[Condition]:
    tokens = strip_parentheses(tokens)
    if not tokens or len(_split(tokens, "OR")) > 1:
        return
    if tokens[0].says("NOT"):
        column = read_column(tokens[1:])
        if column:
            yield Condition(column, FALSE)
        return
    words = [token.text.upper() for token in tokens]
    for ending, kind in ((["IS", "NULL"], NULL), (["IS", "NOT", "NULL"], NOT_NULL)):
        if words[-len(ending) :] == ending:
            column = read_column(tokens[: -len(ending)])
            if column:
                yield Condition(column, kind)
            return
    column = read_column(tokens)
    if column:
        yield Condition(column, TRUE)
        return
    yield from _read_comparison(tokens)


def _read_comparison(tokens: Sequence[Token]) -> Iterator[Condition]:
    place = _comparison(tokens)
    if place is None:
        return
    token = tokens[place]
    kind = OPERATORS[token.text]
    left, right = tokens[:place], tokens[place + 1 :]
    for side, other, operator in ((left, right, token.text), (right, left, _mirror(token.text))):
        column = read_column(side)
        if column is None or (side is right and kind == PATTERN):
            continue
        aliases = frozenset(alias for alias, _name in references(other))
        if column.alias in aliases:
            continue
        yield Condition(column, kind, aliases, operator, _only_parameter(other))


def _comparison(tokens: Sequence[Token]) -> int | None:
    """The place of the operator that compares, outside of all parentheses."""
    depth = 0
    for place, token in enumerate(tokens):
        if token.kind == "sign":
            depth += (token.text in "([") - (token.text in ")]")
        if depth == 0 and token.kind == "operator" and token.text in OPERATORS:
            return place
    return None


def _mirror(operator: str) -> str:
    return operator.translate(str.maketrans("<>", "><"))


def _only_parameter(tokens: Sequence[Token]) -> str:
    bare = strip_parentheses(list(_without_casts(strip_parentheses(tokens))))
    return bare[0].text if len(bare) == 1 and bare[0].kind == "param" else ""


def read_column(tokens: Sequence[Token]) -> Column | None:
    """Read `alias.column`, with casts and parentheses as may be, or a steady function of it."""
    tokens = strip_parentheses(list(_without_casts(strip_parentheses(tokens))))
    if tokens and tokens[0].kind == "sign":
        tokens = strip_parentheses(list(_without_casts(tokens)))
    kinds = [token.kind for token in tokens]
    if kinds == ["name", "sign", "name"] and tokens[1].text == ".":
        return Column(bare(tokens[0].text), bare(tokens[2].text))
    if len(tokens) > 3 and kinds[:2] == ["name", "sign"] and _closes(tokens[1:]) == len(tokens) - 2:
        function = tokens[0].text
        inner = read_column(tokens[2:-1]) if function in STEADY_FUNCTIONS else None
        if inner and not inner.function:
            return Column(inner.alias, inner.name, function)
    return None


def _without_casts(tokens: Sequence[Token]) -> Iterator[Token]:
    """Leave out `::type`, whose name may be of several words and have a length; a cast of one side only the planner can judge."""
    rest = list(tokens)
    place = 0
    while place < len(rest):
        if rest[place].kind != "cast":
            yield rest[place]
            place += 1
            continue
        place += 1
        while place < len(rest) and (rest[place].kind == "name" or rest[place].text == "."):
            place += 1
        while place < len(rest) and rest[place].text in ("(", "["):
            place += _closes(rest[place:]) + 1
        while place < len(rest) and rest[place].says("WITH", "WITHOUT", "TIME", "ZONE"):
            place += 1


def references(tokens: Iterable[Token]) -> Iterator[tuple[str, str]]:
    """Every `alias.column`, and `alias.*`; not `schema.function(`."""
    listed = list(tokens)
    for place in range(len(listed) - 2):
        first, point, last = listed[place : place + 3]
        if first.kind != "name" or point.text != "." or (place and listed[place - 1].text == "."):
            continue
        called = place + 3 < len(listed) and listed[place + 3].text == "("
        if (last.kind == "name" and not called) or last.text == "*":
            yield bare(first.text), bare(last.text)


def bare(name: str) -> str:
    """A name without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def read_sort_key(text: str) -> SortKey | None:
    """Read one sort key of a plan, or nothing where it is more than a column or a steady function of one."""
    tokens = tokens_of(text)
    words: list[str] = []
    while tokens and tokens[-1].says("ASC", "DESC", "NULLS", "FIRST", "LAST"):
        words.insert(0, tokens.pop().text.upper())
    column = read_column(tokens)
    if column is None:
        return None
    nulls = " ".join(word for word in words if word not in ("ASC", "DESC"))
    return SortKey(column, "DESC" in words, nulls)


def explainable(text: str, rows: float | None = None, values: Mapping[str, str] | None = None) -> str:
    """Make a text of pg_stat_statements one that can be explained.

    `interval $1` is no SQL, so it becomes a cast. The planner takes `LIMIT $1` for a tenth of all rows; the mean of the rows
    that the statement returned stands in its place, so that plans are judged by what people really ask for. `values` are
    literals for parameters.
    """
    tokens = tokens_of(text)
    changes: list[tuple[int, int, str]] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.kind != "param":
            continue
        end = token.start + len(token.text)
        if before and before.says("LIMIT") and rows is not None:
            changes.append((token.start, end, str(max(1, round(rows)))))
        elif before and before.kind == "name" and before.text.lower() in LITERAL_TYPES:
            changes.append((before.start, end, f"CAST({token.text} AS {before.text})"))
        elif values and token.text in values:
            changes.append((token.start, end, values[token.text]))
    for start, end, replacement in reversed(changes):
        text = text[:start] + replacement + text[end:]
    return text.rstrip().rstrip(";")


def pages_by_offset(text: str) -> bool:
    """Whether the statement skips rows by a number that it is given."""
    tokens = tokens_of(text)
    return any(before.says("OFFSET") and token.kind == "param" for before, token in itertools.pairwise(tokens))


def first_word(text: str) -> str:
    """The statement's first word, in capitals."""
    tokens = tokens_of(text)
    return tokens[0].text.upper() if tokens else ""
