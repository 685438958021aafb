#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gather all that building a release takes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_bundle
short_description: Gather all that building a release takes
version_added: "0.1.0"
description:
  - Runs on the controller. Fetches the locked wheels for the servers' Debian with the controller's own pip and its index settings,
    and packs them with the source into one archive for each release, so that no server needs an index.
  - Every wheel's hash is compared with the lock. Wheels that were fetched before are taken from the cache.
author:
  - Nectar Backend maintainers (@nectar)
requirements:
  - packaging
  - pip
options:
  releases:
    description: The releases, each with C(release), C(source) and C(lock), as M(nectar.backend.deployment_plan) returns them.
    type: list
    elements: dict
    required: true
  target:
    description: What they are built for, with C(debian) and C(machine).
    type: dict
    required: true
  cache_directory:
    description: Where wheels and bundles are kept. Omit it for C(nectar) in the user's cache folder.
    type: path
attributes:
  check_mode:
    description: Says which bundles would be made.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Gather what the builds take
  nectar.backend.release_bundle:
    releases: "{{ plan.releases | rejectattr('built') }}"
    target: "{{ plan.target }}"
  delegate_to: localhost
  run_once: true
  become: false
"""

RETURN = r"""
bundles:
  description: By release, the bundle's path and SHA-256.
  type: dict
  returned: success
  sample: {orders-0123456789ab: {path: /home/alice/.cache/nectar/bundles/orders-0123456789ab.tar, sha256: "9f86d0"}}
"""

import os
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.nectar.backend.plugins.module_utils.release_files import file_sha256
from ansible_collections.nectar.backend.plugins.module_utils.release_source import (
    cache_directory,
    git_lister,
    list_all,
    read_project,
    source_paths,
)
from ansible_collections.nectar.backend.plugins.module_utils.releases import (
    ReleaseError,
    Requirement,
    Target,
    make_target,
    marker_environment,
    missing_requirements,
    parse_lock,
    select_requirements,
    split_requirements,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text

try:
    from packaging.markers import InvalidMarker, Marker
except ImportError:
    PACKAGING_ERROR: str | None = traceback.format_exc()
else:
    PACKAGING_ERROR = None

ARGUMENT_SPEC: dict[str, Any] = {
    "releases": {"type": "list", "elements": "dict", "required": True},
    "target": {"type": "dict", "required": True},
    "cache_directory": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if PACKAGING_ERROR:
        module.fail_json(msg=missing_required_lib("packaging"), exception=PACKAGING_ERROR)
    cache = module.params["cache_directory"] or cache_directory(os.environ)
    releases = module.params["releases"]
    bundles: dict[str, dict[str, str]] = {}
    try:
        target = make_target(module.params["target"]["debian"], module.params["target"]["machine"])
        for entry in releases if not module.check_mode else ():
            bundles[entry["release"]] = make_bundle(module, entry, target, cache)
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=f"Cannot gather what the build takes: {error}")
    module.exit_json(changed=bool(releases), bundles=bundles)


def make_bundle(module: AnsibleModule, entry: Mapping[str, Any], target: Target, cache: str) -> dict[str, str]:
    """Pack the source, its wheels and the list of what to install."""
    source = entry["source"]
    try:
        locked = parse_lock(read_text(entry["lock"]) or "")
        needed = select_requirements(locked, lambda marker: is_true(marker, target))
        installed = (
            split_requirements(needed, read_project(source["directory"]))[0] if "directory" in source else needed
        )
        wheels = fetch_wheels(module, needed, target, os.path.join(cache, "wheels", f"{target.abi}-{target.machine}"))
    except ReleaseError as error:
        raise ReleaseError(f"{entry['lock']}: {error}") from error
    path = os.path.join(cache, "bundles", f"{entry['release']}.tar")
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    lister = list_all if "commit" in source else git_lister(module)
    sources = source_paths(source["directory"], lister) if "directory" in source else []
    pack(path, source, sources, wheels, installed)
    return {"path": path, "sha256": file_sha256(path)}


def is_true(marker: str, target: Target) -> bool:
    """Judge a marker as the target's Python would."""
    try:
        return bool(Marker(marker).evaluate({**marker_environment(target), "extra": ""}))
    except InvalidMarker as error:
        raise ReleaseError(f"marker {marker!r} can't be read: {error}") from error


def fetch_wheels(
    module: AnsibleModule, requirements: Sequence[Requirement], target: Target, directory: str
) -> list[str]:
    """Return a wheel for each requirement, fetching those that the cache doesn't have."""
    os.makedirs(directory, 0o755, exist_ok=True)
    if missing := missing_requirements(requirements, wheels_by_digest(directory)):
        download(module, missing, target, directory)
    present = wheels_by_digest(directory)
    if absent := missing_requirements(requirements, present):
        raise ReleaseError(f"pip left out {', '.join(requirement.name for requirement in absent)}")
    wanted = {digest for requirement in requirements for digest in requirement.hashes}
    return sorted(path for digest, path in present.items() if digest in wanted)


def wheels_by_digest(directory: str) -> dict[str, str]:
    """Return the wheels that are there."""
    paths = [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".whl")]
    return {file_sha256(path): path for path in paths}


def download(module: AnsibleModule, requirements: Sequence[Requirement], target: Target, directory: str) -> None:
    """Let pip fetch wheels for another machine and Python than this one's."""
    options = [
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    options += ["--implementation", "cp", "--python-version", target.python]
    options += [word for abi in (target.abi, "abi3", "none") for word in ("--abi", abi)]
    options += [word for platform in target.platforms for word in ("--platform", platform)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as lock:
        lock.write("".join(f"{requirement.line}\n" for requirement in requirements))
        lock.flush()
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", directory, "--requirement", lock.name]
        code, _out, said = module.run_command(command)
    if code:
        errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()
        raise ReleaseError(
            f"pip can't fetch wheels for Python {target.python} on {target.machine}: {' '.join(errors[-3:])} "
            "(each package must come as a wheel; servers have no compiler)"
        )


def pack(
    path: str,
    source: Mapping[str, str],
    sources: Sequence[str],
    wheels: Sequence[str],
    installed: Sequence[Requirement],
) -> None:
    """Write the bundle, whole or not at all."""
    draft = f"{path}.part"
    with tarfile.open(draft, "w") as archive:
        for wheel in wheels:
            archive.add(wheel, f"wheels/{os.path.basename(wheel)}")
        if "wheel" in source:
            archive.add(source["wheel"], f"built/{os.path.basename(source['wheel'])}")
        for name in sources:
            archive.add(os.path.join(source["directory"], name), f"source/{name}", recursive=False)
        text = "".join(f"{requirement.line}\n" for requirement in installed).encode()
        member = tarfile.TarInfo("install.txt")
        member.size = len(text)
        archive.addfile(member, BytesIO(text))
    os.replace(draft, path)


if __name__ == "__main__":
    main()
