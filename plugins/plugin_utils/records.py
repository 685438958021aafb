# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the environment's records are, and how ARA's callback reaches them there."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from ansible.plugins.loader import callback_loader

try:
    from ara.setup import callback_plugins  # type: ignore[import-untyped]
    from requests.adapters import HTTPAdapter
except ImportError:
    callback_plugins = None
    HTTPAdapter = object  # type: ignore[misc, assignment]

# Seconds to connect, and to wait for an answer: what a server that is away costs a run.
TIMEOUTS = (2, 10)


class RecordsError(ValueError):
    """A file that doesn't say where the records are."""


@dataclass(frozen=True)
class Records:
    """A server of records: its name in the URL, the address to connect to, and who we are there."""

    url: str
    address: str
    ca_file: str
    username: str
    password: str = field(repr=False)


def records_file(configured: str | None, environ: Mapping[str, str], home: str) -> str:
    """Name the file that says where the records are; an empty variable counts as unset."""
    state = environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return configured or os.path.join(state, "nectar", environ.get("NECTAR_LAB") or "lab", "records.json")


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
    """Connects to one address in the server's name, and takes the first failure as the last word."""

    def __init__(self, records: Records) -> None:
        super().__init__()
        url = urlsplit(records.url)
        self.address, self.name, self.host = records.address, url.hostname, url.netloc
        self.failure = ""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Say where to connect, and whose certificate must be found there."""
        place, tls = super().build_connection_pool_key_attributes(*args, **kwargs)
        return {**place, "host": self.address}, {**tls, "server_hostname": self.name, "assert_hostname": self.name}

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request, unless one failed before: the run must not wait for each of its events."""
        if self.failure:
            raise ConnectionError(self.failure)
        request.headers["Host"] = self.host
        try:
            response = super().send(request, *args, **kwargs)
        except OSError as error:
            self.failure = (
                f"{self.name} at {self.address}: {getattr(error.args[0], 'reason', error) if error.args else error!r}"
            )
            raise
        if not response.ok:
            self.failure = f"{self.name}: {request.method} {request.path_url} was answered with {response.status_code}"
        return response


def make_recorder(records: Records, hidden: list[str]) -> tuple[Any, RecordsAdapter]:
    """ARA's own callback, and its way to the server; it must not record the `hidden` files."""
    if callback_plugins is None:
        raise RecordsError("the Python package ara is missing")
    # ARA answers a signal by asking the server first, and then fails with it: a run must end as it would without.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    callback_loader.add_directory(callback_plugins)
    recorder = callback_loader.get("ara_default")
    for number, handler in handlers.items():
        signal.signal(number, handler)
    server = {"api_client": "http", "api_server": records.url, "api_ca": records.ca_file}
    login = {"api_username": records.username, "api_password": records.password}
    recorder.set_options(direct={**server, **login, "callback_threads": 4, "ignored_files": [".ansible/tmp", *hidden]})
    adapter = RecordsAdapter(records)
    client = recorder.client.client
    client.timeout = TIMEOUTS
    # Neither a proxy nor another authority from the environment.
    client.http.trust_env = False
    client.http.mount(records.url, adapter)
    return recorder, adapter
