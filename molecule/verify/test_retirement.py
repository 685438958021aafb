# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nothing is left of anybody: what bears a name on a server belongs to something that serves."""

from __future__ import annotations

from typing import Any

testinfra_hosts = ["ansible://all"]


def names(host: Any, command: str) -> set[str]:
    """Return the words that a command prints, one on each line."""
    with host.sudo():
        return set(host.check_output(command).split())


def test_keys_belong_to_members(host: Any) -> None:
    members = names(host, "getent group nectar-members | cut -d: -f4 | tr , '\\n'")
    assert members
    assert names(host, "ls /etc/ssh/authorized_keys.d") == members


def test_users_and_units_belong_to_deployments(host: Any) -> None:
    deployments = names(host, "ls /var/lib/nectar/deployments 2>/dev/null || true")
    assert names(host, "getent passwd | grep -o '^nb-[^:]*' | cut -c4-") == deployments
    assert names(host, "ls /etc/nectar/deployments 2>/dev/null || true") == deployments
    targets = "ls /etc/systemd/system | grep -oP '^nectar-\\K.*(?=-(blue|green)\\.target$)' || true"
    assert names(host, targets) == deployments


def test_fragments_and_routes_belong_together(host: Any) -> None:
    routed = names(host, "awk '/^[^#]/ {print substr($2, 4)}' /etc/haproxy/maps/deployments.map 2>/dev/null || true")
    found = "find /etc/haproxy/conf.d /var/lib/nectar/traffic -maxdepth 1 -type f 2>/dev/null"
    assert names(host, f"{found} | grep -oP '/60-\\K.*(?=\\.cfg$)' || true") == routed
    assert names(host, f"{found} | grep -oP 'traffic/\\K.*(?=\\.json$)' || true") == routed
