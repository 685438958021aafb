# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every task would load is loaded before the first one, and every name on the list is a plugin's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# ansible-test's own environment has no other collections.
pytest.importorskip("ansible_collections.community.general")

# In a process of its own, which has loaded nothing else.
LOAD = """
import json, sys
from ansible.plugins import loader
loader.init_plugin_loader([sys.argv[1]])
from ansible_collections.nectar.backend.plugins.callback import preload
preload.CallbackModule().v2_playbook_on_start(None)
modules = sorted(sys.modules)
named = [("filter_loader", preload.FILTERS), ("test_loader", preload.TESTS), *preload.PLUGINS.items()]
missing = [name for kind, names in named for name in names if not getattr(loader, kind).get(name, class_only=True)]
preload.load(loader.filter_loader, "no.such.filter")
print(json.dumps({"modules": modules, "missing": missing}))
"""


@pytest.fixture(scope="module")
def loaded(pytestconfig: pytest.Config) -> dict[str, Any]:
    collections = str(pytestconfig.rootpath / ".ansible/collections")
    done = subprocess.run([sys.executable, "-c", LOAD, collections], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_every_name_is_a_plugin(loaded: dict[str, Any]) -> None:
    assert loaded["missing"] == []


@pytest.mark.parametrize(
    "module",
    [
        "ansible_collections.community.general.plugins.filter.keep_keys",
        "ansible_collections.nectar.backend.plugins.filter.step_failures",
        "ansible.plugins.action.normal",
        "ansible.plugins.connection.ssh",
        "ansible.executor.module_common",
    ],
)
def test_it_is_there_before_the_first_task(loaded: dict[str, Any], module: str) -> None:
    assert module in loaded["modules"]
