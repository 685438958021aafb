# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What modules read and write on a load balancer. Decisions are elsewhere."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text
from ansible_collections.nectar.backend.plugins.module_utils.traffic import Files, fragment_name

REQUEST_SECONDS = 5
IDENTITY_PATH = "/.well-known/nectar"


@dataclass(frozen=True)
class Balancer:
    """Where HAProxy's configuration lies, and what is noted about it."""

    directory: str
    state: str

    def fragment(self, deployment: str) -> str:
        """Return the file of a deployment's backends."""
        return os.path.join(self.directory, "conf.d", fragment_name(deployment))

    @property
    def map(self) -> str:
        """Return the file that maps server names to backends."""
        return os.path.join(self.directory, "maps", "deployments.map")


def traffic_path(state: str, deployment: str) -> str:
    """Return the file that says where a deployment's requests go."""
    return os.path.join(state, "traffic", f"{deployment}.json")


def read_traffic(state: str, deployment: str) -> dict[str, Any] | None:
    """Return where a deployment's requests go, if anywhere."""
    path = traffic_path(state, deployment)
    text = read_text(path)
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise SlotError(
            f"{path} can't be read ({error}); remove it, and run site.yml for the load balancers"
        ) from error


def read_all_traffic(state: str) -> dict[str, dict[str, Any]]:
    """Return where the requests of all deployments go."""
    directory = os.path.join(state, "traffic")
    try:
        names = sorted(name.removesuffix(".json") for name in os.listdir(directory) if name.endswith(".json"))
    except FileNotFoundError:
        return {}
    return {name: found for name in names if (found := read_traffic(state, name))}


def read_files(balancer: Balancer, deployments: Iterable[str]) -> Files:
    """Return what the load balancer has of these deployments."""
    names = list(deployments)
    return Files(
        {name: read_text(balancer.fragment(name)) for name in names},
        {name: read_traffic(balancer.state, name) for name in names},
        read_text(balancer.map) or "",
    )


def write_files(balancer: Balancer, files: Files) -> None:
    """Write what changed: fragments first, for the map names their backends."""
    for name, fragment in files.fragments.items():
        _put(balancer.fragment(name), fragment)
    _put(balancer.map, files.map_text)
    for name, note in files.notes.items():
        _put(traffic_path(balancer.state, name), None if note is None else json.dumps(note, indent=1) + "\n")


def _put(path: str, text: str | None) -> None:
    if text is None:
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    replace_text(path, text)


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
