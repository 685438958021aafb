# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is planned, applied and taken back; Patroni is a small server on the loopback, `runuser` a stand-in that plays PostgreSQL."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.filter import fitting_parameters
from ansible_collections.nectar.backend.plugins.modules import tuning_plan, tuning_rollout

# At each look at the counters a thousand transactions more were committed, and some were rolled back where jit is off and harms.
RUNUSER = """#!{python}
import json, pathlib, sys
place = pathlib.Path({place!r})
server, counters = (json.loads((place / name).read_text()) for name in ("server", "counters"))
sql = sys.stdin.read()
if "pg_stat_statements" in sql:
    print("{{}}")
elif "xact_commit" in sql:
    counters["at"] += 30
    counters["commits"] += 1000
    if server["facts"]["settings"][0]["setting"] == "off":
        counters["rollbacks"] += server["harm"]
    (place / "counters").write_text(json.dumps(counters))
    print(json.dumps({{**counters, "primary": server["leads"]}}))
else:
    print(json.dumps(server["facts"]))
"""
JIT = {
    "name": "jit", "setting": "on", "unit": None, "context": "user", "type": "bool", "least": None, "most": None, "choices": None,
}  # fmt: skip
COUNTERS = {"at": 0, "commits": 0, "rollbacks": 0, "deadlocks": 0, "fatal": 0, "temp_bytes": 0, "wal": 0}


class Cluster:
    """A member alone that has one parameter, and takes over what Patroni's configuration is given."""

    def __init__(self, place: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.server = place, server
        runuser = place / "bin" / "runuser"
        runuser.parent.mkdir()
        runuser.write_text(RUNUSER.format(python=sys.executable, place=str(place)))
        runuser.chmod(0o755)
        monkeypatch.setenv("PATH", f"{runuser.parent}:/usr/bin:/bin")
        self.config: dict[str, Any] = {"postgresql": {"parameters": {"jit": "on"}}}
        self.facts = {"version": 170006, "data_directory": str(place), "pending": None, "settings": [dict(JIT)]}
        server.answer = self.answer
        (place / "counters").write_text(json.dumps(COUNTERS))
        self.set()

    def set(self, *, harm: int = 0, leads: bool = True) -> None:
        """Let PostgreSQL be so."""
        self.harm, self.leads = harm, leads
        (self.place / "server").write_text(json.dumps({"facts": self.facts, "harm": harm, "leads": leads}))

    @property
    def jit(self) -> str:
        return str(self.facts["settings"][0]["setting"])

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/cluster":
            return 200, {"members": [{"name": "one", "role": "leader", "state": "running", "host": "127.0.0.1"}]}
        if method == "PATCH":
            self.config["postgresql"]["parameters"] |= body["postgresql"]["parameters"]
            self.facts["settings"][0]["setting"] = self.config["postgresql"]["parameters"]["jit"]
            self.set(harm=self.harm, leads=self.leads)
        return 200, self.config

    def run(self, module: ModuleType, capsys: pytest.CaptureFixture[str], check: bool = False, **given: Any) -> Any:
        """Run a module as Ansible would."""
        if module is tuning_rollout:
            given |= {
                "servers": ["127.0.0.1"], "port": self.server.port, "ca_file": self.server.cert_file, "username": "patroni",
                "password": "hush", "bake": 0, "settle": 2, "state_directory": str(self.place / "nectar"),
            }  # fmt: skip
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.place / "nectar/tuning").glob("*"))


@pytest.fixture
def cluster(tmp_path: Path, json_server: Any, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, json_server, monkeypatch)


def test_a_plan_shows_what_would_change_and_changes_nothing(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    done = cluster.run(tuning_plan, capsys, proposal={"jit": "off"})
    assert (done["changed"], done["change"], done["restarting"]) == (False, {"jit": "off"}, [])
    assert [(row["parameter"], row["now"], row["planned"]) for row in done["rows"]] == [("jit", "on", "off")]
    assert cluster.server.asked == []


def test_a_proposal_that_cannot_be_is_refused_whole(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    done = cluster.run(tuning_plan, capsys, proposal={"jit": "off", "jitt": "on"})
    assert done["failed"]
    assert "nothing was changed" in done["msg"]
    assert "jitt" in done["msg"]


def test_what_harms_nobody_is_kept_with_its_record(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    done = cluster.run(tuning_rollout, capsys, change={"jit": "off"})
    assert (done["changed"], done["state"], cluster.jit) == (True, "kept", "off")
    assert json.loads(Path(done["record"]).read_text())["before"] == {"jit": "on"}
    assert cluster.left() == [Path(done["record"]).name]


def test_what_harms_is_taken_back(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.set(harm=500)
    done = cluster.run(tuning_rollout, capsys, change={"jit": "off"})
    assert done["failed"]
    assert (done["state"], cluster.jit) == ("reverted", "on")
    assert json.loads(Path(done["record"]).read_text())["reasons"]
    assert cluster.left() == [Path(done["record"]).name]


def test_an_interrupted_tuning_is_taken_back_first(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    kept = json.loads(Path(cluster.run(tuning_rollout, capsys, change={"jit": "off"})["record"]).read_text())
    (cluster.place / "nectar/tuning/open.json").write_text(json.dumps({**kept, "state": "applying"}))
    foreseen = cluster.run(tuning_rollout, capsys, check=True)
    assert foreseen["changed"]
    assert cluster.jit == "off"
    done = cluster.run(tuning_rollout, capsys)
    assert (done["changed"], done["state"], cluster.jit) == (True, "reverted", "on")
    assert "open.json" not in cluster.left()


def test_a_server_that_leads_no_more_keeps_what_it_had(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.set(leads=False)
    done = cluster.run(tuning_rollout, capsys, change={"jit": "off"})
    assert done["failed"]
    assert "leads no more" in done["msg"]
    assert cluster.jit == "on"


def test_the_filter_leaves_out_what_the_budget_has_no_room_for() -> None:
    fitting = fitting_parameters.FilterModule().filters()["fitting_parameters"]
    kept = {"jit": "on", "max_wal_size": "256MB"}
    assert fitting(kept, {"max_wal_size": {"setting": "128MB"}}) == {"jit": "on"}
