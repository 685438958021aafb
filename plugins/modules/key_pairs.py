#!/usr/bin/python
# Copyright (c) Nectar Backend maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: key_pairs
short_description: Have many SSH key pairs, each made once
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Makes those of the key pairs that are missing, with C(ssh-keygen), and returns all public keys. Never replaces a private key.
  - Does in one call what M(community.crypto.openssh_keypair) does in one call for each pair.
options:
  directory:
    description: Folder that holds the pairs. It and folders in it are made with mode C(0700).
    type: path
    required: true
  pairs:
    description: The pairs, as mapping from the private key's path in O(directory) to its comment.
    type: dict
    required: true
attributes:
  check_mode:
    description: Says which pairs would be made, and returns the keys that exist.
    support: full
"""

EXAMPLES = r"""
- name: Have a key pair for each member
  nectar.backend.key_pairs:
    directory: /home/alice/.local/state/nectar/lab
    pairs: {ssh/alice: alice, ssh/bob: bob}
  register: key_pairs
"""

RETURN = r"""
public_keys:
  description: The public keys by the path of their private key in O(directory).
  returned: success
  type: dict
  sample: {ssh/alice: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA alice}
made:
  description: Paths of the pairs that were made, or would be.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENT_SPEC: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "pairs": {"type": "dict", "required": True, "no_log": False},
}


def main() -> None:
    """Make what is missing, and return what there is."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    directory, pairs = Path(module.params["directory"]), module.params["pairs"]
    try:
        missing = [
            path for path in pairs if not public_half(directory / path).is_file() or not (directory / path).is_file()
        ]
        if not module.check_mode:
            for path in missing:
                make_pair(module, directory, path, str(pairs[path]))
        public_keys = {
            path: public_half(directory / path).read_text(encoding="utf-8").strip()
            for path in pairs
            if public_half(directory / path).is_file()
        }
    except OSError as error:
        module.fail_json(msg=f"Cannot have the key pairs in {directory}: {error}")
    module.exit_json(changed=bool(missing), made=missing, public_keys=public_keys)


def public_half(path: Path) -> Path:
    """Say where the public key lies."""
    return path.with_name(f"{path.name}.pub")


def make_pair(module: AnsibleModule, directory: Path, path: str, comment: str) -> None:
    """Make a pair, or the public half of a private key that lost it."""
    private = directory / path
    for folder in reversed([private.parent, *private.parent.parents]):
        if folder == directory or directory in folder.parents:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if private.exists():
        _code, output, _error = module.run_command(["ssh-keygen", "-y", "-f", str(private)], check_rc=True)
        public_half(private).write_text(f"{output.strip()}\n", encoding="utf-8")
        return
    public_half(private).unlink(missing_ok=True)
    module.run_command(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(private)], check_rc=True
    )


if __name__ == "__main__":
    main()
