# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each line of a run that says `changed` is read with its play and task."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PATH = Path(__file__).resolve().parents[3] / "molecule/shared/changes.py"
SHOWN = """
PLAY [Run it] ******************************************************************

TASK [nectar.backend.etcd : Write the settings] ********************************
ok: [db1]
changed: [db2] => (item=[a])
changed: [db3 -> localhost]

RUNNING HANDLER [nectar.backend.etcd : Restart etcd] ***************************
changed: [db2]

PLAY [Say it] ******************************************************************

TASK [Say it] ******************************************************************
ok: [db1] => {"msg": "changed: [db1]"}

PLAY RECAP *********************************************************************
db2                        : ok=3    changed=2    unreachable=0    failed=0
"""


def test_each_line_that_says_changed_is_read() -> None:
    spec = importlib.util.spec_from_file_location("changes", PATH)
    assert spec is not None and spec.loader is not None
    changes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(changes)
    task, handler = "nectar.backend.etcd : Write the settings", "nectar.backend.etcd : Restart etcd"
    assert changes.read_changes(SHOWN) == {
        ("Run it", task, "db2"),
        ("Run it", task, "db3"),
        ("Run it", handler, "db2"),
    }
