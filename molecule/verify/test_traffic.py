# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What load balancers serve is what was promoted."""

from __future__ import annotations

from typing import Any

testinfra_hosts = ["ansible://loadbalancers"]

MAP = "/etc/haproxy/maps/deployments.map"
ASK = """
import http.client, socket, ssl, sys
context = ssl.create_default_context(cafile="/etc/nectar/tls/ca.crt")
connection = http.client.HTTPSConnection(sys.argv[1], context=context, timeout=20)
connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", 443), timeout=20), server_hostname=sys.argv[1])
connection.request("GET", "/.well-known/nectar")
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


def server_names(host: Any) -> list[str]:
    """Return the names that are served."""
    lines = host.file(MAP).content_string.splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def test_the_whole_configuration_is_valid(host: Any) -> None:
    with host.sudo():
        assert host.run("haproxy -c -q -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d").rc == 0


def test_each_name_has_its_fragment(host: Any) -> None:
    mapped = {
        line.split()[1] for line in host.file(MAP).content_string.splitlines() if line and not line.startswith("#")
    }
    found = host.check_output("cat /etc/haproxy/conf.d/*.cfg")
    assert sorted(name for name in mapped if f"backend {name} from http\n" not in found + "\n") == []


def test_each_name_answers_for_itself(host: Any) -> None:
    for name in server_names(host):
        answer = host.check_output("python3 -c %s %s", ASK, name)
        assert answer.startswith("200 "), answer
        assert f'"deployment": "{name.split(".")[0]}"' in answer


def test_the_guard_of_open_steps_looks_on(host: Any) -> None:
    timer = host.service("nectar-rollout-guard.timer")
    assert timer.is_enabled
    assert timer.is_running
    assert host.run("systemctl is-failed --quiet nectar-rollout-guard.service").rc != 0


def test_no_step_is_left_open(host: Any) -> None:
    assert host.file("/var/lib/nectar/rollouts").listdir() == []
