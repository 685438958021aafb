# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys and values in etcd, over its JSON gateway: what is asked, what is answered, and one thin client."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.json_https import Caller, HttpsError, endpoint

CLIENT_PORT = 2379
# One transaction takes no more operations than this.
MOST_OPERATIONS = 128
Request = dict[str, Any]


class StoreError(Exception):
    """etcd doesn't hold what was expected, or didn't answer."""


class UnansweredError(StoreError):
    """No member of etcd answered: nobody can say what it holds."""


@dataclass(frozen=True)
class Entry:
    """One key as etcd holds it; `modified` is the revision of etcd at which it was written last."""

    key: str
    value: Any
    modified: int
    lease: int = 0


@dataclass(frozen=True)
class Transaction:
    """What is done when all of `compare` holds; what is read when it doesn't."""

    compare: Sequence[Request] = ()
    success: Sequence[Request] = ()
    failure: Sequence[Request] = ()

    def body(self) -> Request:
        """Return what /v3/kv/txn takes."""
        if len(self.success) > MOST_OPERATIONS or len(self.failure) > MOST_OPERATIONS:
            raise StoreError(f"{len(self.success)} operations are more than etcd takes at once, {MOST_OPERATIONS}")
        return {"compare": list(self.compare), "success": list(self.success), "failure": list(self.failure)}


@dataclass(frozen=True)
class Outcome:
    """Whether the comparison held, etcd's revision then, and the entries that each request for a range found."""

    succeeded: bool
    revision: int
    found: tuple[tuple[Entry, ...], ...] = field(default=())

    @property
    def first(self) -> Entry | None:
        """Return the entry that the first range found, if any."""
        return self.found[0][0] if self.found and self.found[0] else None


def encode(text: str) -> str:
    """Write a key or value as the gateway has it."""
    return base64.b64encode(text.encode()).decode("ascii")


def decode(text: str) -> str:
    """Read a key or value as the gateway has it."""
    return base64.b64decode(text).decode()


def range_end(prefix: str) -> str:
    """Return the key behind all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def unwritten(key: str) -> Request:
    """The condition that a key is not there."""
    return {"key": encode(key), "target": "VERSION", "result": "EQUAL", "version": "0"}


def unchanged(key: str, modified: int) -> Request:
    """The condition that a key was last written at this revision; 0 means that it is not there."""
    if modified == 0:
        return unwritten(key)
    return {"key": encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(modified)}


def put(key: str, value: Any, lease: int = 0) -> Request:
    """The order to write a key; it goes with its lease."""
    order = {"key": encode(key), "value": encode(json.dumps(value, sort_keys=True))}
    return {"request_put": {**order, **({"lease": str(lease)} if lease else {})}}


def delete(key: str, end: str | None = None) -> Request:
    """The order to delete a key, or all from it up to `end`."""
    return {"request_delete_range": {"key": encode(key), **({"range_end": encode(end)} if end else {})}}


def read(key: str) -> Request:
    """The request for one key."""
    return {"request_range": {"key": encode(key)}}


def read_all(prefix: str, keys_only: bool = False) -> Request:
    """The request for all keys that begin with `prefix`, in their order."""
    request: Request = {"key": encode(prefix), "range_end": encode(range_end(prefix))}
    return {"request_range": {**request, **({"keys_only": True} if keys_only else {})}}


def effects(orders: Sequence[Request]) -> dict[str, Any]:
    """Return the values that orders leave behind, by key; nothing for what they delete."""
    left: dict[str, Any] = {}
    for order in orders:
        if written := order.get("request_put"):
            left[decode(written["key"])] = json.loads(decode(written["value"]))
        elif deleted := order.get("request_delete_range"):
            left[decode(deleted["key"])] = None
    return left


def parse_entry(data: Mapping[str, Any]) -> Entry:
    """Read one key of an answer; the gateway writes 64-bit numbers as text and leaves out what is empty."""
    text = decode(data.get("value", ""))
    return Entry(
        decode(data["key"]),
        json.loads(text) if text else None,
        int(data.get("mod_revision", 0)),
        int(data.get("lease", 0)),
    )


def parse_outcome(reply: Mapping[str, Any]) -> Outcome:
    """Read the answer of /v3/kv/txn."""
    try:
        ranges = [answer["response_range"] for answer in reply.get("responses", []) if "response_range" in answer]
        found = tuple(tuple(parse_entry(data) for data in answer.get("kvs", [])) for answer in ranges)
        return Outcome(bool(reply.get("succeeded", False)), int(reply["header"]["revision"]), found)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"etcd answered in an unknown form, {str(reply)[:200]}: {error}") from error


def parse_ttl(reply: Mapping[str, Any]) -> int:
    """Read the answer of /v3/lease/keepalive: the seconds that the lease lives on, 0 when it is gone."""
    result = reply.get("result", reply)
    if not isinstance(result, Mapping) or "ID" not in result:
        raise StoreError(f"etcd answered a renewal in an unknown form: {str(reply)[:200]}")
    return int(result.get("TTL", 0))


ARGUMENTS: dict[str, Any] = {
    "etcd_addresses": {"type": "list", "elements": "str", "default": ["127.0.0.1"]},
    "etcd_port": {"type": "int", "default": CLIENT_PORT},
    "etcd_ca_file": {"type": "path", "default": "/etc/nectar/tls/ca.crt"},
    "etcd_cert_file": {"type": "path", "default": "/etc/nectar/tls/etcd.crt"},
    "etcd_key_file": {"type": "path", "default": "/etc/nectar/tls/etcd.key", "no_log": False},
    "etcd_timeout": {"type": "float", "default": 4.0},
}


@dataclass(frozen=True)
class Store:
    """Asks the members of etcd, one after another, until one answers."""

    caller: Caller
    urls: Sequence[str]

    @classmethod
    def from_arguments(cls, params: Mapping[str, Any]) -> Store:
        """Return the store that a module's ARGUMENTS describe."""
        caller = Caller(
            params["etcd_ca_file"], params["etcd_cert_file"], params["etcd_key_file"], timeout=params["etcd_timeout"]
        )
        addresses = dict.fromkeys(params["etcd_addresses"])
        return cls(caller, [endpoint(address, params["etcd_port"]) for address in addresses])

    def commit(self, transaction: Transaction) -> Outcome:
        """Carry a transaction out.

        A member may carry it out and be lost before it answers; the next one then finds the comparison broken. So whoever writes
        asks in `failure` for what is there, and takes its own writing for a success.
        """
        return parse_outcome(self._ask("kv/txn", transaction.body()))

    def read(self, *requests: Request) -> Outcome:
        """Read several ranges at one moment."""
        return self.commit(Transaction(success=requests))

    def grant(self, lease: int, ttl: int) -> None:
        """Make a lease of a number that the caller chose, so that asking twice makes one."""
        try:
            self._ask("lease/grant", {"TTL": str(ttl), "ID": str(lease)})
        except UnansweredError as error:
            if "lease already exists" not in str(error):
                raise

    def renew(self, lease: int) -> int:
        """Let a lease live on; return for how many seconds, 0 when it is gone."""
        return parse_ttl(self._ask("lease/keepalive", {"ID": str(lease)}))

    def _ask(self, verb: str, body: Request) -> Any:
        try:
            return self.caller.ask_any("POST", [f"{url}/v3/{verb}" for url in self.urls], body)
        except HttpsError as error:
            raise UnansweredError(str(error)) from error
