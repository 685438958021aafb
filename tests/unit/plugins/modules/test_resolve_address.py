# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module resolve_address against servers on the loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import resolve_address

LOOPBACK = "127.0.0.1"
ALICE = json.dumps({"deployment": "alice"}).encode()


def run(capsys: pytest.CaptureFixture[str], *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    world = {"_ansible_check_mode": check, "_ansible_diff": True, "timeout": 10.0, **arguments}
    with patch_module_args(world), pytest.raises(SystemExit):
        resolve_address.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def web(*ports: int, **more: Any) -> dict[str, Any]:
    candidates = [{"address": LOOPBACK, "port": port, "source": "registry"} for port in ports]
    return {
        "name": "alice/https", "probe": "http", "tls": False, "port": 443, "candidates": candidates,
        "identity": {"deployment": "alice"}, "path": "/.well-known/nectar", "allow": ["loopback"], **more,
    }  # fmt: skip


def test_four_runs(capsys: pytest.CaptureFixture[str], servers: Any, tmp_path: Path) -> None:
    """Check mode, run, run again, check mode again: the answer is the same, the file is written once."""
    file = tmp_path / "new" / "addresses.json"
    port = servers.http(ALICE)
    arguments = {"endpoints": [web(servers.refusing(), port)], "state_file": str(file)}
    foreseen = run(capsys, check=True, **arguments)
    assert (foreseen["changed"], file.exists()) == (True, False)
    written = run(capsys, **arguments)
    assert (written["changed"], written["diff"]["after"]) == (True, file.read_text())
    assert foreseen["diff"]["before"] == "" != written["diff"]["after"]
    assert file.stat().st_mode & 0o777 == 0o600
    for check in (False, True):
        again = run(capsys, check=check, **arguments)
        assert (again["changed"], "diff" in again) == (False, False)
    for result in (foreseen, written, again):
        found = result["endpoints"][0]
        assert (found["ok"], found["address"], found["port"], found["verdict"]) == (True, LOOPBACK, port, "proven")
        assert [item["verdict"] for item in found["candidates"]] == ["refused", "proven"]
        assert result["unproven"] == []


def test_the_last_good_answer_is_kept_while_it_is_proven(
    capsys: pytest.CaptureFixture[str], servers: Any, tmp_path: Path
) -> None:
    first, second = servers.http(ALICE), servers.http(ALICE)
    state = {"state_file": str(tmp_path / "addresses.json")}
    run(capsys, endpoints=[web(second)], **state)
    kept = run(capsys, endpoints=[web(first, second)], **state)["endpoints"][0]
    assert (kept["port"], "chosen the last time" in kept["why"]) == (second, True)
    assert run(capsys, endpoints=[web(first, second)])["endpoints"][0]["port"] == first


def test_what_is_not_proven_fails_by_name_with_reason_and_remedy(
    capsys: pytest.CaptureFixture[str], servers: Any
) -> None:
    bob = servers.http(json.dumps({"deployment": "bob"}).encode())
    endpoints = [web(bob), web(servers.http(ALICE), name="good")]
    result = run(capsys, endpoints=endpoints)
    assert result["failed"]
    assert result["msg"].startswith("1 of 2 endpoints have no address that may be used.\nalice/https: wrong_server: ")
    assert 'deployment "bob", where deployment "alice" is meant' in result["msg"]
    assert "correct" in result["msg"]
    reported = run(capsys, endpoints=endpoints, on_unproven="report")
    assert not reported.get("failed")
    for item in (result, reported):
        assert item["unproven"] == ["alice/https"]
        assert [found["ok"] for found in item["endpoints"]] == [False, True]
        evidence = item["endpoints"][0]["candidates"][0]["evidence"]
        assert (evidence["status"], evidence["identity"]) == (200, {"deployment": "bob"})


def test_a_forbidden_address_is_not_even_tried(capsys: pytest.CaptureFixture[str], servers: Any) -> None:
    asked: list[bytes] = []
    port = servers.start(lambda connection: asked.append(connection.recv(1)))
    result = run(capsys, endpoints=[web(port, allow=[])], on_unproven="report")
    assert result["endpoints"][0]["candidates"][0]["verdict"] == "forbidden"
    assert asked == []


def test_names_are_looked_up_and_a_name_that_is_not_there_is_said(
    capsys: pytest.CaptureFixture[str], servers: Any
) -> None:
    endpoint = {"name": "it", "probe": "tcp", "port": servers.silent(), "allow": ["loopback"]}
    found = run(capsys, endpoints=[{**endpoint, "names": ["localhost"], "prefer": ["ipv4"]}])["endpoints"][0]
    assert (found["address"], found["candidates"][-1]["sources"]) == (LOOPBACK, ["dns:system"])
    assert {item["outcome"] for item in found["lookups"]} == {"answered"}


def test_everything_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    endpoints = [
        web(70000),
        {"name": "two", "probe": "guess", "port": 22, "candidates": []},
    ]
    msg = run(capsys, endpoints=endpoints, timeout=0)["msg"]
    assert msg.startswith("Nothing was tried")
    for part in ("70000", '"guess"', "candidates", "timeout"):
        assert part in msg
    files = [
        web(443, tls=True, ca_file=str(tmp_path / "none.crt")),
        {
            "name": "ssh", "probe": "ssh", "port": 22, "accept": "reachable", "user": "alice",
            "private_key_file": str(tmp_path / "none"), "candidates": [{"address": "192.0.2.1", "source": "registry"}],
        },
    ]  # fmt: skip
    msg = run(capsys, endpoints=files)["msg"]
    assert "endpoint alice/https: ca_file" in msg
    assert "endpoint ssh: private_key_file" in msg


def test_a_state_file_that_is_somebody_else_s_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("mine")
    msg = run(capsys, endpoints=[web(443)], state_file=str(file))["msg"]
    assert f"state_file {str(file)!r} is no JSON document" in msg
    assert file.read_text() == "mine"


def test_a_state_file_that_can_not_be_read_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    msg = run(capsys, endpoints=[web(443)], state_file=str(tmp_path))["msg"]
    assert f"state_file {str(tmp_path)!r} can't be read" in msg


def test_what_is_missing_on_the_host_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, servers: Any
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    ssh = {
        "name": "it", "probe": "ssh", "port": 22, "accept": "reachable",
        "candidates": [{"address": "192.0.2.1", "source": "registry"}],
    }  # fmt: skip
    assert "install openssh-client" in run(capsys, endpoints=[ssh])["msg"]


def test_a_password_is_shown_nowhere(capsys: pytest.CaptureFixture[str], servers: Any) -> None:
    database = {
        "name": "db", "probe": "postgresql", "tls": False, "port": servers.refusing(), "user": "alice",
        "password": "hunter2-and-more", "allow": ["loopback"], "candidates": [{"address": LOOPBACK, "source": "registry"}],
    }  # fmt: skip
    result = run(capsys, endpoints=[database], on_unproven="report")
    assert result["endpoints"][0]["verdict"] == "refused"
    assert "hunter2" not in json.dumps(result)
