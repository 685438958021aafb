# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the records are, as a file says it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.nectar.backend.plugins.plugin_utils.records import (
    Records,
    RecordsError,
    parse_records,
)
from ansible_collections.nectar.backend.plugins.plugin_utils.records_spool import records_file

WHERE = {
    "url": "https://records.nectar.test/",
    "address": "10.0.0.10",
    "ca_file": "/state/ca.crt",
    "username": "records",
    "password": "hush",
}


def test_all_that_is_needed_is_read() -> None:
    assert parse_records(json.dumps(WHERE)) == Records(**WHERE)


def test_the_password_shows_nowhere() -> None:
    assert "hush" not in repr(parse_records(json.dumps(WHERE)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "expected JSON", id="empty"),
        pytest.param("[]", "expected an object of texts with url, address", id="a list"),
        pytest.param(json.dumps({**WHERE, "address": None}), "expected an object of texts", id="no address"),
        pytest.param(json.dumps({**WHERE, "url": "http://records"}), "url: found 'http://records'", id="in the clear"),
        pytest.param(json.dumps({**WHERE, "url": "https:///"}), "expected one like https://", id="no name"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, complaint: str) -> None:
    with pytest.raises(RecordsError) as caught:
        parse_records(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("configured", "environ", "path"),
    [
        pytest.param(None, {}, "/home/alice/.local/state/nectar/lab/records.json", id="the lab"),
        pytest.param(None, {"NECTAR_LAB": "two"}, "/home/alice/.local/state/nectar/two/records.json", id="another lab"),
        pytest.param(None, {"XDG_STATE_HOME": "/s"}, "/s/nectar/lab/records.json", id="another state folder"),
        pytest.param(None, {"XDG_STATE_HOME": ""}, "/home/alice/.local/state/nectar/lab/records.json", id="empty"),
        pytest.param("/etc/records.json", {"NECTAR_LAB": "two"}, "/etc/records.json", id="configured"),
    ],
)
def test_where_the_file_is(configured: str | None, environ: dict[str, str], path: str) -> None:
    assert records_file(configured, environ, "/home/alice") == path
