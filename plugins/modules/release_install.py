#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install built releases on a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_install
short_description: Install built releases on a server
version_added: "0.1.0"
description:
  - Unpacks releases to their final place, owned by root and writable by nobody, compares every file with the manifest,
    and only then gives the release its name. A release that is there already is left alone.
author:
  - Nectar Backend maintainers (@nectar)
options:
  releases:
    description: The names of the releases.
    type: list
    elements: str
    required: true
  archive_directory:
    description: Where their archives are. An archive is removed once its release is installed.
    type: path
    default: /var/cache/nectar/releases
  releases_directory:
    description: Where releases lie.
    type: path
    default: /opt/nectar/releases
attributes:
  check_mode:
    description: Says what would be installed.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Install the release
  nectar.backend.release_install:
    releases: [orders-0123456789ab]
"""

RETURN = r"""
installed:
  description: The releases that were not there before.
  type: list
  elements: str
  returned: success
  sample: [orders-0123456789ab]
"""

import os
import shutil
import tarfile
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.release_files import check_tree, unpack_tree
from ansible_collections.nectar.backend.plugins.module_utils.releases import ReleaseError

ARGUMENT_SPEC: dict[str, Any] = {
    "releases": {"type": "list", "elements": "str", "required": True},
    "archive_directory": {"type": "path", "default": "/var/cache/nectar/releases"},
    "releases_directory": {"type": "path", "default": "/opt/nectar/releases"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    directory = module.params["releases_directory"]
    wanted = [name for name in module.params["releases"] if not os.path.isdir(os.path.join(directory, name))]
    try:
        for name in wanted if not module.check_mode else ():
            install(os.path.join(module.params["archive_directory"], f"{name}.tar.gz"), directory, name)
    except (ReleaseError, OSError, tarfile.TarError) as error:
        module.fail_json(msg=f"Cannot install: {error}")
    module.exit_json(changed=bool(wanted), installed=wanted)


def install(archive: str, directory: str, name: str) -> None:
    """Unpack under a name that nobody uses, and rename once everything is right."""
    draft = os.path.join(directory, f".{name}")
    os.makedirs(directory, 0o755, exist_ok=True)
    shutil.rmtree(draft, ignore_errors=True)
    unpack_tree(archive, draft, folder_mode=0o555)
    manifest = check_tree(draft)
    if manifest.release != name:
        raise ReleaseError(f"{archive} holds {manifest.release}; remove it on the controller and deploy again")
    os.rename(draft, os.path.join(directory, name))
    with suppress(FileNotFoundError):
        os.unlink(archive)


if __name__ == "__main__":
    main()
