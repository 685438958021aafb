#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make an environment's secrets once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: environment_secrets
short_description: Make an environment's secrets once
version_added: "0.1.0"
description:
  - Keeps a file of secrets on the controller. Secrets that are required and missing are made; those that are there are never changed or removed.
  - The file is readable by its owner alone, and is replaced as a whole or not at all.
  - Neither results nor diffs ever hold a value.
  - A file that can't be read, is empty or is encrypted is refused, since new secrets in its place would fit no server.
  - A secret that is to be replaced without an outage is there twice for a while, new and, below C(previous) beside it, as it was.
author:
  - Nectar Backend maintainers (@nectar)
options:
  path:
    description: The file, as YAML. Its directory is made if need be, for its owner alone.
    type: path
    required: true
  required:
    description:
      - The names of the secrets that must be there.
      - Either nested mappings, whose leaves are the least number of characters (V(null) for 32), or a list of dotted names.
    type: raw
    required: true
  renew:
    description:
      - Dotted names with their new values; with V(null), one is made. What each was is kept below C(previous) of the same mapping.
      - Where something is kept there already, a renewal is under way, and the names of that mapping stay as they are.
    type: dict
    default: {}
  settle:
    description: Dotted names of the mappings whose C(previous) nothing uses any more; it goes.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says which secrets would be made, and makes none.
    support: full
  diff_mode:
    description: Shows names, never values.
    support: full
"""

EXAMPLES = r"""
- name: Make the environment's secrets
  nectar.backend.environment_secrets:
    path: "{{ state_directory }}/secrets.yml"
    required:
      postgresql: {superuser_password: 32, replication_password: 32}
      deployments:
        production: {database_password: 32}
  delegate_to: localhost
  become: false
  run_once: true
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""

RETURN = r"""
made:
  description: Dotted names of the secrets that were made, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [deployments.production.database_password]
present:
  description: Dotted names of the required secrets that were there already.
  type: list
  elements: str
  returned: success
  sample: [postgresql.superuser_password]
unused:
  description: Dotted names of secrets that nothing requires; they are kept.
  type: list
  elements: str
  returned: success
  sample: [deployments.former.database_password]
renewed:
  description: Dotted names of the secrets that were renewed, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [deployments.alice.database_password]
settled:
  description: Dotted names of the mappings whose former secrets were forgotten, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [deployments.alice]
path:
  description: The file that holds the secrets.
  type: str
  returned: success
  sample: /home/alice/.local/state/nectar/lab/secrets.yml
"""

import fcntl
import os
import secrets
import stat
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.nectar.backend.plugins.module_utils.environment_secrets import (
    Renewal,
    SecretsError,
    SecretsPlan,
    flatten_secrets,
    make_secret,
    plan_secrets,
    render_secrets,
    renew_secrets,
    settle_secrets,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import replace_text

try:
    import yaml
except ImportError:
    YAML_ERROR: str | None = traceback.format_exc()
else:
    YAML_ERROR = None

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "required": {"type": "raw", "required": True},
    "renew": {"type": "dict", "default": {}, "no_log": False},
    "settle": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if YAML_ERROR:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    path: str = module.params["path"]
    try:
        with locked_directory(path, write=not module.check_mode):
            make = partial(make_secret, token=secrets.token_urlsafe)
            plan = plan_secrets(read_secrets(path), module.params["required"], make)
            renewal = renew_secrets(plan.secrets, module.params["renew"], make)
            settlement = settle_secrets(renewal.secrets, module.params["settle"])
            changed = bool(plan.changed or renewal.renewed or settlement.settled) or is_open_to_others(path)
            if changed and not module.check_mode:
                replace_text(path, render_secrets(settlement.secrets), FILE_MODE)
    except (SecretsError, OSError) as error:
        module.fail_json(msg=f"Cannot use the secrets of {path}: {error}")
    module.exit_json(
        changed=changed,
        path=path,
        made=plan.made,
        present=plan.present,
        unused=plan.unused,
        renewed=renewal.renewed,
        settled=settlement.settled,
        diff=show_names(path, plan, settlement),
    )


@contextmanager
def locked_directory(path: str, write: bool) -> Iterator[None]:
    """Let one run at a time make secrets, so that two runs at once can't each make their own."""
    directory = os.path.dirname(os.path.abspath(path))
    if write:
        os.makedirs(directory, DIRECTORY_MODE, exist_ok=True)
    if not os.path.isdir(directory):
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_secrets(path: str) -> object:
    """Read the file; no file means no secrets yet, and anything else that is no mapping is an error."""
    if not os.path.lexists(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        try:
            text = stream.read()
        except UnicodeDecodeError as error:
            raise SecretsError("is no text file; restore it from a backup") from error
    if text.startswith("$ANSIBLE_VAULT;"):
        raise SecretsError(
            "is encrypted with Ansible Vault; secrets are made in plain files only, so edit it with: ansible-vault edit"
        )
    if not text.strip():
        raise SecretsError("is empty; restore it from a backup, or remove it if no server was ever set up with it")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SecretsError(f"is no YAML{_where(error)}; restore it from a backup") from None


def _where(error: yaml.YAMLError) -> str:
    # The error's own text quotes the line, and with it a secret.
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""


def is_open_to_others(path: str) -> bool:
    """Say whether anyone but the owner may reach the file."""
    return os.path.exists(path) and bool(stat.S_IMODE(os.stat(path).st_mode) & 0o077)


def show_names(path: str, plan: SecretsPlan, settled: Renewal) -> dict[str, str]:
    """Show the names before and after; a renewed one is one that is there twice."""
    before = sorted({*plan.present, *plan.unused})
    after = sorted(".".join(names) for names in flatten_secrets(settled.secrets))
    return {
        "before_header": path,
        "after_header": path,
        "before": "".join(f"{name}\n" for name in before),
        "after": "".join(f"{name}\n" for name in after),
    }


if __name__ == "__main__":
    main()
