# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Any one host may be lost: the service answers again by itself, and the host rejoins by itself."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import time

from client import Client, Door, eventually
from lab import Lab

LISTING = "/orders?limit=5"
SERVERS_UP = """python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("/run/haproxy/admin.sock"); \
s.sendall(b"show stat\\n"); print(s.makefile().read())'"""


def holder_of(lab: Lab, address: str, hosts: tuple[str, ...]) -> str:
    return next((host for host in hosts if f" {address}/" in lab.on(host, "ip -brief address")), "")


def servers(lab: Lab, balancer: str, backend: str) -> dict[str, str]:
    """Name and state of a backend's servers, as the load balancer sees them."""
    table = csv.DictReader(io.StringIO(lab.on(balancer, SERVERS_UP).removeprefix("# ")))
    return {row["svname"]: row["status"] for row in table if row["pxname"] == backend and row["svname"] != "BACKEND"}


def serving(lab: Lab, host: str) -> bool:
    """Whether a load balancer sends production's requests to a slot of this host."""
    found = servers(lab, "lb1", "be_production")
    return any(name.startswith(f"{host}-") and state.startswith("UP") for name, state in found.items())


def test_loss_of_an_application_server_costs_a_client_one_request_at_most(lab: Lab) -> None:
    door = lab.door("production")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(lambda: door.ask(LISTING))) for _ in range(4)]
        assert eventually(lambda: all(client.answers for client in clients), 30)
        lab.lose("app1")
        lost = time.monotonic()
        assert eventually(lambda: time.monotonic() > lost + 8, 10)
    seen = [len(client.failures) for client in clients]
    print(f"failed requests per client after the loss of app1: {seen}")
    lab.bring_back("app1")
    assert max(seen) <= 1, [answer for client in clients for answer in client.failures]
    assert all(client.first_success_after(lost) is not None for client in clients)
    assert eventually(lambda: serving(lab, "app1"), 120), "app1 did not rejoin"


def test_loss_of_the_load_balancer_that_holds_the_address_is_over_by_itself(lab: Lab) -> None:
    door = lab.door("production")
    victim = holder_of(lab, door.address, ("lb1", "lb2"))
    other = {"lb1": "lb2", "lb2": "lb1"}[victim]
    with Client(lambda: door.ask(LISTING, seconds=1.0)) as client:
        assert eventually(lambda: client.answers, 30)
        lab.lose(victim)
        lost = time.monotonic()
        assert eventually(lambda: client.first_success_after(lost), 60)
    print(f"after the loss of {victim} the address answered again within {client.first_success_after(lost):.2f} s")
    took_over = holder_of(lab, door.address, (other,))
    lab.bring_back(victim)
    assert took_over == other

    def balances() -> bool:
        return "UP" in str(servers(lab, victim, "be_production"))

    assert eventually(balances, 120), f"{victim} did not rejoin"
    assert holder_of(lab, door.address, ("lb1", "lb2")) == other, "the address moved again without need"


def commit(door: Door, numbers: itertools.count[int]):
    number = next(numbers)
    return door.ask("/orders", post={"customer": 1 + number % 500, "quantity": 1, "total_cents": number}, seconds=5.0)


def test_loss_of_the_primary_is_over_by_itself_and_loses_no_commit(lab: Lab) -> None:
    door = lab.door("production")
    cluster = json.loads(lab.on("db1", "patronictl --config-file /etc/patroni/config.yml list --format json"))
    victim = next(member["Member"] for member in cluster if member["Role"] == "Leader")
    witness = next(member["Member"] for member in cluster if member["Member"] != victim)
    numbers = itertools.count(1)
    with Client(lambda: commit(door, numbers), pause=0.2) as client:
        assert eventually(lambda: len(client.answers) > 5, 60)
        lab.lose(victim)
        lost = time.monotonic()
        assert eventually(lambda: client.first_success_after(lost), 90)
    took = client.first_success_after(lost)
    acknowledged = [json.loads(answer.body) for answer in client.answers if answer.ok]
    print(
        f"after the loss of {victim} a commit was acknowledged again after {took:.1f} s; {len(acknowledged)} acknowledged in all"
    )
    lab.bring_back(victim)
    missing = [order for order in acknowledged if not door.ask(f"/orders/{order['id']}").ok]
    assert missing == []

    def rejoined() -> bool:
        members = json.loads(
            lab.on(witness, "patronictl --config-file /etc/patroni/config.yml list --format json") or "[]"
        )
        states = {member["Member"]: member["State"] for member in members}
        return len(states) == 3 and set(states.values()) <= {"running", "streaming"}

    assert eventually(rejoined, 180), f"{victim} did not rejoin"
