#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build releases from their bundles."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Build releases from their bundles
version_added: "0.1.0"
description:
  - Runs on a build host that the role P(nectar.backend.builder#role) set up. Each release is built in a root of the target Debian of which nothing
    but the release itself can be written, at its final path, by a user without rights and without a network.
  - The result is an archive with a manifest of all its files.
author:
  - Nectar Backend maintainers (@nectar)
options:
  bundles:
    description: The bundles by release, each with its C(sha256), as M(nectar.backend.release_bundle) returns them.
    type: dict
    required: true
  bundle_directory:
    description: Where the bundles are, each called C(<release>.bundle.tar). A bundle is removed once it is unpacked.
    type: path
    default: /var/cache/nectar/releases
  suite:
    description: The code name of the target Debian.
    type: str
    required: true
  user:
    description: Who builds.
    type: str
    default: nectar-builder
  memory_max:
    description: Megabytes that one build may use.
    type: int
    default: 256
  parallel:
    description: How many releases are built at a time.
    type: int
    default: 2
  builder_directory:
    description: Where roots lie and builds happen.
    type: path
    default: /var/cache/nectar/builder
  archive_directory:
    description: Where the archives go.
    type: path
    default: /var/cache/nectar/releases
attributes:
  check_mode:
    description: Says what would be built.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Build the release
  nectar.backend.release_build:
    suite: trixie
    bundles: "{{ gathered.bundles }}"
  delegate_to: ops1
"""

RETURN = r"""
archives:
  description: By release, the archive's path, its SHA-256, its size in bytes, and the seconds that the build took.
  type: dict
  returned: success
  sample: {orders-0123456789ab: {path: /var/cache/nectar/releases/orders-0123456789ab.tar.gz, sha256: "9f86d0", size: 4000000, seconds: 8.1}}
"""

import os
import pwd
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.release_files import (
    file_sha256,
    pack_tree,
    unpack_tree,
    write_manifest,
)
from ansible_collections.nectar.backend.plugins.module_utils.releases import (
    RECIPE,
    RECIPE_SCRIPT,
    RELEASES_DIRECTORY,
    ReleaseError,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import replace_text

TAIL_LINES = 30
# The build sees the root's files, its own folder and nothing else that it could change, and no network.
SANDBOX = {
    "MountAPIVFS": "yes",
    "TemporaryFileSystem": "/opt",
    "PrivateNetwork": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectSystem": "strict",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "RestrictSUIDSGID": "yes",
    "TasksMax": "64",
}

ARGUMENT_SPEC: dict[str, Any] = {
    "bundles": {"type": "dict", "required": True},
    "bundle_directory": {"type": "path", "default": "/var/cache/nectar/releases"},
    "suite": {"type": "str", "required": True},
    "user": {"type": "str", "default": "nectar-builder"},
    "memory_max": {"type": "int", "default": 256},
    "parallel": {"type": "int", "default": 2},
    "builder_directory": {"type": "path", "default": "/var/cache/nectar/builder"},
    "archive_directory": {"type": "path", "default": "/var/cache/nectar/releases"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    bundles = module.params["bundles"]
    if module.check_mode:
        module.exit_json(changed=bool(bundles), archives={})
    try:
        root = prepared_root(module)
        with ThreadPoolExecutor(max(module.params["parallel"], 1)) as pool:
            built = pool.map(lambda release: build(module, root, release, bundles[release]["sha256"]), bundles)
            archives = dict(zip(bundles, built, strict=True))
    except (ReleaseError, OSError, KeyError) as error:
        module.fail_json(msg=f"Cannot build: {error}")
    module.exit_json(changed=bool(bundles), archives=archives)


def prepared_root(module: AnsibleModule) -> str:
    """Return the root of the target Debian, waiting for it if it is being made."""
    suite = module.params["suite"]
    code, _out, error = module.run_command(["systemctl", "start", f"nectar-builder-root@{suite}.service"])
    root = os.path.join(module.params["builder_directory"], "roots", suite)
    if code or not os.path.isdir(root):
        raise ReleaseError(
            f"the root for {suite} can't be made: {error.strip()} (journalctl -u nectar-builder-root@{suite}); run site.yml for this host"
        )
    return root


def build(module: AnsibleModule, root: str, release: str, sha256: str) -> dict[str, Any]:
    """Build one release and pack it."""
    began, bundle = time.monotonic(), os.path.join(module.params["bundle_directory"], f"{release}.bundle.tar")
    if file_sha256(bundle) != sha256:
        raise ReleaseError(f"{bundle} is not what was sent; deploy again")
    place = os.path.join(module.params["builder_directory"], "builds", release)
    shutil.rmtree(place, ignore_errors=True)
    archive = os.path.join(module.params["archive_directory"], f"{release}.tar.gz")
    os.makedirs(module.params["archive_directory"], 0o755, exist_ok=True)
    unpack_tree(bundle, place)
    os.unlink(bundle)
    run_recipe(module, root, place, release)
    result = os.path.join(place, "release")
    write_manifest(result, release, {"bundle": sha256, "recipe": RECIPE, "suite": module.params["suite"]})
    pack_tree(result, archive)
    shutil.rmtree(place)
    return {
        "path": archive,
        "sha256": file_sha256(archive),
        "size": os.path.getsize(archive),
        "seconds": round(time.monotonic() - began, 1),
    }


def run_recipe(module: AnsibleModule, root: str, place: str, release: str) -> None:
    """Run the recipe inside the root; fail with the end of what it said."""
    replace_text(os.path.join(place, "recipe.sh"), RECIPE_SCRIPT)
    os.mkdir(os.path.join(place, "release"))
    owner = pwd.getpwnam(module.params["user"])
    for folder, _folders, names in os.walk(place):
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        for name in names:
            os.lchown(os.path.join(folder, name), owner.pw_uid, owner.pw_gid)
    final = os.path.join(RELEASES_DIRECTORY, release)
    settings = {**SANDBOX, "RootDirectory": root, "User": owner.pw_name, "MemoryMax": f"{module.params['memory_max']}M"}
    options = [f"--property={name}={value}" for name, value in settings.items()]
    options += [
        f"--property=BindPaths={place}/release:{final} {place}:/build",
        f"--property=ReadWritePaths={final} /build",
    ]
    command = [
        "systemd-run",
        "--wait",
        "--pipe",
        "--collect",
        "--quiet",
        f"--unit=nectar-build-{release}",
        *options,
        "sh",
        "/build/recipe.sh",
        final,
    ]
    code, out, error = module.run_command(command)
    if code:
        said = "\n".join((out + error).strip().splitlines()[-TAIL_LINES:])
        raise ReleaseError(f"{release} failed with code {code}; the build said last:\n{said}")


if __name__ == "__main__":
    main()
