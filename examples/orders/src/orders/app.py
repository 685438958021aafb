"""The HTTP API: resources are thin, rules are in domain.py, storage is in database.py."""

from __future__ import annotations

import json
import platform

import falcon

from orders import __version__
from orders.database import Database, UnavailableError
from orders.domain import InputError, parse_id, parse_listing, parse_order
from orders.migrations import known_migrations
from orders.page import render_page
from orders.rehearsal import Rehearsal
from orders.settings import Settings
from orders.waits import refusal

MOST_BYTES = 16 * 1024


def create_app(settings: Settings, database: Database) -> falcon.App:
    """The application over a database."""
    rehearsals = [Rehearsal(settings.rehearse_errors, settings.rehearse_after)] if settings.rehearse_errors else []
    app = falcon.App(middleware=rehearsals)
    app.req_options.strip_url_path_trailing_slash = True
    app.add_route("/", Page(settings))
    app.add_route("/healthz", Health())
    app.add_route("/readyz", Readiness(database))
    app.add_route("/orders", Orders(database))
    app.add_route("/orders/{identity}", SingleOrder(database))
    app.add_error_handler(InputError, refuse_input)
    app.add_error_handler(UnavailableError, refuse_for_now)
    return app


class Page:
    """Which deployment is serving, for people. Asks no database: it must show when that is away, too."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        facts = {
            "Deployment": self._settings.name,
            "Release": self._settings.release,
            "Version": __version__,
            "Server": platform.node(),
        }
        response.content_type = falcon.MEDIA_HTML
        response.cache_control = ["no-store"]
        response.text = render_page(f"{self._settings.name}: orders", facts)


class Health:
    """Whether the process answers, and nothing else: a database that is away must not get it restarted."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.media = {"healthy": True}


class Readiness:
    """Whether it can serve now: a database that takes writes and holds this release's schema.

    With `?writes` also whether orders can be kept: load balancers don't ask that, for reads go on where they can't.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._needed = {migration.version for migration in known_migrations()}

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        missing = sorted(self._needed - self._database.applied_migrations())
        if missing:
            raise UnavailableError(f"the database lacks migrations {missing}; run orders-migrate")
        if request.has_param("writes") and (reason := refusal(self._database.longest_wait())):
            raise UnavailableError(reason)
        response.media = {"ready": True, "schema": max(self._needed)}


class Orders:
    """All orders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        wanted = parse_listing({name: str(value) for name, value in request.params.items()})
        orders = self._database.list(wanted)
        response.media = {
            "orders": [order.as_document() for order in orders],
            "next_before": orders[-1].id if len(orders) == wanted.limit else None,
        }

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        order = self._database.add(parse_order(read_document(request)))
        response.status = falcon.HTTP_201
        response.location = f"/orders/{order.id}"
        response.media = order.as_document()


class SingleOrder:
    """One order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def on_get(self, _request: falcon.Request, response: falcon.Response, identity: str) -> None:
        number = parse_id(identity)
        order = self._database.get(number)
        if order is None:
            raise falcon.HTTPNotFound(title="Not Found", description=f"there is no order {number}")
        response.media = order.as_document()


def read_document(request: falcon.Request) -> object:
    """The JSON that a client sent, within bounds."""
    body = request.bounded_stream.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise falcon.HTTPContentTooLarge(description=f"expected at most {MOST_BYTES} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError.found("body", body.decode(errors="replace"), "a JSON document") from error


def refuse_input(
    _request: falcon.Request, _response: falcon.Response, error: InputError, _parameters: dict[str, object]
) -> None:
    """Tell a client which value can't be taken."""
    raise falcon.HTTPBadRequest(title="Bad Request", description=str(error))


def refuse_for_now(
    _request: falcon.Request, _response: falcon.Response, error: UnavailableError, _parameters: dict[str, object]
) -> None:
    """Tell a client, and the load balancer, to come back in a second."""
    raise falcon.HTTPServiceUnavailable(title="Service Unavailable", description=str(error), retry_after=1)
