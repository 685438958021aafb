# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The addresses that were chosen the last time, as a file keeps them between runs."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.address_choice import Decision
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import EndpointError, LastGood, is_port
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Problem

VERSION = 1
# An answer that is proven again is dated anew only after this part of max_age: a second run changes nothing.
RENEWAL = 0.25

State = dict[str, dict[str, Any]]


def parse_state(text: str | None, path: str) -> State:
    """What the file holds; one that holds something else is refused, for it may be somebody else's."""
    if text is None:
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise _foreign(path, f"is no JSON document of version {VERSION}")
    endpoints = document.get("endpoints")
    if not isinstance(endpoints, dict):
        raise _foreign(path, "has no mapping `endpoints`")
    for name, entry in endpoints.items():
        if not _is_entry(entry):
            raise _foreign(path, f"has no address, port and time for {name!r}")
    return endpoints


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("address"), str):
        return False
    try:
        ipaddress.ip_address(entry["address"])
    except ValueError:
        return False
    return is_port(entry.get("port")) and isinstance(entry.get("proven_at"), int | float)


def _foreign(path: str, found: str) -> EndpointError:
    expected = "what resolve_address wrote there"
    return EndpointError(
        [
            Problem(
                found=f"state_file {path!r} {found}", expected=expected, remedy="name another file, or remove this one"
            )
        ]
    )


def past_answers(state: Mapping[str, Mapping[str, Any]], now: float) -> dict[str, LastGood]:
    """The last good answer of each endpoint; a clock that was set back makes none younger than now."""
    return {
        name: LastGood(entry["address"], entry["port"], max(0.0, now - entry["proven_at"]))
        for name, entry in state.items()
    }


def next_state(state: Mapping[str, dict[str, Any]], decisions: Iterable[Decision], now: float, max_age: float) -> State:
    """The file's next content; endpoints that weren't asked about, or have no answer now, keep theirs."""
    renewed = dict(state)
    for decision in decisions:
        if not decision.ok or decision.chosen is None:
            continue
        name, chosen = decision.endpoint.name, decision.chosen
        old = state.get(name)
        same = old is not None and (old["address"], old["port"]) == (chosen.address, chosen.port)
        if not same or old is None or not 0 <= now - old["proven_at"] < max_age * RENEWAL:
            renewed[name] = {"address": chosen.address, "port": chosen.port, "proven_at": round(now)}
    return renewed


def show_state(state: Mapping[str, Mapping[str, Any]]) -> str:
    document = {"version": VERSION, "endpoints": dict(sorted(state.items()))}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
