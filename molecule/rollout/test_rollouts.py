# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A good release is promoted and a bad one taken back, step by step under load; whatever dies on the way, the next run sets right."""

from __future__ import annotations

import os
import signal
import time

from client import eventually
from releases import Releases, failures

ALL = {"hosts": "100%", "share": 100, "bake": 3}
QUICK = {"steps": [{"hosts": 1, "share": 20, "bake": 3}, ALL]}
# The second step is where the leak shows, some seconds after the first slot started.
LEAK = {"ORDERS_REHEARSE_ERRORS": "60", "ORDERS_REHEARSE_AFTER": "10"}
PATIENT = {"steps": [{"hosts": 1, "share": 20, "bake": 3}, {"hosts": "100%", "share": 50, "bake": 25}, ALL]}
ENDLESS = {"steps": [{"hosts": 1, "share": 20, "bake": 600}, ALL]}
NEVER = {"window": {"allow": [{"cron": "0 3 29 2 *", "duration": "1h"}], "zone": "Australia/Melbourne"}}


def test_a_good_release_is_promoted_and_the_way_back_needs_no_name(alice: Releases) -> None:
    before = alice.active()
    alice.change(QUICK, ORDERS_NAME="alice-next")
    with alice.load() as clients:
        said = alice.promoted()
        after = alice.active()
        back = alice.promoted("rollback.yml")
        assert alice.active() == before
    asked = sum(len(client.answers) for client in clients)
    print(
        f"{asked} requests over a promotion and a rollback, longest gap {max(client.longest_gap() for client in clients):.2f} s"
    )
    assert failures(clients) == []
    assert after[0] != before[0]
    assert "20 % of the requests on app1" in said
    assert "alice: promoted orders-" in said and f"revision {after[1]}" in said
    assert f"revision {before[1]}" in back
    assert alice.running_slots() == {before[0]}


def test_a_release_that_leaks_errors_is_taken_back_in_its_second_step_and_marked(alice: Releases) -> None:
    before = alice.active()
    alice.change(PATIENT, **LEAK)
    with alice.load() as clients:
        said = alice.refused()
        ended = time.monotonic()
        assert eventually(lambda: time.monotonic() > ended + 3, 5)
    assert "alice: fallen back to slot" in said and "gate compare says fail" in said, said[-4000:]
    assert alice.active() == before
    assert alice.running_slots() == {before[0]}
    assert [answer for answer in failures(clients) if answer.sent > ended] == []
    assert all(answer.status == 500 for answer in failures(clients)), (
        "only what the bad release itself answered may fail"
    )
    assert "marked bad" in alice.refused("rollback.yml") or alice.active() == before


def test_a_killed_controller_leaves_no_canary_and_no_lease_and_the_next_run_goes_on(alice: Releases) -> None:
    before = alice.active()
    alice.change(ENDLESS, ORDERS_NAME="alice-endless")
    with alice.load(clients=2, pause=0.2) as clients:
        with alice.under_way() as process:
            second = alice.refused()
            assert "held by" in second, second[-3000:]
            killed = time.monotonic()
            os.kill(process.pid, signal.SIGKILL)
            assert eventually(lambda: not any(note.get("step") for note in alice.notes()), 40)
            took = time.monotonic() - killed
        print(f"the load balancers withdrew the share {took:.0f} s after the controller was killed")
        assert took <= 32
        assert alice.active() == before
        # Whoever is dead gives no lease back: it runs out.
        assert eventually(lambda: time.monotonic() > killed + 31, 40)
        alice.change(QUICK, ORDERS_NAME="alice-again")
        said = alice.promoted()
    assert "alice: promoted" in said
    assert failures(clients) == []
    assert len(alice.running_slots()) == 1


def test_a_shut_window_stops_it_before_anything_starts(alice: Releases) -> None:
    before = alice.active()
    alice.change({**QUICK, "gates": NEVER}, ORDERS_NAME="alice-late")
    said = alice.refused("deploy.yml", "-e", "rollout_gate_deadline=1")
    assert "gate window says" in said, said[-3000:]
    assert alice.active() == before
    assert alice.running_slots() == {before[0]}
