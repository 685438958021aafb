"""What a kit's files say, and what is made of the answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.nectar.backend.plugins.plugin_utils import kit_check
from ansible_collections.nectar.backend.plugins.plugin_utils.kit_check import Kit, Name, Result, Way

SSH_CONFIG = """
# a comment
Host app1
    HostName 192.0.2.21
    HostKeyAlias app1

Host app1-via-ops1
    HostName 192.0.2.21
    ProxyJump ops1

Host database
    LocalForward 127.0.0.1:15433 127.0.0.1:5433

Host database app1 app1-via-ops1
    User alice
"""


def test_every_way_is_found_once() -> None:
    assert kit_check.read_ways(SSH_CONFIG) == [
        Way("app1"),
        Way("app1-via-ops1", jump="ops1"),
        Way("database", forward=("127.0.0.1:15433", "127.0.0.1:5433")),
    ]


def test_a_name_has_all_its_addresses_and_its_deployment() -> None:
    text = "192.0.2.10 alice.example.org  # alice\n2001:db8::10 alice.example.org  # alice\n192.0.2.10 shop.org  # production\n"
    assert kit_check.read_names(text) == [
        Name("alice.example.org", "alice", ["192.0.2.10", "2001:db8::10"]),
        Name("shop.org", "production", ["192.0.2.10"]),
    ]


@pytest.mark.parametrize(
    ("code", "errors", "logs_in", "ok", "detail"),
    [
        pytest.param(0, "", True, True, "", id="logged in"),
        pytest.param(
            255, "alice@app1: Permission denied (publickey).", True, False, "Permission denied", id="the key is refused"
        ),
        pytest.param(
            255,
            "alice@app1: Permission denied (publickey).",
            False,
            True,
            "nobody logged in",
            id="no key, a right host",
        ),
        pytest.param(
            255,
            "@@@@\nWARNING\nHost key verification failed.",
            True,
            False,
            "another server answers",
            id="a wrong host",
        ),
        pytest.param(
            255,
            "@@@@\nHost key verification failed.",
            False,
            False,
            "another server answers",
            id="no key, a wrong host",
        ),
        pytest.param(
            255, "No address of app1 answers\nproxy dialer", True, False, "No address of app1 answers", id="no answer"
        ),
        pytest.param(1, "", True, False, "ssh ended with 1", id="nothing was said"),
    ],
)
def test_what_ssh_says(code: int, errors: str, logs_in: bool, ok: bool, detail: str) -> None:
    judged = kit_check.judge_ssh(code, errors, logs_in=logs_in)
    assert judged.ok is ok
    assert detail in judged.detail


@pytest.mark.parametrize(
    ("status", "body", "ok", "detail"),
    [
        pytest.param(200, b'{"deployment": "alice"}', True, "", id="itself"),
        pytest.param(200, b'{"deployment": "bob"}', False, "is bob, not alice", id="another"),
        pytest.param(200, b"<html>", False, "names no deployment", id="no identity"),
        pytest.param(200, b"[]", False, "names no deployment", id="an identity of another shape"),
        pytest.param(404, b"", False, "answers 404", id="an error"),
        pytest.param(421, b"", None, "nothing is served yet (421)", id="not released yet"),
        pytest.param(503, b"", None, "nothing is served yet (503)", id="not up"),
    ],
)
def test_what_a_deployment_says(status: int, body: bytes, ok: bool | None, detail: str) -> None:
    judged = kit_check.judge_https(status, body, "alice")
    assert judged.ok is ok
    assert detail in judged.detail


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param([True, False], Result("x", True, "b: gone"), id="one is enough, the other is told"),
        pytest.param([False, True], Result("x", True, "a: gone"), id="in whatever order"),
        pytest.param([False, False], Result("x", False, "a: gone; b: gone"), id="none answers"),
        pytest.param([None, False], Result("x", None, "b: gone"), id="not served yet"),
    ],
)
def test_a_name_needs_one_address(answers: list[bool | None], expected: Result) -> None:
    results = [
        (address, Result("", ok, "gone" if ok is False else "")) for address, ok in zip("ab", answers, strict=True)
    ]
    assert kit_check.best(results, "x") == expected


def test_the_table_says_what_failed() -> None:
    shown = kit_check.show(
        [Result("ssh app1", True), Result("database", False, "no answer"), Result("x", None, "later")]
    )
    assert shown.splitlines() == ["ok     ssh app1", "FAILED database  no answer", "open   x         later"]


@pytest.mark.parametrize(
    ("logs_in", "expected"),
    [
        pytest.param(True, ["IdentityFile /keys/alice", "IdentitiesOnly yes"], id="as the member"),
        pytest.param(
            False, ["IdentityFile /keys/alice", "IdentitiesOnly yes", "PreferredAuthentications none"], id="as nobody"
        ),
    ],
)
def test_jumps_get_the_same_settings(tmp_path: Path, logs_in: bool, expected: list[str]) -> None:
    Kit("/kit", "/keys/alice", str(tmp_path / "config"), logs_in=logs_in)
    lines = (tmp_path / "config").read_text().splitlines()
    assert lines[3:-2] == expected
    assert lines[-2:] == ["Host *", "Include /kit/ssh_config"]


def test_whoever_has_no_login_tries_neither_jumps_nor_the_database(tmp_path: Path) -> None:
    (tmp_path / "pg_service.conf").write_text("[alice]\ndbname=alice\n")
    kit = Kit(str(tmp_path), "", str(tmp_path / "config"), logs_in=False)
    assert kit.check_ssh(Way("app1-via-ops1", jump="ops1")).ok is None
    assert kit.check_database(Way("database", forward=("127.0.0.1:1", "127.0.0.1:2"))) == Result(
        "database alice", None, "needs a login through database"
    )


def test_a_port_that_somebody_uses_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not kit_check.is_free(listener.getsockname()[1])
    with socket.socket() as bound:
        # Nobody listens, and nobody else can begin to.
        bound.bind(("127.0.0.1", kit_check.free_port()))
        assert kit_check.is_free(bound.getsockname()[1])
