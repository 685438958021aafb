# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Load once what every task would load anew."""

from __future__ import annotations

DOCUMENTATION = r"""
name: preload
type: aggregate
short_description: Loads once what every task would load anew
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Ansible runs each task on each host in a process of its own, forked from the one that plays. What such a process loads ends with it,
    and to find one filter of a collection, it loads all of them.
  - This loads the plugins that the project's playbooks use before the first process is forked, so that all inherit them.
  - It prints nothing and decides nothing. Without it everything works the same, and slower.
"""

import importlib
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins import loader
from ansible.plugins.callback import CallbackBase

# One filter of a collection brings all of its filters along, and so for tests.
FILTERS = ("ansible.builtin.bool", "community.general.keep_keys", "nectar.backend.step_failures")
TESTS = ("ansible.builtin.defined",)
PLUGINS = {
    "action_loader": ("normal", "copy", "debug", "set_fact", "template", "gather_facts"),
    "become_loader": ("sudo",),
    "connection_loader": ("ssh", "local"),
    "lookup_loader": ("config", "template"),
    "shell_loader": ("sh",),
}
PYTHON = ("ansible.executor.module_common", "ansible.plugins.lookup", "zipfile")


class CallbackModule(CallbackBase):
    """Loads as the playbook begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "nectar.backend.preload"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Load, and leave it to the tasks to say what is missing."""
        for name in PYTHON:
            importlib.import_module(name)
        for kind, names in (("filter_loader", FILTERS), ("test_loader", TESTS), *PLUGINS.items()):
            for name in names:
                load(getattr(loader, kind), name)


def load(plugins: Any, name: str) -> None:
    """Load one plugin, if there is such a one."""
    try:
        plugins.get(name, class_only=True)
    except (AnsibleError, KeyError):
        return
