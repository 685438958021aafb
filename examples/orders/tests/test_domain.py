"""What a client may ask, as tables of cases."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orders.domain import BIGGEST_ID, InputError, Listing, NewOrder, Order, parse_id, parse_listing, parse_order


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        pytest.param([], "body: found [], expected an object with customer, quantity, total_cents", id="a list"),
        pytest.param({}, "customer: found None, expected a whole number from 1 to 2147483647", id="nothing"),
        pytest.param({"customer": True, "quantity": 1, "total_cents": 1}, "customer: found True", id="a truth value"),
        pytest.param({"customer": 1, "quantity": 1001, "total_cents": 1}, "quantity: found 1001", id="too many"),
        pytest.param({"customer": 1, "quantity": 1, "total_cents": 0}, "total_cents: found 0", id="for nothing"),
        pytest.param({"customer": 1, "quantity": 1.0, "total_cents": 1}, "quantity: found 1.0", id="a fraction"),
        pytest.param({"costumer": 1}, "'costumer': unknown, expected only customer, quantity", id="misspelt"),
        pytest.param({"customer": "9" * 90}, "99...", id="long values are shortened"),
    ],
)
def test_an_order_is_refused(document: object, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_order(document)
    assert complaint in str(caught.value)


def test_an_order_is_read() -> None:
    assert parse_order({"customer": 7, "quantity": 2, "total_cents": 990}) == NewOrder(7, 2, 990)


@pytest.mark.parametrize(
    ("query", "listing"),
    [
        pytest.param({}, Listing(None, BIGGEST_ID, 50), id="the newest"),
        pytest.param({"customer": "7", "limit": "200"}, Listing(7, BIGGEST_ID, 200), id="one customer's"),
        pytest.param({"before": "31"}, Listing(None, 31, 50), id="the next page"),
    ],
)
def test_a_listing_is_read(query: dict[str, str], listing: Listing) -> None:
    assert parse_listing(query) == listing


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"customer": "x"}, id="a word"),
        pytest.param({"customer": "-1"}, id="negative"),
        pytest.param({"customer": "²"}, id="a digit to Unicode only"),
        pytest.param({"limit": "201"}, id="too many"),
        pytest.param({"before": "9" * 5000}, id="too long a number"),
        pytest.param({"client": "1"}, id="unknown"),
    ],
)
def test_a_listing_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InputError):
        parse_listing(query)


def test_an_id_is_one_that_the_database_can_hold() -> None:
    assert parse_id(str(BIGGEST_ID)) == BIGGEST_ID
    with pytest.raises(InputError):
        parse_id(str(BIGGEST_ID + 1))


def test_an_order_becomes_json() -> None:
    order = Order(id=1, customer=7, quantity=2, total_cents=990, placed_at=datetime(2025, 1, 1, tzinfo=UTC))
    assert order.as_document()["placed_at"] == "2025-01-01T00:00:00+00:00"
