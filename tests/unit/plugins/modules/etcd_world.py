# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An etcd on the loopback that knows as much of keys, transactions and leases as the modules use."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args


def text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


@dataclass
class Etcd:
    """Keys with the revision of their last writing, and leases by number. A silent one answers nothing of use."""

    revision: int = 100
    keys: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    leases: dict[int, int] = field(default_factory=dict)
    silent: bool = False
    # Carries out the next transaction and loses the answer.
    loses_answer: bool = False

    def value(self, key: str) -> Any:
        return json.loads(self.keys[key][0]) if key in self.keys else None

    def write(self, key: str, value: Any, lease: int = 0) -> int:
        self.revision += 1
        self.keys[key] = (json.dumps(value), self.revision, lease)
        return self.revision

    def expire(self, number: int) -> None:
        del self.leases[number]
        self.keys = {key: entry for key, entry in self.keys.items() if entry[2] != number}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if self.silent:
            return 503, {"error": "etcdserver: request timed out"}
        match path:
            case "/v3/kv/txn":
                answer = self.commit(body)
                if self.loses_answer:
                    self.loses_answer = False
                    return 503, {"error": "etcdserver: leader changed"}
                return 200, answer
            case "/v3/lease/grant":
                if int(body["ID"]) in self.leases:
                    return 400, {"error": "etcdserver: lease already exists"}
                self.leases[int(body["ID"])] = int(body["TTL"])
                return 200, {"ID": body["ID"], "TTL": body["TTL"]}
            case "/v3/lease/keepalive":
                ttl = self.leases.get(int(body["ID"]))
                return 200, {"result": {"ID": body["ID"], **({"TTL": str(ttl)} if ttl else {})}}
        return 404, {}

    def commit(self, body: Any) -> dict[str, Any]:
        succeeded = all(self.holds(condition) for condition in body.get("compare", []))
        orders = body["success" if succeeded else "failure"]
        if any("request_range" not in order for order in orders):
            self.revision += 1
        responses = [self.carry_out(order) for order in orders]
        said = {"succeeded": True} if succeeded else {}
        return {"header": {"revision": str(self.revision)}, **said, "responses": responses}

    def holds(self, condition: dict[str, Any]) -> bool:
        found = self.keys.get(text(condition["key"]))
        if condition["target"] == "VERSION":
            return found is None
        return found is not None and found[1] == int(condition["mod_revision"])

    def carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        ((kind, request),) = order.items()
        key = text(request["key"])
        if kind == "request_put":
            self.keys[key] = (text(request["value"]), self.revision, int(request.get("lease", 0)))
            return {"response_put": {}}
        end = text(request["range_end"]) if "range_end" in request else f"{key}\0"
        found = sorted(name for name in self.keys if key <= name < end)
        if kind == "request_delete_range":
            for name in found:
                del self.keys[name]
            return {"response_delete_range": {"deleted": str(len(found))}}
        return {"response_range": {"kvs": [self.shown(name, request) for name in found]}}

    def shown(self, name: str, request: dict[str, Any]) -> dict[str, str]:
        value, modified, lease = self.keys[name]
        entry = {"key": base64.b64encode(name.encode()).decode(), "mod_revision": str(modified)}
        if not request.get("keys_only"):
            entry["value"] = base64.b64encode(value.encode()).decode()
        return {**entry, **({"lease": str(lease)} if lease else {})}


@dataclass
class Asker:
    """Runs a module as Ansible would, with an etcd behind it."""

    server: Any
    capsys: Any
    etcd: Etcd = field(default_factory=Etcd)

    def __post_init__(self) -> None:
        self.server.answer = self.etcd.answer

    def run(self, module: Any, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {
            "environment": "lab",
            "etcd_port": self.server.port,
            "etcd_ca_file": self.server.cert_file,
            "etcd_cert_file": self.server.cert_file,
            "etcd_key_file": self.server.key_file,
            "_ansible_check_mode": check,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        return dict(json.loads(self.capsys.readouterr().out))
