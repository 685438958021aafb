# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A load balancer proves its name, sends everyone to HTTPS, and says honestly what it doesn't serve; all of it is logged."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import Any, NamedTuple

import pytest

testinfra_hosts = ["ansible://loadbalancers"]

SECONDS = 30


@pytest.fixture
def address(host: Any) -> str:
    """Return where the controller reaches the load balancer."""
    shown: str = host.check_output("ip -brief -4 address show scope global up")
    return shown.split()[2].split("/")[0]


@pytest.fixture
def context(host: Any) -> ssl.SSLContext:
    """Trust the environment's authority alone."""
    return ssl.create_default_context(cadata=host.file("/etc/nectar/tls/ca.crt").content_string)


@pytest.fixture
def unknown_name(host: Any, address: str, context: ssl.SSLContext) -> str:
    """Return a name that the certificate covers and no deployment has."""
    context.check_hostname = False
    with (
        socket.create_connection((address, 443), SECONDS) as plain,
        context.wrap_socket(plain) as connection,
    ):
        certificate: dict[str, Any] = dict(connection.getpeercert() or {})
    context.check_hostname = True
    wildcard: str = next(name for _kind, name in certificate["subjectAltName"] if name.startswith("*."))
    return wildcard.replace("*", "nobody-has-this-name")


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: str


def ask(address: str, name: str, path: str, context: ssl.SSLContext | None = None) -> Answer:
    """Ask for a path under a name; without a context, over plain HTTP."""
    connection = http.client.HTTPConnection(name, timeout=SECONDS)
    plain = socket.create_connection((address, 443 if context else 80), SECONDS)
    connection.sock = context.wrap_socket(plain, server_hostname=name) if context else plain
    connection.request("GET", path)
    response = connection.getresponse()
    answer = Answer(response.status, response.headers, response.read().decode())
    connection.close()
    return answer


def test_an_unknown_name_is_told_so(address: str, context: ssl.SSLContext, unknown_name: str) -> None:
    response = ask(address, unknown_name, "/", context)
    assert response.status == 421
    assert unknown_name in response.body
    assert response.headers["X-Request-Id"] in response.body


def test_plain_http_leads_to_https(address: str, unknown_name: str) -> None:
    response = ask(address, unknown_name, "/some/page?a=b")
    assert response.status == 301
    assert response.headers["Location"] == f"https://{unknown_name}/some/page?a=b"


def test_old_tls_is_refused(address: str, context: ssl.SSLContext, unknown_name: str) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        ask(address, unknown_name, "/", context)


def test_a_request_is_logged_without_its_query(
    host: Any, address: str, context: ssl.SSLContext, unknown_name: str
) -> None:
    identifier = ask(address, unknown_name, "/logged?token=private", context).headers["X-Request-Id"]
    with host.sudo():
        host.check_output("journalctl --namespace=haproxy --sync")
        line = host.check_output("journalctl --namespace=haproxy -o cat --no-pager -g %s", identifier)
    entry = json.loads(line)
    assert (entry["status"], entry["path"], entry["host"]) == (421, "/logged", unknown_name)
    assert "private" not in line


def test_a_reload_loses_no_request_of_a_kept_connection(
    host: Any, address: str, context: ssl.SSLContext, unknown_name: str
) -> None:
    connection = http.client.HTTPConnection(unknown_name, timeout=SECONDS)
    plain = socket.create_connection((address, 443), SECONDS)
    connection.sock = context.wrap_socket(plain, server_hostname=unknown_name)

    def is_the_last() -> bool:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        return response.will_close

    assert not is_the_last()
    with host.sudo():
        host.check_output("systemctl reload haproxy.service")
    # The reload is a signal: it may end before the old worker begins to stop, so its next answer need not be the last.
    deadline = time.monotonic() + SECONDS
    while not is_the_last():
        assert time.monotonic() < deadline, f"no answer closed the connection within {SECONDS} s of the reload"
        time.sleep(0.1)


def test_only_root_reaches_the_admin_socket(host: Any) -> None:
    assert host.run("test -w /run/haproxy/admin.sock").rc != 0
    with host.sudo():
        assert host.file("/run/haproxy/admin.sock").is_socket


def test_nothing_waits_to_be_loaded(host: Any) -> None:
    with host.sudo():
        host.check_output("haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d")
        assert host.check_output("find /etc/haproxy/haproxy.cfg -newer /run/haproxy.pid") == ""


def test_it_waits_as_long_as_the_budget_says(host: Any, planned: dict[str, Any]) -> None:
    with host.sudo():
        configuration = host.file("/etc/haproxy/haproxy.cfg").content_string
    section = configuration.partition("\ndefaults http\n")[2].partition("\n\n")[0]
    for side in ("server", "client"):
        assert f"\n    timeout {side} {planned['budget']['timeouts'][side]['value']}s\n" in section
