# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The registry's section `budget`, and the budget of what the registry says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.budget import (
    DEFAULT_CORES,
    RESERVES,
    Budget,
    Server,
    Settings,
    plan_budget,
)
from ansible_collections.nectar.backend.plugins.module_utils.budget_database import DEFAULT_WAL
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import (
    MEMORY,
    Field,
    Report,
    Spot,
    check_entry,
    is_number,
    mebibytes,
)

SHORTEST_REQUEST, LONGEST_REQUEST = 6, 480


def _is_request_timeout(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and SHORTEST_REQUEST <= value <= LONGEST_REQUEST


FIELDS = {
    **dict.fromkeys(RESERVES, MEMORY),
    "request_timeout": Field(
        _is_request_timeout,
        f"whole seconds from {SHORTEST_REQUEST} to {LONGEST_REQUEST}",
        "write it without quotes, as 30",
    ),
}


def read_settings(report: Report, data: Mapping[str, Any]) -> Settings:
    """What the section `budget` says otherwise."""
    spot = Spot(("budget",), "budget")
    fields = check_entry(report, spot, data.get("budget"), FIELDS)
    reserves = {name: mebibytes(fields[name]) if name in fields else least for name, least in RESERVES.items()}
    return Settings(reserves, fields.get("request_timeout", Settings.request_timeout))


def server_of(name: str, groups: Iterable[str], entry: Mapping[str, Any]) -> Server:
    """A server as the budget sees it, from the variable `server` of its host."""
    wal, cores = entry.get("wal", DEFAULT_WAL), entry.get("cores", DEFAULT_CORES)
    return Server(name, tuple(groups), entry.get("memory"), cores, wal)


def budget_of(
    report: Report,
    settings: Settings,
    servers: Iterable[Server],
    variables: Mapping[str, Any],
    here: Iterable[str],
) -> Budget:
    """The budget of a sound registry; with other problems in it there is nothing to count on yet.

    `here` are the servers of this very file; those of earlier sources are told at its deployments.
    """
    if report.problems:
        return Budget()
    known, elsewhere = set(here), ("members" if variables.get("members") else "deployments",)
    listed = list(servers)
    places = {
        server.name: Spot(
            ("servers", server.name, "memory") if server.name in known else elsewhere, f"server {server.name}"
        )
        for server in listed
    }
    return plan_budget(report, listed, variables["deployments"], variables["applications"], settings, places)
