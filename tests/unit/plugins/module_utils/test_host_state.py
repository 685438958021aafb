# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What counts as installed, as running, and as fetched a while ago."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.host_state import (
    PACKAGE_LISTS,
    installed_packages,
    package_lists_age,
    running_services,
)

STATUS = """Package: {name}
Status: {status}
Priority: optional
Description: a package
 that is described in many lines, such as
 Status: install ok installed
 .
 or one more
"""


@pytest.mark.parametrize(
    ("status", "installed"),
    [
        pytest.param("install ok installed", ["haproxy"], id="installed"),
        pytest.param("hold ok installed", ["haproxy"], id="installed and held"),
        pytest.param("deinstall ok config-files", [], id="removed but for its settings"),
        pytest.param("install ok half-configured", [], id="half an installation"),
        pytest.param("install reinstreq half-installed", [], id="a broken one"),
        pytest.param("install reinstreq installed", [], id="one to install again"),
    ],
)
def test_installed_is_what_dpkg_has_in_full(status: str, installed: list[str]) -> None:
    assert installed_packages(STATUS.format(name="haproxy", status=status)) == installed


def test_packages_are_told_apart() -> None:
    both = [STATUS.format(name=name, status="install ok installed") for name in ("nftables", "acl")]
    assert installed_packages("\n".join(both)) == ["acl", "nftables"]


def test_no_status_is_no_package() -> None:
    assert installed_packages("") == []


@pytest.mark.parametrize(
    ("active", "enabled", "running"),
    [
        pytest.param("active", "enabled", ["etcd.service"], id="runs and is enabled"),
        pytest.param("inactive", "enabled", [], id="stopped"),
        pytest.param("failed", "enabled", [], id="failed"),
        pytest.param("activating", "enabled", [], id="about to start, or to fail"),
        pytest.param("active", "disabled", [], id="gone after a restart of the host"),
        pytest.param("active", "masked", [], id="masked"),
        pytest.param("active", "", [], id="without a unit file"),
    ],
)
def test_running_is_what_also_starts_with_the_host(active: str, enabled: str, running: list[str]) -> None:
    shown = f"Id=a=b.service\nActiveState=inactive\nUnitFileState=static\n\nId=etcd.service\nActiveState={active}\nUnitFileState={enabled}\n"
    assert running_services(shown) == running


STAMP, LISTS = PACKAGE_LISTS


@pytest.mark.parametrize(
    ("fetched", "age"),
    [
        pytest.param({STAMP: 900.0, LISTS: 100.0}, 100, id="the stamp counts"),
        pytest.param({STAMP: None, LISTS: 400.0}, 600, id="without a stamp, the folder"),
        pytest.param({STAMP: None, LISTS: None}, None, id="never"),
        pytest.param({STAMP: 2000.0}, 0, id="a clock that went back"),
    ],
)
def test_the_age_of_lists(fetched: dict[str, float | None], age: int | None) -> None:
    assert package_lists_age(fetched, 1000.0) == age
