# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Molecule's scenarios share is found by the names of files: two of one name, and a scenario reads the other's."""

from __future__ import annotations

from pathlib import Path

import pytest

MOLECULE = Path(__file__).resolve().parents[3] / "molecule"
SHARED = {path.name for path in (MOLECULE / "shared").glob("*.py")}


@pytest.mark.parametrize("scenario", sorted({path.parent.name for path in MOLECULE.glob("*/*.py")} - {"shared"}))
def test_no_file_of_a_scenario_hides_a_shared_one(scenario: str) -> None:
    assert not SHARED & {path.name for path in (MOLECULE / scenario).glob("*.py")}
