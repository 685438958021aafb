# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a server for JSON over TLS: the one place where modules talk to etcd and Patroni."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.urls import open_url


class HttpsError(Exception):
    """No usable answer came back."""


class UnknownAsker(HttpsError):
    """The server doesn't take the asker for whom it says to be."""


@dataclass(frozen=True)
class Caller:
    """Who asks: the CA to trust, and what proves the asker."""

    ca_file: str
    cert_file: str | None = None
    key_file: str | None = None
    username: str | None = None
    password: str | None = None
    timeout: float = 5.0
    # A server that doesn't know the password yet may still know what it was.
    former_password: str | None = None

    def ask(self, method: str, url: str, body: Any = None) -> Any:
        """Send one request and return the decoded answer."""
        try:
            return json.loads(self.tell(method, url, body))
        except ValueError as error:
            raise HttpsError(f"{url} gave no usable answer to {method}: {error}") from error

    def tell(self, method: str, url: str, body: Any = None) -> str:
        """Send one request and return the answer as it is: not all are JSON."""
        try:
            return self._send(method, url, body, self.password)
        except UnknownAsker:
            if not self.former_password:
                raise
            return self._send(method, url, body, self.former_password)

    def _send(self, method: str, url: str, body: Any, password: str | None) -> str:
        try:
            with open_url(
                url,
                method=method,
                data=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
                timeout=self.timeout,
                use_proxy=False,
                ca_path=self.ca_file,
                client_cert=self.cert_file,
                client_key=self.key_file,
                url_username=self.username,
                url_password=password,
                force_basic_auth=self.username is not None,
            ) as reply:
                return str(reply.read().decode())
        except urllib.error.HTTPError as error:
            text = error.read(300).decode(errors="replace").strip()
            kind = UnknownAsker if error.code == 401 else HttpsError
            raise kind(f"{url} answered {error.code} to {method}: {text}") from error
        except (OSError, ValueError) as error:
            raise HttpsError(f"{url} gave no usable answer to {method}: {error}") from error

    def ask_any(self, method: str, urls: Sequence[str], body: Any = None) -> Any:
        """Ask one server after another, and return the first answer."""
        refusals = []
        for url in urls:
            try:
                return self.ask(method, url, body)
            except HttpsError as error:
                refusals.append(str(error))
        raise HttpsError("; ".join(refusals) or "there is no server to ask")


def endpoint(address: str, port: int) -> str:
    """Write the base URL of a service; IPv6 addresses get their brackets."""
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"
