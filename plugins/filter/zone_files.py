# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the files of DNS zones."""

from __future__ import annotations

DOCUMENTATION = r"""
name: zone_files
short_description: Write the files of DNS zones
version_added: "0.1.0"
description:
  - The result fits the option O(nectar.backend.host_files#module:files), with a command that judges each file before it lands.
  - A zone's serial is a digest of its content, so that the same content has the same serial.
  - All that is wrong is refused at once.
author: Nectar Backend maintainers (@nectar)
options:
  _input:
    description:
      - The environment's zone, with C(name), C(records), C(extra_records), the full names of its C(name_servers), and C(ttl) in seconds.
      - A record has C(name) as in a zone's file, C(type), C(value), and may have C(replace), which takes those of its name and type away.
    type: dict
    required: true
  directory:
    description: The folder of the files.
    type: str
    required: true
  zones:
    description: Further zones, each with C(name), and with C(records) or the C(primaries) that it is fetched from; the latter has no file here.
    type: list
    elements: dict
    default: []
  views:
    description: What some see otherwise, each with C(name), C(clients) and C(records) that lie on top of the environment's zone.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Write a zone
  nectar.backend.host_files:
    files: "{{ zone | nectar.backend.zone_files('/etc/bind/zones') }}"
  vars:
    zone:
      name: example.org
      records: [{name: app1, type: A, value: 192.0.2.21}]
      extra_records: []
      name_servers: [app1.example.org]
      ttl: 60
"""

RETURN = r"""
_value:
  description: The files, each with C(path), C(content) and C(validate).
  type: list
  elements: dict
  sample: [{path: /etc/bind/zones/example.org.zone, content: "$ORIGIN example.org.\n…", validate: named-checkzone -q example.org %s}]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nectar.backend.plugins.module_utils import zones as rules


def zone_files(
    zone: Mapping[str, Any],
    directory: str,
    zones: Sequence[Mapping[str, Any]] = (),
    views: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, str]]:
    """Write the files of DNS zones."""
    try:
        return rules.zone_files(zone, directory, zones, views)
    except rules.ZoneError as error:
        raise AnsibleFilterError(f"zone_files: {error}") from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"zone_files": zone_files}
