"""A release that is bad on purpose is bad in the share, and from the moment, that was asked for."""

from __future__ import annotations

from typing import cast

import falcon
import pytest
from falcon import testing

from orders.app import create_app
from orders.database import Database
from orders.rehearsal import Rehearsal
from orders.settings import Settings


def failures(rehearsal: Rehearsal, path: str, requests: int = 100) -> int:
    failed = 0
    for _ in range(requests):
        try:
            rehearsal.process_resource(testing.create_req(path=path), falcon.Response(), None, {})
        except falcon.HTTPInternalServerError:
            failed += 1
    return failed


@pytest.mark.parametrize(("errors", "failed"), [(0, 0), (5, 5), (33, 33), (100, 100)])
def test_so_many_of_a_hundred_fail(errors: int, failed: int) -> None:
    assert failures(Rehearsal(errors, 0), "/orders/1") == failed


def test_readiness_is_never_touched() -> None:
    assert failures(Rehearsal(100, 0), "/readyz") == 0


def test_it_begins_late() -> None:
    now = [10.0]
    rehearsal = Rehearsal(100, 30, lambda: now[0])
    assert failures(rehearsal, "/orders") == 0
    now[0] = 40.0
    assert failures(rehearsal, "/orders") == 100


def test_the_application_fails_on_request() -> None:
    settings = Settings("postgresql://unused", rehearse_errors=100)
    client = testing.TestClient(create_app(settings, cast(Database, None)))
    assert client.simulate_get("/orders/7").status_code == 500
    assert client.simulate_get("/healthz").status_code == 200
