# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.upgrade_facts import (
    COMPONENTS,
    Component,
    Package,
    Process,
    choose_packages,
    parse_policy,
    parse_units,
    pick_postmaster,
    present_packages,
    read_etcd,
    read_patroni,
    version_line,
    why_stale,
)

BY_NAME = {component.name: component for component in COMPONENTS}
STATUS = """Package: haproxy
Status: install ok installed
Version: 3.0.11-1+deb13u5

Package: keepalived
Status: hold ok half-configured

Package: etcd-server
Status: deinstall ok config-files
"""
POLICY = """postgresql-17:
  Installed: 17.11-0+deb13u1
  Candidate: 17.12-0+deb13u1
  Version table:
     17.12-0+deb13u1 500
        500 http://deb.example.org/debian trixie/main amd64 Packages
 *** 17.11-0+deb13u1 100
        100 /var/lib/dpkg/status
patroni:
  Installed: 4.0.7-3
  Candidate: (none)
  Version table:
 *** 4.0.7-3 100
"""


def test_a_package_that_is_held_or_half_there_is_there() -> None:
    assert present_packages(STATUS) == {"haproxy": True, "keepalived": False}


@pytest.mark.parametrize(
    ("name", "present", "chosen"),
    [
        pytest.param("haproxy", ["etcd-server"], ("", []), id="none of it"),
        pytest.param(
            "postgresql", ["libpq5", "postgresql-9", "postgresql-17", "postgresql-17-hypopg", "postgresql-common"],
            ("postgresql-17", ["libpq5", "postgresql-17-hypopg", "postgresql-9", "postgresql-common"]), id="the newest major",
        ),
        pytest.param("pgbouncer", ["libpq5", "pgbouncer", "postgresql-client-17"], ("pgbouncer", ["libpq5", "postgresql-client-17"]), id="with its clients"),
        pytest.param("postgresql", ["postgresql-client-17"], ("", []), id="clients alone are no server"),
    ],
)  # fmt: skip
def test_choose_packages(name: str, present: list[str], chosen: tuple[str, list[str]]) -> None:
    assert choose_packages(BY_NAME[name], present) == chosen


def test_what_apt_knows() -> None:
    assert parse_policy(POLICY) == {
        "postgresql-17": Package("postgresql-17", "17.11-0+deb13u1", "17.12-0+deb13u1"),
        "patroni": Package("patroni", "4.0.7-3", ""),
    }


@pytest.mark.parametrize(
    ("version", "depth", "line"),
    [
        pytest.param("3.0.11-1+deb13u5", 2, "3.0", id="Debian's revision is no part of it"),
        pytest.param("1:2.3.3-1", 2, "2.3", id="nor is its epoch"),
        pytest.param("4.0.7-3~deb13u1", 2, "4.0", id="nor a backport's mark"),
        pytest.param("17.12-0+deb13u1", 1, "17", id="a major alone"),
        pytest.param("1.24", 2, "1.24", id="without a revision"),
        pytest.param("", 2, "", id="no version"),
    ],
)
def test_version_line(version: str, depth: int, line: str) -> None:
    assert version_line(version, depth) == line


def test_units_that_run() -> None:
    shown = (
        "Id=haproxy.service\nActiveState=active\nMainPID=7\n\nId=etcd.service\nActiveState=reloading\nMainPID=8\n\n"
        "Id=a.service\nActiveState=active\nMainPID=0\n\nId=patroni.service\nActiveState=failed\nMainPID=9\n"
    )
    assert parse_units(shown) == {"haproxy.service": 7, "etcd.service": 8}


@pytest.mark.parametrize(
    ("component", "process", "unpacked", "why"),
    [
        pytest.param("haproxy", None, 1.0, "does not run", id="nothing runs"),
        pytest.param("haproxy", Process("/usr/sbin/haproxy", 5.0), 9.0, "", id="a program that began before, and was loaded anew since"),
        pytest.param("haproxy", Process("/usr/sbin/haproxy (deleted)", 5.0), 1.0, "runs a program that was replaced", id="replaced"),
        pytest.param("patroni", Process("/usr/bin/python3.13", 5.0), 9.0, "runs since before its package was unpacked", id="older than its package"),
        pytest.param("patroni", Process("/usr/bin/python3.13", 9.0), 5.0, "", id="younger than its package"),
        pytest.param("patroni", Process("/usr/bin/python3.13", 9.0), None, "", id="nobody knows when it came"),
    ],
)  # fmt: skip
def test_why_stale(component: str, process: Process | None, unpacked: float | None, why: str) -> None:
    assert why_stale(BY_NAME[component], process, unpacked) == why


@pytest.mark.parametrize(
    ("processes", "found"),
    [
        pytest.param({5: ("/usr/bin/python3.13", 1)}, None, id="Patroni without a server"),
        pytest.param(
            {5: ("/usr/bin/python3.13", 1), 9: ("/usr/lib/postgresql/17/bin/postgres", 1), 8: ("/usr/lib/postgresql/17/bin/postgres", 9)},
            9, id="the one that the others come from",
        ),
        pytest.param({9: ("/usr/lib/postgresql/17/bin/postgres (deleted)", 1)}, 9, id="also when its program is gone"),
        pytest.param({9: ("/usr/lib/postgresql/17/bin/psql", 1)}, None, id="a client"),
    ],
)  # fmt: skip
def test_the_postmaster(processes: dict[int, tuple[str, int]], found: int | None) -> None:
    component: Component = BY_NAME["postgresql"]
    assert pick_postmaster(component, processes) == found


@pytest.mark.parametrize(
    ("reply", "works", "leads"),
    [
        pytest.param({"header": {"member_id": "7"}, "leader": "7"}, True, True, id="it leads"),
        pytest.param({"header": {"member_id": "8"}, "leader": "7"}, True, False, id="another one leads"),
        pytest.param({"header": {"member_id": "8"}}, False, False, id="nobody leads"),
    ],
)
def test_etcd(reply: dict[str, Any], works: bool, leads: bool) -> None:
    assert read_etcd(reply) == (works, leads)


@pytest.mark.parametrize(
    ("reply", "works", "leads"),
    [
        pytest.param({"role": "primary", "state": "running"}, True, True, id="it leads"),
        pytest.param({"role": "master", "state": "starting"}, False, True, id="it is about to"),
        pytest.param({"role": "replica", "state": "running", "replication_state": "streaming"}, True, False, id="it streams"),
        pytest.param({"role": "replica", "state": "running", "replication_state": "in archive recovery"}, False, False, id="it catches up"),
        pytest.param({"role": "replica", "state": "running"}, True, False, id="a version that doesn't say"),
    ],
)  # fmt: skip
def test_patroni(reply: dict[str, Any], works: bool, leads: bool) -> None:
    assert read_patroni(reply) == (works, leads)
