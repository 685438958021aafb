# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.json_https import Caller, HttpsError, endpoint


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("192.0.2.1", "https://192.0.2.1:2379", id="IPv4"),
        pytest.param("2001:db8::1", "https://[2001:db8::1]:2379", id="IPv6 in brackets"),
        pytest.param("db1.example.net", "https://db1.example.net:2379", id="a name"),
    ],
)
def test_endpoint(address: str, expected: str) -> None:
    assert endpoint(address, 2379) == expected


def test_ask_any_names_every_server_that_was_asked() -> None:
    caller = Caller("/nowhere/ca.crt", timeout=0.2)
    with pytest.raises(HttpsError, match=r"https://127\.0\.0\.1:1/a .*; https://127\.0\.0\.1:1/b "):
        caller.ask_any("GET", ["https://127.0.0.1:1/a", "https://127.0.0.1:1/b"])


def test_ask_any_without_servers() -> None:
    with pytest.raises(HttpsError, match="no server to ask"):
        Caller("/nowhere/ca.crt").ask_any("GET", [])
