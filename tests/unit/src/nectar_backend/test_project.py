# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from pathlib import Path

import pytest

from nectar_backend.errors import NectarError
from nectar_backend.project import (
    INVENTORIES,
    ROOT,
    Lab,
    choose_topology,
    find_lab,
    only_one,
    read_topology,
    require_topology,
    write_topology,
)


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        pytest.param({}, "/home/alice/.local/state/nectar/lab", id="by default"),
        pytest.param({"XDG_STATE_HOME": "/state"}, "/state/nectar/lab", id="another state folder"),
        pytest.param({"NECTAR_LAB": "second"}, "/home/alice/.local/state/nectar/second", id="another lab"),
        pytest.param(
            {"XDG_STATE_HOME": "", "NECTAR_LAB": ""}, "/home/alice/.local/state/nectar/lab", id="empty is unset"
        ),
    ],
)
def test_the_state_folder(environ: dict[str, str], directory: str) -> None:
    assert find_lab(environ, Path("/home/alice")).directory == Path(directory)


@pytest.mark.parametrize(
    ("asked", "running", "chosen"),
    [
        pytest.param(None, None, "ha", id="the default"),
        pytest.param("single", None, "single", id="what is asked for"),
        pytest.param(None, "single", "single", id="what is up"),
        pytest.param("single", "single", "single", id="both"),
    ],
)
def test_the_topology(asked: str | None, running: str | None, chosen: str) -> None:
    assert choose_topology(asked, running) == chosen


def test_one_topology_is_not_built_over_another() -> None:
    with pytest.raises(NectarError, match=r"TOPOLOGY=ha is up.*make lab-down"):
        choose_topology("single", "ha")


def test_the_topology_is_remembered(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state")
    assert read_topology(lab) is None
    write_topology(lab, "single")
    assert read_topology(lab) == "single"
    assert lab.directory.stat().st_mode & 0o077 == 0


def test_a_topology_that_is_none_is_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.topology_file.write_text("triple\n")
    with pytest.raises(NectarError, match=r"topology holds 'triple', expected one of ha, single"):
        read_topology(lab)


def test_without_a_lab_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(NectarError, match=r"no lab is up.*make lab"):
        require_topology(Lab(tmp_path))


def test_two_commands_do_not_work_on_one_lab(tmp_path: Path) -> None:
    with only_one(Lab(tmp_path)):
        with pytest.raises(NectarError, match="another nectar command"), only_one(Lab(tmp_path)):
            pass
        with only_one(Lab(tmp_path / "other")):
            pass
    with only_one(Lab(tmp_path)):
        pass


@pytest.mark.parametrize("topology", INVENTORIES)
def test_the_inventories_exist(topology: str) -> None:
    assert [source for source in INVENTORIES[topology] if not (ROOT / source).exists()] == []
