"""What an order is, and what a client may ask: pure rules over plain values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

BIGGEST_INTEGER = 2**31 - 1
BIGGEST_ID = 2**63 - 1
MOST_PER_PAGE = 200
DEFAULT_PER_PAGE = 50
FIELDS = {"customer": BIGGEST_INTEGER, "quantity": 1000, "total_cents": BIGGEST_INTEGER}
PARAMETERS = ("customer", "before", "limit")


class InputError(ValueError):
    """A client's value that can't be taken, and what would be."""

    @classmethod
    def found(cls, field: str, value: object, expected: str) -> InputError:
        """The error for a value that a field can't hold."""
        return cls(f"{field}: found {shortened(value)}, expected {expected}")

    @classmethod
    def unknown(cls, field: str, known: Iterable[str]) -> InputError:
        """The error for a field that there isn't."""
        return cls(f"{shortened(field)}: unknown, expected only {', '.join(known)}")


@dataclass(frozen=True)
class NewOrder:
    """An order as a client places it."""

    customer: int
    quantity: int
    total_cents: int


@dataclass(frozen=True)
class Order(NewOrder):
    """An order as it is kept."""

    id: int
    placed_at: datetime

    def as_document(self) -> dict[str, int | str]:
        """The order as JSON can carry it."""
        return {
            "id": self.id,
            "customer": self.customer,
            "quantity": self.quantity,
            "total_cents": self.total_cents,
            "placed_at": self.placed_at.isoformat(),
        }


@dataclass(frozen=True)
class Listing:
    """Which orders a client wants to see, newest first."""

    customer: int | None
    before: int
    limit: int


def parse_order(document: object) -> NewOrder:
    """Read a new order from a client's JSON document."""
    if not isinstance(document, Mapping):
        raise InputError.found("body", document, f"an object with {', '.join(FIELDS)}")
    for name in sorted(set(map(str, document)) - set(FIELDS)):
        raise InputError.unknown(name, FIELDS)
    return NewOrder(**{name: _whole(name, document.get(name), most) for name, most in FIELDS.items()})


def parse_listing(query: Mapping[str, str]) -> Listing:
    """Read which orders to list from a query string."""
    for name in sorted(set(query) - set(PARAMETERS)):
        raise InputError.unknown(name, PARAMETERS)
    return Listing(
        customer=_number("customer", query["customer"], BIGGEST_INTEGER) if "customer" in query else None,
        before=_number("before", query.get("before", str(BIGGEST_ID)), BIGGEST_ID),
        limit=_number("limit", query.get("limit", str(DEFAULT_PER_PAGE)), MOST_PER_PAGE),
    )


def parse_id(text: str) -> int:
    """Read the id of an order from a path."""
    return _number("id", text, BIGGEST_ID)


def shortened(value: object) -> str:
    """A client's value, short enough to be repeated to it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(field: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise InputError.found(field, text, f"a whole number from 1 to {most}")
    return _whole(field, int(text), most)


def _whole(field: str, value: object, most: int) -> int:
    # bool is an int to Python, and not a number to anyone else.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InputError.found(field, value, f"a whole number from 1 to {most}")
    return value
