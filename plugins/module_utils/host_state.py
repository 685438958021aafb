# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has installed and running, so that tasks can tell that they have nothing to do there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

DPKG_STATUS = "/var/lib/dpkg/status"
# The first that is there says when the package lists were fetched; ansible.builtin.apt looks at the same two.
PACKAGE_LISTS = ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists")
SHOW_SERVICES = ("systemctl", "show", "--property=Id,ActiveState,UnitFileState", "*.service")


def installed_packages(status: str) -> list[str]:
    """Name what dpkg has installed in full, held or not; half an installation is none."""
    return sorted(
        stanza["Package"]
        for stanza in read_stanzas(status, ": ")
        if stanza.get("Status", "").split()[1:] == ["ok", "installed"]
    )


def running_services(shown: str) -> list[str]:
    """Name the services that run and start with the host, of what SHOW_SERVICES printed."""
    return sorted(
        stanza["Id"]
        for stanza in read_stanzas(shown, "=")
        if (stanza.get("ActiveState"), stanza.get("UnitFileState")) == ("active", "enabled")
    )


def package_lists_age(fetched: Mapping[str, float | None], now: float) -> int | None:
    """Return the seconds since the package lists were fetched, or nothing where there are none."""
    times = [time for time in map(fetched.get, PACKAGE_LISTS) if time is not None]
    return max(0, int(now - times[0])) if times else None


def read_stanzas(text: str, separator: str) -> Iterator[dict[str, str]]:
    """Give the fields of each stanza; lines that go on with the one before are left out."""
    for stanza in filter(None, text.strip().split("\n\n")):
        yield dict(line.split(separator, 1) for line in stanza.splitlines() if line[0] != " " and separator in line)
