# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A root that could build now, and builds that leave nothing behind."""

from __future__ import annotations

from typing import Any

testinfra_hosts = ["ansible://ops_servers"]

BUILDER = "/var/cache/nectar/builder"


def suite(host: Any) -> str:
    """Return the code name of the host's own Debian."""
    return str(host.check_output(". /etc/os-release; echo $VERSION_CODENAME"))


def test_the_root_gets_ready_and_comes_back_after_a_reboot(host: Any) -> None:
    unit = f"nectar-builder-root@{suite(host)}.service"
    with host.sudo():
        # Starting waits for a root that is still being made.
        assert host.run(f"systemctl start {unit}").rc == 0
        assert host.check_output(f"systemctl is-enabled {unit}") == "enabled"


def test_the_root_has_a_python_and_a_pip_of_its_own(host: Any) -> None:
    root = f"{BUILDER}/roots/{suite(host)}"
    with host.sudo():
        said = host.check_output(
            f"chroot {root} sh -c 'PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) python3 -m pip --version'"
        )
    assert said.startswith("pip ")


def test_who_builds_can_not_log_in(host: Any) -> None:
    assert host.user("nectar-builder").shell == "/usr/sbin/nologin"


def test_builds_leave_nothing_behind(host: Any) -> None:
    with host.sudo():
        assert host.check_output(f"find {BUILDER}/builds -mindepth 1 -maxdepth 1 2>/dev/null || true") == ""
        assert host.check_output("find /var/cache/nectar/releases -name '*.bundle.tar' -o -name '*.part'") == ""
