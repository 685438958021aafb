# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every deployment's state, asked now: over HTTPS, at the address that its users reach."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nectar_backend.errors import NectarError
from nectar_backend.inventory import shared_variables

TIMEOUT = 5.0
IDENTITY_PATH = "/.well-known/nectar"
LONGEST_BODY = 65536


@dataclass(frozen=True)
class Target:
    """Where a deployment must answer, and as whom."""

    deployment: str
    url: str
    server_name: str
    address: str
    port: int
    ca_file: str
    ready_path: str
    database: str | None


@dataclass(frozen=True)
class Row:
    """What a deployment answered; the fields of `nectar status --format json`."""

    deployment: str
    url: str
    address: str
    port: int
    ca_file: str
    release: str | None
    database: str | None
    slot: str | None
    host: str | None
    ok: bool
    error: str | None


def list_targets(inventory: Mapping[str, Any], ca_file: Path) -> list[Target]:
    """Derive from `ansible-inventory --list` where each deployment must answer."""
    variables = shared_variables(inventory)
    address = find_address(inventory)
    # The team's own come first, then each by the number that it keeps for life.
    entries = sorted(variables["deployments"].values(), key=lambda entry: (entry["kind"] != "team", entry["number"]))
    return [
        Target(
            deployment=entry["name"],
            url=entry["url"],
            server_name=entry["server_name"],
            address=address,
            port=urlsplit(entry["url"]).port or 443,
            ca_file=str(ca_file),
            ready_path=find_ready_path(variables["applications"][entry["application"]]),
            database=entry.get("database"),
        )
        for entry in entries
    ]


def find_ready_path(application: Mapping[str, Any]) -> str:
    """The path that load balancers check too; an application that names none is asked for its first page."""
    return str(application.get("ready_path") or application.get("health_path") or "/")


def find_address(inventory: Mapping[str, Any]) -> str:
    """The virtual IP; without one, where the only load balancer is reached."""
    balancers = inventory.get("loadbalancers", {}).get("hosts", [])
    if not balancers:
        raise NectarError("the inventory's group loadbalancers has no hosts, so nothing can be asked.")
    variables = inventory["_meta"]["hostvars"][balancers[0]]
    addresses = variables.get("virtual_addresses") or variables["server"]["connect"]
    return str(addresses[0]).partition("/")[0]


def ask_all(targets: Sequence[Target]) -> list[Row]:
    """Ask every deployment at once, so that a dead environment costs one timeout."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(ask, targets))


def ask(target: Target) -> Row:
    """Ask one deployment whether it can serve, and who answers in its name."""
    try:
        context = ssl.create_default_context(cafile=target.ca_file)
        ready = _get(target, context, target.ready_path)
        identity = _get(target, context, IDENTITY_PATH)
    except (OSError, http.client.HTTPException) as error:
        return judge(target, problem=explain_error(target, error))
    return judge(target, ready, identity)


def judge(
    target: Target,
    ready: tuple[int, bytes] = (0, b""),
    identity: tuple[int, bytes] = (0, b""),
    problem: str | None = None,
) -> Row:
    """Make a row of the answers: ready alone isn't enough, the right deployment must have spoken."""
    named = read_identity(identity) if problem is None else {}
    if problem is None and ready[0] != 200:
        problem = f"GET {target.ready_path} answered {ready[0]}, expected 200"
    elif problem is None and identity[0] != 200:
        problem = f"GET {IDENTITY_PATH} answered {identity[0]}, expected 200"
    elif problem is None and named.get("deployment") != target.deployment:
        problem = f"GET {IDENTITY_PATH} names {named.get('deployment')!r}, expected {target.deployment!r}"
    return Row(
        deployment=target.deployment,
        url=target.url,
        address=target.address,
        port=target.port,
        ca_file=target.ca_file,
        release=named.get("release"),
        database=named.get("database") or target.database,
        slot=named.get("slot"),
        host=named.get("host"),
        ok=problem is None,
        error=problem,
    )


def read_identity(answer: tuple[int, bytes]) -> dict[str, Any]:
    """The identity document, or nothing where the answer isn't one."""
    try:
        document = json.loads(answer[1]) if answer[0] == 200 else None
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def explain_error(target: Target, error: Exception) -> str:
    """Say in a few words why there was no answer."""
    where = f"{target.address} port {target.port}"
    match error:
        case TimeoutError():
            return f"{where} gave no answer within {TIMEOUT:.0f} s"
        case ssl.SSLCertVerificationError():
            return f"{where} showed a certificate that {target.ca_file} doesn't vouch for: {error.verify_message}"
        case FileNotFoundError():
            return f"there is no {target.ca_file}"
        case _:
            return f"{where}: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def as_json(rows: Iterable[Row]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=2)


class _Connection(http.client.HTTPSConnection):
    """HTTPS to one address in the name of another: what `curl --resolve` does."""

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        super().__init__(target.server_name, target.port, timeout=TIMEOUT)
        self._target = target
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self._target.address, self._target.port), TIMEOUT)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._target.server_name)


def _get(target: Target, context: ssl.SSLContext, path: str) -> tuple[int, bytes]:
    connection = _Connection(target, context)
    try:
        connection.request("GET", path, headers={"User-Agent": "nectar-status"})
        response = connection.getresponse()
        return response.status, response.read(LONGEST_BODY)
    finally:
        connection.close()
