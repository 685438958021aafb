# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of etcd's gateway, and what is read from its answers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils import etcd_store
from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import (
    Entry,
    Outcome,
    StoreError,
    Transaction,
    encode,
    parse_outcome,
    parse_ttl,
)

KEY = "L25lY3Rhci9h"  # /nectar/a
HEADER = {"revision": "77"}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(
            etcd_store.put("/nectar/a", {"b": 1}),
            {"request_put": {"key": KEY, "value": "eyJiIjogMX0="}},
            id="write",
        ),
        pytest.param(
            etcd_store.put("/nectar/a", {"b": 1}, 2**62),
            {"request_put": {"key": KEY, "value": "eyJiIjogMX0=", "lease": "4611686018427387904"}},
            id="write with a lease, whose number is a text",
        ),
        pytest.param(etcd_store.delete("/nectar/a"), {"request_delete_range": {"key": KEY}}, id="delete one"),
        pytest.param(
            etcd_store.delete("/nectar/a", "/nectar/c"),
            {"request_delete_range": {"key": KEY, "range_end": encode("/nectar/c")}},
            id="delete some",
        ),
        pytest.param(
            etcd_store.read_all("/nectar/", keys_only=True),
            {"request_range": {"key": encode("/nectar/"), "range_end": encode("/nectar0"), "keys_only": True}},
            id="read all below",
        ),
        pytest.param(
            etcd_store.unchanged("/nectar/a", 5),
            {"key": KEY, "target": "MOD", "result": "EQUAL", "mod_revision": "5"},
            id="as it was written last",
        ),
        pytest.param(
            etcd_store.unchanged("/nectar/a", 0),
            {"key": KEY, "target": "VERSION", "result": "EQUAL", "version": "0"},
            id="not there",
        ),
    ],
)
def test_requests(request_: dict[str, Any], expected: dict[str, Any]) -> None:
    assert request_ == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param({"header": HEADER}, Outcome(False, 77), id="the comparison broke"),
        pytest.param(
            {"header": HEADER, "succeeded": True, "responses": [{"response_put": {}}, {"response_range": {}}]},
            Outcome(True, 77, ((),)),
            id="nothing found",
        ),
        pytest.param(
            {
                "header": HEADER,
                "succeeded": True,
                "responses": [
                    {
                        "response_range": {
                            "kvs": [
                                {
                                    "key": KEY,
                                    "value": "eyJiIjogMX0=",
                                    "mod_revision": "9",
                                    "lease": "4611686018427387904",
                                }
                            ]
                        }
                    },
                    {"response_range": {"kvs": [{"key": KEY, "mod_revision": "9"}]}},
                ],
            },
            Outcome(True, 77, ((Entry("/nectar/a", {"b": 1}, 9, 2**62),), (Entry("/nectar/a", None, 9),))),
            id="a key with its value, and one without",
        ),
    ],
)
def test_answers(reply: dict[str, Any], expected: Outcome) -> None:
    assert parse_outcome(reply) == expected


@pytest.mark.parametrize(
    "reply", [{}, {"header": {}}, {"header": HEADER, "responses": [{"response_range": {"kvs": [{}]}}]}]
)
def test_an_unknown_answer_is_refused(reply: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="in an unknown form"):
        parse_outcome(reply)


@pytest.mark.parametrize(
    ("reply", "ttl"),
    [
        pytest.param({"result": {"ID": "1", "TTL": "30"}}, 30, id="it lives"),
        pytest.param({"result": {"ID": "1"}}, 0, id="it is gone"),
    ],
)
def test_renewals(reply: dict[str, Any], ttl: int) -> None:
    assert parse_ttl(reply) == ttl


def test_an_unknown_renewal_is_refused() -> None:
    with pytest.raises(StoreError, match="a renewal in an unknown form"):
        parse_ttl({"error": "no"})


def test_too_much_at_once_is_refused() -> None:
    with pytest.raises(StoreError, match="129 operations are more"):
        Transaction(success=[etcd_store.read("a")] * 129).body()
