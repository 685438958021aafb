# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A good release is promoted and a bad one taken back, step by step under load; whatever dies on the way, the next run sets right."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from changes import read_changes
from client import eventually
from releases import Releases, failures

ALL = {"hosts": "100%", "share": 100, "bake": 3}
AT_ONCE = {"steps": [ALL]}
QUICK = {"steps": [{"hosts": 1, "share": 20, "bake": 3}, ALL]}
# The second step is where the leak shows, some seconds after the first slot started.
LEAK = {"ORDERS_REHEARSE_ERRORS": "60", "ORDERS_REHEARSE_AFTER": "10"}
PATIENT = {"steps": [{"hosts": 1, "share": 20, "bake": 3}, {"hosts": "100%", "share": 50, "bake": 25}, ALL]}
ENDLESS = {"steps": [{"hosts": 1, "share": 20, "bake": 600}, ALL]}
NEVER = {"window": {"allow": [{"cron": "0 3 29 2 *", "duration": "1h"}], "zone": "Australia/Melbourne"}}


def test_a_good_release_is_foreseen_and_promoted_and_nobody_notices(alice: Releases) -> None:
    before = alice.active()
    alice.change(QUICK, ORDERS_NAME="alice-next")
    foreseen = alice.play("deploy.yml", "--check")
    assert foreseen.returncode == 0, foreseen.stdout[-5000:] + foreseen.stderr[-2000:]
    assert alice.active() == before
    with alice.load() as clients:
        done = alice.play("deploy.yml")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    said = " ".join(done.stdout.split())
    after = alice.active()
    asked = sum(len(client.answers) for client in clients)
    print(f"{asked} requests, longest gap {max(client.longest_gap() for client in clients):.2f} s")
    assert failures(clients) == []
    assert read_changes(foreseen.stdout) == read_changes(done.stdout) != set()
    assert after[0] != before[0]
    assert "20 % of the requests on app1" in said
    assert "alice: promoted orders-" in said and f"revision {after[1]}" in said
    assert alice.running_slots() == {after[0]}
    assert alice.past()[0] == before[1]


def test_a_leaking_release_is_taken_back_and_the_way_back_goes_past_it(alice: Releases) -> None:
    before, (former, *_older) = alice.active(), alice.past()
    alice.change(PATIENT, **LEAK)
    with alice.load() as clients:
        said = alice.refused()
        ended = time.monotonic()
        assert "alice: fallen back to slot" in said and "gate compare says fail" in said, said[-4000:]
        assert alice.active() == before
        assert alice.running_slots() == {before[0]}
        bad = alice.idle_revision()
        assert all("gate compare says fail" in copy["bad"][bad]["reason"] for copy in alice.told("outcomes.json"))
        # The bad one is in the other slot; what served before is made anew in its place.
        back = alice.promoted("rollback.yml")
    assert [answer for answer in failures(clients) if answer.sent > ended] == []
    assert all(answer.status == 500 for answer in failures(clients)), (
        "only what the bad release itself answered may fail"
    )
    assert f"alice: back to revision {former}, made anew from what the servers kept" in back, back[-4000:]
    assert (alice.active()[1], alice.running_slots()) == (former, {alice.active()[0]})
    assert alice.active()[0] != before[0]


def test_without_etcd_nothing_starts_but_the_way_back(alice: Releases, aside: ThreadPoolExecutor) -> None:
    for attempt in range(3):
        before, began = alice.active(), int(time.time())
        alice.change(QUICK, ORDERS_NAME=f"alice-unwatched-{attempt}")
        with alice.load(clients=2) as clients, alice.without_etcd():
            deploy = aside.submit(alice.refused)
            back = alice.play("rollback.yml", "-e", f"revision={alice.idle_revision()}")
            refused = deploy.result()
        if not alice.database_stood_down(began):
            break
        # Without etcd the primary asks the others every few seconds; where one takes over 2 s to agree, as on a machine that
        # stalls, it stands down, and no release can be ready. What was refused for that is bad now: the next one is another.
        assert eventually(alice.lab.all_well, 120)
        alice.promoted()
    said = " ".join(back.stdout.split())
    assert back.returncode == 0, back.stdout[-5000:] + back.stderr[-2000:]
    assert "etcd does not answer; what was marked bad is told by the copy on app" in said, said[-4000:]
    assert "nothing was started, for etcd keeps the leases and does not answer" in refused, refused[-4000:]
    assert alice.active()[0] != before[0]
    assert failures(clients) == []


def test_a_load_balancer_that_is_away_hinders_nobody_and_hears_of_it_later(alice: Releases) -> None:
    before = alice.active()
    alice.change(AT_ONCE, ORDERS_NAME="alice-halved")
    alice.lab.lose("lb2")
    try:
        said = alice.promoted()
    finally:
        alice.lab.bring_back("lb2")
    assert "alice: promoted" in said
    alice.promoted("deploy.yml", "--skip-tags", "always")
    # Both load balancers say so.
    assert alice.active()[0] != before[0]


def shut_out(late: Releases) -> None:
    """Come when the window is shut: nothing starts."""
    before = late.active()
    late.change({**QUICK, "gates": NEVER}, ORDERS_NAME=f"{late.name}-late")
    said = late.refused("deploy.yml", "-e", "rollout_gate_deadline=1")
    assert "gate window says" in said, said[-3000:]
    assert late.active() == before
    assert late.running_slots() == {before[0]}


def test_a_killed_controller_leaves_no_canary_and_no_lease_and_the_next_run_goes_on(
    alice: Releases, carol: Releases, aside: ThreadPoolExecutor
) -> None:
    before = alice.active()
    alice.change(ENDLESS, ORDERS_NAME="alice-endless")
    with alice.load(clients=2) as clients:
        with alice.under_way() as process:
            begun = alice.notes()[0]["step"]["revision"]
            second = alice.refused("rollback.yml")
            assert "held by" in second, second[-3000:]
            assert alice.step_open(), "whoever is refused takes nothing back"
            killed = time.monotonic()
            os.kill(process.pid, signal.SIGKILL)
            # The load balancers wait for a sign of life, and then the lease for its end.
            another = aside.submit(shut_out, carol)
            assert eventually(lambda: not any(note.get("step") for note in alice.notes()), 90)
            took = time.monotonic() - killed
        print(f"the load balancers withdrew the share {took:.0f} s after the controller was killed")
        assert alice.active() == before
        # Whoever is dead gives no lease back: it runs out.
        assert eventually(lambda: time.monotonic() > killed + 31, 40)
        another.result()
        # The same revision again, with steps that end.
        alice.change(AT_ONCE, ORDERS_NAME="alice-endless")
        said = alice.promoted()
    assert "alice: promoted" in said
    assert alice.active()[1] == begun
    assert failures(clients) == []
    assert len(alice.running_slots()) == 1
