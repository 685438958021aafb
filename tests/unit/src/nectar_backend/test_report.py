# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from nectar_backend.report import lay_out, list_reasons, next_steps, print_status, show_row
from nectar_backend.status import Row, Target


def target(name: str, address: str = "192.0.2.10") -> Target:
    host = f"{name}.nectar.test"
    return Target(name, f"https://{host}/", host, address, 443, "/state/ca/ca.crt", "/readyz", name)


def row(name: str, error: str | None = None) -> Row:
    served = Row(
        deployment=name,
        url=f"https://{name}.nectar.test/",
        address="192.0.2.10",
        port=443,
        ca_file="/state/ca/ca.crt",
        release="0123456789abcdef",
        database=name,
        slot="blue",
        host="app1",
        ok=True,
        error=None,
    )
    return replace(served, release=None, slot=None, host=None, ok=False, error=error) if error else served


def test_columns_are_as_wide_as_they_need() -> None:
    assert lay_out([("name", "URL"), ("a-long-name", "u")]) == ["name          URL", "a-long-name   u"]


def test_a_row() -> None:
    url = "https://alice.nectar.test/"
    assert show_row(row("alice")) == ("alice", url, "0123456789ab", "alice", "blue on app1", "ok")
    assert show_row(row("alice", "down")) == ("alice", url, "-", "alice", "-", "failed")


def test_each_reason_is_given_once() -> None:
    rows = [row("alice", "down"), row("bob", "down"), row("carol"), row("dave", "not ready")]
    assert list_reasons(rows) == ["alice, bob: down", "dave: not ready"]


def test_the_table_is_whole_on_a_narrow_terminal() -> None:
    out = io.StringIO()
    print_status(Console(file=out, width=20), [row("alice"), row("bob", "down")])
    lines = out.getvalue().splitlines()
    assert lines[1].split() == [
        "alice",
        "https://alice.nectar.test/",
        "0123456789ab",
        "alice",
        "blue",
        "on",
        "app1",
        "ok",
    ]
    assert lines[3:] == ["bob: down", "1 of 2 deployments answered over HTTPS at 192.0.2.10 just now."]


def test_what_to_type_next_can_be_pasted() -> None:
    commands = [
        command for command, _ in next_steps([target("alice", "2001:db8::10")], ["app1"], Path("/my state/ssh"))
    ]
    assert commands[0] == (
        "curl --cacert /state/ca/ca.crt --resolve 'alice.nectar.test:443:[2001:db8::10]' https://alice.nectar.test/readyz"
    )
    assert commands[1] == "ssh -F '/my state/ssh' app1"
