"""A release that is bad on purpose, so that people and tests can see a rollout take it back.

Requests for orders fail by share, from some seconds after the start. Health and readiness stay well, for what they
would find needs no rollout.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import falcon

WHOLE = 100


class Rehearsal:
    """Falcon middleware that fails `errors` percent of the requests for orders, evenly spread."""

    def __init__(self, errors: int, after: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._errors, self._begin, self._clock = errors, clock() + after, clock
        self._owed = 0

    def process_resource(
        self, request: falcon.Request, _response: falcon.Response, _resource: object, _parameters: dict[str, object]
    ) -> None:
        """Fail the request if its turn has come."""
        if not request.path.startswith("/orders") or self._clock() < self._begin:
            return
        self._owed += self._errors
        if self._owed >= WHOLE:
            self._owed -= WHOLE
            raise falcon.HTTPInternalServerError(description="this release fails on purpose: ORDERS_REHEARSE_ERRORS")
