# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whoever sees only a run's last lines learns which task failed in a test's playbook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FAILS = """
def test_release():
    said = ["ok: [app1]"] * 60 + ["fatal: [app2]: FAILED! => changed=false", "  msg: the slot did not start"] + ["ok: [app1]"] * 60
    assert "promoted" in said, "\\n".join(said)
"""


def test_the_task_that_failed_is_told_though_pytest_cuts_the_message(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(FAILS)
    report = tmp_path / "tests.xml"
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
    ]
    subprocess.run([*pytest, f"--junit-xml={report}", str(tmp_path)], capture_output=True, check=False, cwd=tmp_path)
    told = subprocess.run(
        [sys.executable, str(ROOT / "tools/failures.py"), str(report), "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.startswith("  test_sample::test_release: AssertionError: ok: [app1]")
    assert "fatal: [app2]: FAILED! => changed=false msg: the slot did not start" in told
