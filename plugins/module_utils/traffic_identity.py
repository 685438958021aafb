# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which revision answers through a load balancer."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any

REQUEST_SECONDS = 5
IDENTITY_PATH = "/.well-known/nectar"


def ask_revision(address: str, ca_file: str, deployment: Mapping[str, Any]) -> str:
    """Ask over HTTPS which revision answers, and whether it can serve; return what is wrong, or nothing."""
    try:
        status, body = _get(address, ca_file, deployment["server_name"], IDENTITY_PATH)
        if status != http.client.OK:
            return f"{IDENTITY_PATH} answers {status} through the load balancer: {body[:200].strip()}"
        identity = json.loads(body)
        found, wanted = (identity.get("slot"), identity.get("revision")), (deployment["slot"], deployment["revision"])
        if found != wanted:
            return f"slot {found[0]} with revision {found[1]} answers instead of {wanted[0]} with {wanted[1]}"
        status, _body = _get(address, ca_file, deployment["server_name"], deployment["ready_path"])
        return (
            "" if status == http.client.OK else f"{deployment['ready_path']} answers {status} through the load balancer"
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"https://{deployment['server_name']} doesn't answer through {address} ({error})"


class _Named(http.client.HTTPSConnection):
    """A connection to an address that proves itself under a server name."""

    def __init__(self, address: str, server_name: str, context: ssl.SSLContext) -> None:
        super().__init__(address, timeout=REQUEST_SECONDS, context=context)
        self._server_name, self._verified = server_name, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._verified.wrap_socket(self.sock, server_hostname=self._server_name)


def _get(address: str, ca_file: str, server_name: str, path: str) -> tuple[int, str]:
    connection = _Named(address, server_name, ssl.create_default_context(cafile=ca_file))
    try:
        connection.request("GET", path, headers={"Host": server_name, "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()
