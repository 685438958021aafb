# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is read out of HAProxy's access log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nectar.backend.plugins.module_utils.access_log import (
    LAST_BUCKET,
    Counts,
    Request,
    arm_of,
    bucket_of,
    count_by_hour,
    counter_rise,
    is_error,
    parse_line,
    percentile,
)

ROOT = Path(__file__).resolve().parents[4]
FORMAT = yaml.safe_load((ROOT / "roles/haproxy/vars/main.yml").read_text(encoding="utf-8"))["__haproxy_http_log_fields"]
# What HAProxy puts for each of the format's fields; srv_name is app1-green.
SAMPLE = {
    "time": "1764090000.250",
    "deployment": "production",
    "server": "app1",
    "slot": "green",
    "status": "200",
    "request_time": "0",
    "queue_time": "1",
    "connect_time": "2",
    "response_time": "30",
    "total_time": "45",
    "retries": "0",
    "state": "--",
    "bytes": "512",
    "method": "GET",
    "host": "production.example.net",
    "path": "/orders/1",
    "client": "192.0.2.1",
    "request_id": "a-b",
}


def line(**changes: str) -> str:
    """A line as the role's format makes it."""
    values = {**SAMPLE, **changes}
    written = []
    for entry in FORMAT:
        name, _colon, value = entry.partition(":")
        text = values[json.loads(name)]
        written.append(f'{name}:"{text}"' if value.startswith('"') else f"{name}:{text}")
    return "{" + ",".join(written) + "}"


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "time": 0.0, "deployment": "production", "host": "app1", "slot": "green", "status": 200, "milliseconds": 10.0,
        "retries": 0, "redispatched": False, "state": "--",
    }  # fmt: skip
    return Request(**{**values, **changes})


def test_a_line_of_the_roles_format_is_read() -> None:
    assert parse_line(line()) == request(time=1764090000.25, milliseconds=33.0, method="GET", path="/orders/1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"retries": "+2"}, {"retries": 2, "redispatched": True}, id="redispatched"),
        pytest.param({"retries": "3"}, {"retries": 3, "redispatched": False}, id="sent again to the same server"),
        pytest.param(
            {"status": "503", "state": "SC", "response_time": "-1", "connect_time": "-1"},
            {"status": 503, "milliseconds": None, "state": "SC"},
            id="no connection",
        ),
        pytest.param(
            {"status": "-1", "state": "CH", "response_time": "-1", "total_time": "900"},
            {"status": -1, "milliseconds": 900.0, "state": "CH"},
            id="a client that left waited at least so long",
        ),
    ],
)
def test_lines(changes: Mapping[str, str], expected: Mapping[str, Any]) -> None:
    read = parse_line(line(**changes))
    assert read is not None
    assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("Server be_production/app1-green is DOWN", id="another line of HAProxy's"),
        pytest.param('{"time":1.5', id="cut off"),
        pytest.param("[]", id="no object"),
        pytest.param('{"time":1.5,"listener":"primary","server":"db1","retries":"0"}', id="a TCP line"),
        pytest.param('{"time":null,"retries":"0"}', id="no time"),
    ],
)
def test_other_lines_are_passed_over(text: str) -> None:
    assert parse_line(text) is None


@pytest.mark.parametrize(
    ("changes", "share", "expected"),
    [
        pytest.param({}, 10, "canary", id="the new slot"),
        pytest.param({"slot": "blue"}, 10, "baseline", id="the old slot on the same host"),
        pytest.param({"slot": "blue", "host": "app2"}, 10, None, id="the old slot on a host of a later step"),
        pytest.param({"slot": "blue", "host": "app2"}, 100, "baseline", id="other hosts, where nothing else is left"),
        pytest.param({"host": "app2"}, 10, None, id="the new slot where it isn't open"),
        pytest.param({"host": "<NOSRV>", "slot": "<NOSRV>"}, 100, None, id="no server at all"),
        pytest.param({"deployment": "alice"}, 10, None, id="another deployment"),
    ],
)
def test_arms(changes: Mapping[str, Any], share: int, expected: str | None) -> None:
    assert arm_of(request(**changes), "production", "green", ["app1"], share) == expected


@pytest.mark.parametrize(
    ("changes", "errors", "expected"),
    [
        pytest.param({}, ["5xx"], False, id="an answer"),
        pytest.param({"status": 404}, ["5xx"], False, id="not found is an answer"),
        pytest.param({"status": 404}, ["5xx", "404"], True, id="unless it is said to be an error"),
        pytest.param({"status": 405}, ["4xx"], True, id="a whole class"),
        pytest.param({"status": 500}, ["5xx"], True, id="an error of the application"),
        pytest.param({"status": 503, "state": "SC"}, ["5xx"], True, id="no connection"),
        pytest.param({"status": 200, "state": "SD"}, ["5xx"], True, id="broken off in the middle"),
        pytest.param({"status": 200, "state": "CD"}, ["5xx"], False, id="left by the client"),
        pytest.param({"status": -1, "state": "CH"}, ["5xx"], False, id="left before the answer"),
        pytest.param({"status": -1}, ["5xx"], True, id="no status"),
    ],
)
def test_errors(changes: Mapping[str, Any], errors: list[str], expected: bool) -> None:
    assert is_error(request(**changes), errors) is expected


@pytest.mark.parametrize(
    ("milliseconds", "bucket"),
    [(0, 0), (1, 0), (1.1, 1), (2, 4), (16, 16), (1e9, LAST_BUCKET)],
)
def test_buckets(milliseconds: float, bucket: int) -> None:
    assert bucket_of(milliseconds) == bucket


def test_a_percentile_is_right_to_a_bucket() -> None:
    latency: dict[int, int] = {}
    for milliseconds in range(1, 1001):
        latency[bucket_of(milliseconds)] = latency.get(bucket_of(milliseconds), 0) + 1
    assert percentile(latency, 95) == pytest.approx(950, rel=0.05)
    assert percentile(latency, 50) == pytest.approx(500, rel=0.05)
    assert percentile({}, 95) == 0


def test_counts_add_up_and_survive_being_data() -> None:
    one = Counts(requests=10, errors=2, run_squares=4, retries=1, latency={4: 3, 8: 5})
    other = Counts(requests=5, errors=1, run_squares=1, redispatches=1, connection_errors=1, latency={8: 1}, reset=True)
    total = one + other
    assert total == Counts(15, 3, 5, 1, 1, 1, {4: 3, 8: 6}, True)
    assert Counts.from_data(json.loads(json.dumps(total.to_data()))) == total
    assert Counts.from_data({}) == Counts()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({"wretr": 1, "wredis": 2}, {"wretr": 4, "wredis": 2}, {"wretr": 3, "wredis": 0}, id="rose"),
        pytest.param({"wretr": 4, "wredis": 2}, {"wretr": 0, "wredis": 3}, None, id="reset"),
    ],
)
def test_counters(before: Mapping[str, int], after: Mapping[str, int], expected: Mapping[str, int] | None) -> None:
    assert counter_rise(before, after) == expected


def test_requests_are_counted_by_hour() -> None:
    requests = [request(time=7200.0), request(time=3600.5), request(time=7199.9)]
    assert count_by_hour([*requests, request(deployment="alice")], "production") == {1: 2, 2: 1}
