# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The units of a slot: what starts, what follows, and how a command is written for systemd."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.units import (
    Limits,
    Paths,
    command_line,
    migration_unit,
    slot_units,
)

PATHS = Paths("/opt/nectar/releases/orders-1", "/shared", "/etc/blue.env", "/state/blue.identity.json")
LIMITS = Limits(192, 64, 30, 900)
DEPLOYMENT: dict[str, Any] = {
    "name": "production",
    "user": "nb-production",
    "migrate": ["orders-migrate", "orders-seed --once"],
    "processes": {
        "web": {"type": "web", "command": "gunicorn --bind {address}:{port} orders.wsgi:app"},
        "mail": {"type": "worker", "command": "orders-mail"},
        "tidy": {"type": "timer", "command": "orders-tidy", "schedule": "daily"},
    },
}
VALUES = {"address": "192.0.2.21", "port": "10002", "name": "production", "shared": "/shared/my files"}
UNITS = slot_units(DEPLOYMENT, "blue", VALUES, PATHS, LIMITS)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        pytest.param(
            "gunicorn --bind {address}:{port}", "/r/bin/gunicorn --bind 192.0.2.21:10002", id="a program of the release"
        ),
        pytest.param("/usr/bin/env x", "/usr/bin/env x", id="a program of the system"),
        pytest.param(
            "run --in {shared}", '/r/bin/run --in "/shared/my files"', id="a value with a blank stays one word"
        ),
        pytest.param("run '100% of $HOME'", '/r/bin/run "100%% of $$HOME"', id="what systemd would replace"),
        pytest.param("run 'say \"hi\"' ''", '/r/bin/run "say \\"hi\\"" ""', id="quotes and nothing"),
        pytest.param("run 'a;b' {{x}}", '/r/bin/run "a;b" {x}', id="a separator and braces"),
    ],
)
def test_command(command: str, line: str) -> None:
    assert command_line(command, VALUES, "/r") == line


def test_names() -> None:
    assert sorted(UNITS) == [
        "nectar-production-blue-identity.service",
        "nectar-production-blue-mail.service",
        "nectar-production-blue-tidy.service",
        "nectar-production-blue-tidy.timer",
        "nectar-production-blue-web.service",
        "nectar-production-blue.target",
    ]


def test_the_target_wants_what_runs_all_the_time() -> None:
    wanted = "Wants=nectar-production-blue-web.service nectar-production-blue-mail.service nectar-production-blue-identity.service\n"
    assert wanted in UNITS["nectar-production-blue.target"]
    assert "WantedBy=multi-user.target" in UNITS["nectar-production-blue.target"]


def test_the_identity_lives_and_dies_with_the_web_process() -> None:
    assert "BindsTo=nectar-production-blue-web.service\n" in UNITS["nectar-production-blue-identity.service"]
    assert "Wants=nectar-production-blue-identity.service\n" in UNITS["nectar-production-blue-web.service"]


@pytest.mark.parametrize("unit", [name for name in UNITS if name.endswith(".service")])
def test_services_have_no_rights(unit: str) -> None:
    text = UNITS[unit]
    for line in (
        "User=nb-production",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
    ):
        assert f"\n{line}\n" in text
    assert "MemoryMax=" in text


def test_a_timer_belongs_to_its_slot() -> None:
    timer = UNITS["nectar-production-blue-tidy.timer"]
    assert "OnCalendar=daily\n" in timer
    assert "WantedBy=nectar-production-blue.target\n" in timer
    assert "Type=oneshot\n" in UNITS["nectar-production-blue-tidy.service"]


def test_migrations_run_in_order_within_their_time() -> None:
    text = migration_unit(DEPLOYMENT, VALUES, PATHS, LIMITS)["nectar-production-migrate.service"]
    assert text.index("bin/orders-migrate\n") < text.index("bin/orders-seed --once\n")
    assert "TimeoutStartSec=900\n" in text
    assert migration_unit({**DEPLOYMENT, "migrate": []}, VALUES, PATHS, LIMITS) == {}


SHARE = {"memory": 420, "memory_max": {"web": 300, "mail": 80, "tidy": 32}}


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(SHARE, {"web": 300, "mail": 80, "tidy": 32, "migrate": 420}, id="its share"),
        pytest.param({}, dict.fromkeys(["web", "mail", "tidy", "migrate"], 192), id="the common limit without one"),
    ],
)
def test_memory(share: dict[str, Any], expected: dict[str, int]) -> None:
    deployment = {**DEPLOYMENT, "share": share}
    units = slot_units(deployment, "blue", VALUES, PATHS, LIMITS) | migration_unit(deployment, VALUES, PATHS, LIMITS)
    for process, memory in expected.items():
        name = "migrate" if process == "migrate" else f"blue-{process}"
        assert f"\nMemoryMax={memory}M\n" in units[f"nectar-production-{name}.service"]
