# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a slot consists of: its environment from its share of the budget, and a revision that changes with it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.revisions import DatabaseEndpoint
from ansible_collections.nectar.backend.plugins.module_utils.slot_content import (
    ANY_LAYOUT,
    Endpoints,
    HostView,
    migration_files,
    revision_of,
    slot_files,
)
from ansible_collections.nectar.backend.plugins.module_utils.units import Limits

ENDPOINTS = Endpoints(DatabaseEndpoint("127.0.0.1", 6432), DatabaseEndpoint("primary.nectar.test", 5433))
LIMITS = Limits(192, 64, 30, 900)
SHARE = {"workers": 2, "threads": 4, "worker_timeout": 30, "memory": 112, "memory_max": {"web": 104}}
SECRETS = {"database_password": "s3cret"}
NAMED = 'PGAPPNAME="nectar-production-migrate"\n'
TIMES = "-c lock_timeout={}s -c statement_timeout={}s -c client_connection_check_interval=5s"
MIGRATING = f'NAME="production"\n{NAMED}PGOPTIONS="{TIMES.format(5, 900)}"\n'


def deployment(**changes: Any) -> dict[str, Any]:
    """Return a deployment as it is released."""
    return {
        "name": "production",
        "application": "orders",
        "user": "nb-production",
        "server_name": "production.nectar.test",
        "url": "https://production.nectar.test/",
        "ports": {"blue": 10002, "green": 10003},
        "database": "production",
        "database_role": "production",
        "processes": {"web": {"type": "web", "command": "serve --threads {threads}"}},
        "migrate": ["orders-migrate"],
        "environment": {"NAME": "{name}"},
        "ready_path": "/readyz",
        "addresses": {"app1": "192.0.2.21"},
        "release": "orders-1",
        "revision": "r1",
        "slot": "blue",
        "share": SHARE,
        **changes,
    }


def environments(**changes: Any) -> tuple[str, str]:
    """Return the environment of the processes, and that of a migration."""
    view = HostView("app1", "192.0.2.21", ENDPOINTS, LIMITS, ANY_LAYOUT)
    files = slot_files(deployment(**changes), SECRETS, view)
    paths = [ANY_LAYOUT.environment("production", name) for name in ("blue", "migrate")]
    return files[paths[0]].text, files[paths[1]].text


@pytest.mark.parametrize(
    ("changes", "running", "migrating"),
    [
        pytest.param(
            {},
            'NAME="production"\nWEB_CONCURRENCY="2"\n',
            MIGRATING,
            id="share",
        ),
        pytest.param(
            {"share": {}},
            'NAME="production"\n',
            MIGRATING,
            id="no share",
        ),
        pytest.param(
            {"environment": {"PGOPTIONS": "-c jit=off"}},
            'PGOPTIONS="-c jit=off"\nWEB_CONCURRENCY="2"\n',
            f'{NAMED}PGOPTIONS="-c jit=off"\n',
            id="the application's own word counts",
        ),
        pytest.param(
            {"migrate_lock_timeout": 2, "migrate_statement_timeout": 60},
            'NAME="production"\nWEB_CONCURRENCY="2"\n',
            MIGRATING.replace(TIMES.format(5, 900), TIMES.format(2, 60)),
            id="its own timeouts",
        ),
    ],
)
def test_environment(changes: dict[str, Any], running: str, migrating: str) -> None:
    assert environments(**changes) == (running, migrating)


def revision(**share: Any) -> str:
    """Return the revision with these changes of the share."""
    return revision_of(deployment(share={**SHARE, **share}), SECRETS, ENDPOINTS, LIMITS, 8010, 64)


@pytest.mark.parametrize(
    "share",
    [
        pytest.param({"workers": 3}, id="workers"),
        pytest.param({"threads": 8}, id="threads"),
        pytest.param({"memory_max": {"web": 128}}, id="memory"),
    ],
)
def test_another_share_is_another_revision(share: dict[str, Any]) -> None:
    assert revision(**share) != revision() == revision()


def test_a_migration_s_files_are_no_part_of_a_slot() -> None:
    view = HostView("app1", "192.0.2.21", ENDPOINTS, LIMITS, ANY_LAYOUT)
    files = slot_files(deployment(), SECRETS, view)
    taken = migration_files(deployment(), files, ANY_LAYOUT)
    assert sorted(taken) == [
        "/etc/nectar/deployments/production/migrate.env",
        "/etc/systemd/system/nectar-production-migrate.service",
    ]
    assert migration_files(deployment(migrate=[]), slot_files(deployment(migrate=[]), SECRETS, view), ANY_LAYOUT) == {}
