#!/usr/bin/python
# Copyright (c) Nectar Backend maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: lab_plan
short_description: Say what makes a lab whole, or what takes it away
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Compares the hosts, networks and volumes that a lab shall have with those that Podman has, and returns what to do. It changes nothing.
  - Fails before anything is changed where a subnet, an address or a name that the lab needs is somebody else's, and names whose.
options:
  state:
    description: Whether the lab shall be whole or gone.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the lab; containers, networks and volumes are named C(nectar-<name>) and carry the label C(nectar.lab).
    type: str
    required: true
  state_directory:
    description: Folder that holds the lab's keys and filesystems. It is part of what marks things as this lab's.
    type: path
    required: true
  subnets:
    description: The lab's IPv4 subnet and its IPv6 subnet, in this order.
    type: list
    elements: str
    required: true
  image:
    description: Image of the hosts.
    type: str
    default: ""
  images:
    description: Whether the images go too that no other lab uses; only with O(state=absent).
    type: bool
    default: false
  release:
    description: Debian release of the hosts. Volumes belong to it, so that another release begins with empty ones.
    type: str
    default: ""
  servers:
    description: The servers, each with C(name), C(addresses) and C(memory) in MiB; other fields are ignored.
    type: list
    elements: dict
    default: []
  volumes:
    description: Filesystems of a limited size.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the filesystem.
        type: str
        required: true
      path:
        description: Where the host mounts it.
        type: path
        required: true
      size:
        description: Size in MiB.
        type: int
        required: true
  volume_hosts:
    description: Names of the servers that get O(volumes).
    type: list
    elements: str
    default: []
  settings:
    description: Whatever else defines a host; a change makes all hosts anew.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: Plan the lab
  nectar.backend.lab_plan:
    name: lab
    state_directory: /home/alice/.local/state/nectar/lab
    subnets: [10.89.77.0/24, "fd6e:6563:77::/64"]
    image: localhost/nectar-lab:trixie-0123456789ab
    release: trixie
    servers:
      - {name: app1, addresses: [10.89.77.21, "fd6e:6563:77::21"], memory: 768}
  become: true
  register: plan
"""

RETURN = r"""
plan:
  description: What to do, as lists of names or of hosts and volumes; empty lists where nothing is to do.
  returned: success
  type: dict
  sample: {build_image: false, make_network: true, restart: [nectar-lab-app1]}
changes:
  description: Whether anything is to be done.
  returned: success
  type: bool
labels:
  description: What marks networks and volumes as the lab's. Hosts carry more, which is in the plan.
  returned: success
  type: dict
net_config:
  description: The lab's subnets with their gateways.
  returned: success
  type: list
  elements: dict
  sample: [{subnet: 10.89.77.0/24, gateway: 10.89.77.1}]
prefix:
  description: Name of the lab's network, and what the names of its containers and volumes begin with.
  returned: success
  type: str
  sample: nectar-lab
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.lab_definition import Lab, LabError, define_lab
from ansible_collections.nectar.backend.plugins.module_utils.lab_plan import plan_absent, plan_present
from ansible_collections.nectar.backend.plugins.module_utils.lab_world import World, read_world

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "required": True},
    "state_directory": {"type": "path", "required": True},
    "subnets": {"type": "list", "elements": "str", "required": True},
    "image": {"type": "str", "default": ""},
    "images": {"type": "bool", "default": False},
    "release": {"type": "str", "default": ""},
    "servers": {"type": "list", "elements": "dict", "default": []},
    "volumes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "size": {"type": "int", "required": True},
        },
    },
    "volume_hosts": {"type": "list", "elements": "str", "default": []},
    "settings": {"type": "dict", "default": {}},
}
EXT4_MAGIC_OFFSET = 0x438
EXT4_MAGIC = b"\x53\xef"


def main() -> None:
    """Read what there is, ask for the plan, and hand it back."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        lab = wanted_lab(module.params)
        world = existing_world(module, lab)
        if module.params["state"] == "present":
            plan = plan_present(lab, world)
        else:
            plan = plan_absent(lab, world, images=module.params["images"])
    except (LabError, OSError, ValueError) as error:
        module.fail_json(msg=f"The lab {module.params['name']} can't be planned.\n{error}")
    if plan.strangers:
        whose = "that the inventory no longer has" if module.params["state"] == "present" else "that somebody else made"
        module.warn(f"Hosts of the lab {lab.name} {whose} are left alone: {', '.join(plan.strangers)}.")
    module.exit_json(
        changed=False,
        plan=asdict(plan),
        changes=plan.changes,
        labels=lab.labels,
        prefix=lab.prefix,
        net_config=lab.net_config,
    )


def wanted_lab(params: dict[str, Any]) -> Lab:
    """Derive the lab; of absent labs only the name and the place matter."""
    state = Path(params["state_directory"])
    names = [str(server.get("name")) for server in params["servers"]]
    return define_lab(
        name=params["name"],
        state=str(state),
        image=params["image"],
        subnets=params["subnets"],
        servers=params["servers"],
        volumes=params["volumes"],
        volume_hosts=params["volume_hosts"],
        release=params["release"],
        settings=params["settings"],
        identities={name: read_identity(state, name) for name in names},
    )


def read_identity(state: Path, name: str) -> str:
    """Give the keys that a host is made with: its own, and the operator's who may come in."""
    paths = (state / "hosts" / name / "ssh_host_ed25519_key.pub", state / "ssh" / "operator.pub")
    return "\n".join(path.read_text(encoding="utf-8").strip() for path in paths if path.exists())


def existing_world(module: AnsibleModule, lab: Lab) -> World:
    """Ask Podman and the kernel; where Podman isn't installed yet, nothing exists."""
    podman = module.get_bin_path("podman")
    devices = (volume.device for host in lab.hosts for volume in host.volumes)
    return read_world(
        containers=listing(module, podman, "ps", "--all", "--external"),
        networks=listing(module, podman, "network", "ls"),
        volumes=listing(module, podman, "volume", "ls"),
        images=listing(module, podman, "images"),
        routes=[entry for family in ("-4", "-6") for entry in routes(module, family)],
        filesystems=[device for device in devices if is_ext4(Path(device))],
    )


def listing(module: AnsibleModule, podman: str | None, *command: str) -> list[dict[str, Any]]:
    """List things of one kind."""
    return read_json(module, [podman, *command, "--format", "json"]) if podman else []


def routes(module: AnsibleModule, family: str) -> list[dict[str, Any]]:
    """List the machine's routes, which include its addresses."""
    return read_json(
        module, [module.get_bin_path("ip", required=True), "-json", family, "route", "show", "table", "all"]
    )


def read_json(module: AnsibleModule, command: list[str]) -> list[dict[str, Any]]:
    """Run a command that prints a list."""
    code, output, error = module.run_command(command)
    if code != 0:
        module.fail_json(msg=f"`{' '.join(command)}` ended with {code}: {error.strip()}")
    return json.loads(output or "[]") or []


def is_ext4(path: Path) -> bool:
    """Say whether the file holds a filesystem; what makes one writes this mark last."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(EXT4_MAGIC_OFFSET)
        return file.read(len(EXT4_MAGIC)) == EXT4_MAGIC


if __name__ == "__main__":
    main()
