# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one member is told, all members know; and none of them listens to strangers."""

from __future__ import annotations

import json
from typing import Any

from client import eventually

testinfra_hosts = ["ansible://database_servers"]

AUTHORITY = "--cacert /etc/nectar/tls/ca.crt"
CERTIFICATE = "--cert /etc/nectar/tls/etcd.crt --key /etc/nectar/tls/etcd.key"


def etcdctl(host: Any, endpoints: str, command: str, credentials: str = f"{AUTHORITY} {CERTIFICATE}") -> Any:
    """Run etcdctl as an administrator would."""
    with host.sudo():
        return host.run(f"env ETCDCTL_API=3 etcdctl --endpoints {endpoints} {credentials} {command}")


def own_endpoint(host: Any) -> str:
    """Return where this member says that it serves clients."""
    lines = host.file("/etc/default/etcd").content_string.splitlines()
    return str(next(line for line in lines if line.startswith("ETCD_ADVERTISE_CLIENT_URLS=")).partition("=")[2])


def all_endpoints(host: Any) -> list[str]:
    """Return where the members serve clients, as the cluster lists them."""
    listed = etcdctl(host, own_endpoint(host), "member list --write-out json")
    assert listed.rc == 0, listed.stderr
    return [url for member in json.loads(listed.stdout)["members"] for url in member["clientURLs"]]


def test_all_members_are_in_one_healthy_cluster(host: Any) -> None:
    endpoints = all_endpoints(host)
    assert len(endpoints) in (1, 3)
    health = etcdctl(host, ",".join(endpoints), "endpoint health")
    assert health.rc == 0, health.stderr


def test_what_is_written_here_is_read_everywhere(host: Any) -> None:
    name = host.check_output("hostname")
    assert etcdctl(host, own_endpoint(host), f"put /nectar/verify/{name} {name}").rc == 0
    for endpoint in all_endpoints(host):
        assert etcdctl(host, endpoint, f"get --print-value-only /nectar/verify/{name}").stdout.strip() == name
    assert etcdctl(host, own_endpoint(host), f"del /nectar/verify/{name}").stdout.strip() == "1"


def test_clients_without_a_certificate_learn_nothing(host: Any) -> None:
    refused = etcdctl(host, own_endpoint(host), "--dial-timeout 2s --command-timeout 4s get /", credentials=AUTHORITY)
    assert refused.rc != 0
    plain = own_endpoint(host).replace("https://", "http://")
    assert etcdctl(host, plain, "--dial-timeout 2s --command-timeout 4s get /", credentials="").rc != 0


def test_the_data_have_a_filesystem_of_their_own(host: Any) -> None:
    assert host.check_output("findmnt --noheadings --output TARGET --target /var/lib/etcd/data") == "/var/lib/etcd"


def test_the_lead_goes_away_when_it_comes_to_the_primary(host: Any) -> None:
    """Move etcd's lead here on purpose, from whoever has it, and see the timer move it on."""
    if len(all_endpoints(host)) == 1:
        return
    with host.sudo():
        if host.run("ls /var/lib/postgresql/*/main/standby.signal").rc == 0:
            return
    # The timer may move it between a look and the order, and members may be about to agree.
    assert eventually(lambda: leads_etcd(host) or take_lead(host), 60)
    assert eventually(lambda: not leads_etcd(host), 60)


def leads_etcd(host: Any) -> bool:
    """Whether this host's member of etcd leads."""
    status = own_status(host)
    return bool(status["leader"] == status["header"]["member_id"])


def own_status(host: Any) -> dict[str, Any]:
    shown = etcdctl(host, own_endpoint(host), "endpoint status --write-out json")
    return dict(json.loads(shown.stdout)[0]["Status"])


def take_lead(host: Any) -> bool:
    """Order whoever leads to hand the lead to this host's member; whether it did."""
    status = own_status(host)
    listed = json.loads(etcdctl(host, own_endpoint(host), "member list --write-out json").stdout)["members"]
    leader = next((member["clientURLs"][0] for member in listed if member["ID"] == status["leader"]), "")
    return bool(leader) and etcdctl(host, leader, f"move-leader {status['header']['member_id']:x}").rc == 0
