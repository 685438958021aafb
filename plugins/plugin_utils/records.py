# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the environment's records are, and how to ask ARA's API there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

try:
    from requests import RequestException, Session
    from requests.adapters import HTTPAdapter
except ImportError:
    Session = None  # type: ignore[misc, assignment]
    RequestException = OSError  # type: ignore[misc, assignment]
    HTTPAdapter = object  # type: ignore[misc, assignment]

# Seconds to connect, and to wait for an answer.
TIMEOUTS = (2, 10)
# What the server says of one request alone: it is not to be repeated.
REFUSALS = (400, 413, 422)


class RecordsError(ValueError):
    """A file that doesn't say where the records are, or a server that gave no usable answer."""


class RefusedError(RecordsError):
    """What the server will never take."""


class FaultError(RecordsError):
    """What the server stumbled over, while it may well take others."""


@dataclass(frozen=True)
class Records:
    """A server of records: its name in the URL, the address to connect to, and who we are there."""

    url: str
    address: str
    ca_file: str
    username: str
    password: str = field(repr=False)


def parse_records(text: str) -> Records:
    """Read where the records are."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise RecordsError(f"expected JSON: {error}") from error
    names = [entry.name for entry in fields(Records)]
    if not isinstance(document, dict) or not all(isinstance(document.get(name), str) for name in names):
        raise RecordsError(f"expected an object of texts with {', '.join(names)}")
    records = Records(**{name: document[name] for name in names})
    if not records.url.startswith("https://") or not urlsplit(records.url).hostname:
        raise RecordsError(f"url: found {records.url!r}, expected one like https://records.example.org")
    return records


class RecordsAdapter(HTTPAdapter):
    """Connects to one address in the server's name."""

    def __init__(self, records: Records) -> None:
        super().__init__()
        url = urlsplit(records.url)
        self.address, self.name, self.host = records.address, url.hostname, url.netloc

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Say where to connect, and whose certificate must be found there."""
        place, tls = super().build_connection_pool_key_attributes(*args, **kwargs)
        return {**place, "host": self.address}, {**tls, "server_hostname": self.name, "assert_hostname": self.name}

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request in the server's name."""
        request.headers["Host"] = self.host
        return super().send(request, *args, **kwargs)


class Api:
    """ARA's API, asked over one connection."""

    def __init__(self, records: Records) -> None:
        if Session is None:
            raise RecordsError("the Python package requests is missing")
        self.base = records.url.rstrip("/") + "/api/v1/"
        self.where = f"{urlsplit(records.url).hostname} at {records.address}"
        self.session = Session()
        # Neither a proxy nor another authority from the environment.
        self.session.trust_env = False
        self.session.verify = records.ca_file
        self.session.auth = (records.username, records.password)
        self.session.headers["Accept"] = "application/json"
        self.session.mount(records.url, RecordsAdapter(records))

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_error: object) -> None:
        self.session.close()

    def ask(
        self, method: str, path: str, *, body: Any = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send one request and return the object that it is answered with."""
        try:
            answer = self.session.request(
                method, self.base + path, json=body, params=query, timeout=TIMEOUTS, allow_redirects=False
            )
            document = answer.json() if answer.ok and answer.content else {}
        except (RequestException, OSError, ValueError) as error:
            reason = getattr(error.args[0], "reason", error) if error.args else repr(error)
            raise RecordsError(f"{self.where}: {method} {path}: {reason}") from error
        if answer.status_code not in (200, 201, 204):
            kind = RefusedError if answer.status_code in REFUSALS else RecordsError
            kind = FaultError if answer.status_code == 500 else kind
            raise kind(f"{self.where}: {method} {path} was answered with {answer.status_code}")
        if not isinstance(document, dict):
            raise RecordsError(f"{self.where}: {method} {path} was answered with something other than an object")
        return document

    def create(self, kind: str, /, **body: Any) -> int:
        """Make something, and return its number."""
        number = self.ask("POST", kind, body=body).get("id")
        if not isinstance(number, int):
            raise RecordsError(f"{self.where}: POST {kind} was answered without the number of what was made")
        return number

    def playbooks(self, **query: str) -> list[dict[str, Any]]:
        """Find recorded runs; their labels as plain texts."""
        found = self.ask("GET", "playbooks", query=query).get("results")
        try:
            return [{**one, "labels": [label["name"] for label in one["labels"]]} for one in found or []]
        except (TypeError, LookupError) as error:
            raise RecordsError(f"{self.where}: GET playbooks was answered with something other than runs") from error
