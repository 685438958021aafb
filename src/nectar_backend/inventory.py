# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory says, asked of Ansible itself so that there is one reader of it."""

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nectar_backend.errors import NectarError
from nectar_backend.runs import ansible_environment


def read_inventory(root: Path, sources: Sequence[str]) -> dict[str, Any]:
    """Run `ansible-inventory --list`; its own words are the error."""
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "--list"]
    for source in sources:
        command += ["-i", source]
    environment = {**os.environ, **ansible_environment(root, os.environ)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NectarError(f"the inventory can't be read:\n{done.stderr.strip()}")
    inventory: dict[str, Any] = unwrap(json.loads(done.stdout))
    return inventory


def unwrap(value: Any) -> Any:
    """Take off the wrapper in which ansible-inventory shows untrusted text."""
    if isinstance(value, dict):
        return (
            unwrap(value["__ansible_unsafe"])
            if "__ansible_unsafe" in value
            else {k: unwrap(v) for k, v in value.items()}
        )
    return [unwrap(item) for item in value] if isinstance(value, list) else value


def shared_variables(inventory: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the registry puts on every host, read from the first one."""
    hostvars: Mapping[str, Any] = inventory.get("_meta", {}).get("hostvars", {})
    variables: Mapping[str, Any] = next(iter(hostvars.values()), {})
    if not variables.get("deployments"):
        raise NectarError("the inventory holds no deployments; add one to its members.yml.")
    return variables


def choose_deployments(names: Sequence[str], deployments: Mapping[str, Any]) -> list[str]:
    """Turn what a person types, deployments and members alike, into deployments in the order given."""
    chosen: list[str] = []
    for name in names:
        chosen += [found for found in _named(name, deployments) if found not in chosen]
    return chosen


def _named(name: str, deployments: Mapping[str, Any]) -> list[str]:
    if name in deployments:
        return [name]
    owned = [deployment for deployment, entry in deployments.items() if entry.get("member") == name]
    if owned:
        return owned
    close = difflib.get_close_matches(name, list(deployments), n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(deployments)}."
    raise NectarError(f"{name!r} is neither a deployment nor a member with one; {hint}")
