# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fragments and the map: what is switched, what stays, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.traffic import (
    Files,
    Server,
    Switch,
    parse_map,
    parse_pairs,
    plan_removal,
    plan_revert,
    plan_steps,
    plan_switches,
    plan_withdrawal,
    read_servers,
    render_fragment,
    render_map,
    render_slots,
    spare,
    structure,
    weigh,
)


def deployment(name: str = "production", slot: str = "blue", generation: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a planned deployment."""
    return {
        "name": name,
        "server_name": f"{name}.nectar.test",
        "ready_path": "/readyz",
        "ports": {"blue": 10002, "green": 10003},
        "addresses": {"app1": "192.0.2.21", "app2": "2001:db8::22"},
        "slot": slot,
        "generation": generation,
        **changes,
    }


NOTHING = Files({"production": None}, {"production": None}, render_map({"staging.nectar.test": "staging"}))


def after(switch: Switch) -> Files:
    """Return what is there once a switch is done."""
    return switch.after


def switch(present: Files, **changes: Any) -> Switch:
    """Plan a switch of the deployment."""
    return plan_switches([deployment(**changes)], present, 8010, 64)


FIRST = switch(NOTHING)
SECOND = switch(after(FIRST), slot="green", generation=2)


def test_fragment() -> None:
    assert render_fragment(deployment(slot="green"), "green", 8010, 64) == (
        "# Written by deploy.yml and site.yml; the record of production on the application servers decides.\n"
        "backend be_production from http\n"
        "    option httpchk\n"
        "    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host production.nectar.test hdr X-Forwarded-Proto https hdr Connection close\n"
        "    http-check expect status 200\n"
        "    timeout check 3s\n"
        "    default-server check inter 2s fastinter 300ms downinter 500ms fall 2 rise 2 maxconn 64\n"
        "    use-server app1-%[var(txn.slot)] if { stopping } { rand(2) lt 1 }\n"
        "    use-server app2-%[var(txn.slot)] if { stopping }\n"
        "    use-server app1-%[var(txn.slot)] if { stopping }\n"
        "    server app1-blue 192.0.2.21:10002 weight 0 tcp-ut 2s disabled\n"
        "    server app1-green 192.0.2.21:10003 weight 100 tcp-ut 2s\n"
        "    server app2-blue [2001:db8::22]:10002 weight 0 tcp-ut 2s disabled\n"
        "    server app2-green [2001:db8::22]:10003 weight 100 tcp-ut 2s\n"
        "\n"
        "backend id_production-blue from http\n"
        "    http-request set-path /production/blue\n"
        "    server app1-blue 192.0.2.21:8010 tcp-ut 2s track be_production/app1-blue\n"
        "    server app2-blue [2001:db8::22]:8010 tcp-ut 2s track be_production/app2-blue\n"
        "\n"
        "backend id_production-green from http\n"
        "    http-request set-path /production/green\n"
        "    server app1-green 192.0.2.21:8010 tcp-ut 2s track be_production/app1-green\n"
        "    server app2-green [2001:db8::22]:8010 tcp-ut 2s track be_production/app2-green\n"
    )


@pytest.mark.parametrize(
    ("known", "limit"),
    [
        pytest.param({"max_connections": 32}, 32, id="the revision's own"),
        pytest.param({"max_connections": 0}, 64, id="one that says nothing"),
    ],
)
def test_a_fragment_belongs_to_its_revision(known: dict[str, int], limit: int) -> None:
    assert f" maxconn {limit}\n" in render_fragment(deployment(**known), "blue", 8010, 64)


def test_the_map_comes_back() -> None:
    entries = {"b.nectar.test": "b", "a.nectar.test": "a"}
    assert parse_map(render_map(entries)) == entries


@pytest.mark.parametrize(
    ("present", "merged"),
    [
        pytest.param({}, {"production.nectar.test": "production"}, id="the first"),
        pytest.param(
            {"x.test": "staging"}, {"x.test": "staging", "production.nectar.test": "production"}, id="others stay"
        ),
        pytest.param({"old.test": "production"}, {"production.nectar.test": "production"}, id="a former name goes"),
    ],
)
def test_names(present: dict[str, str], merged: dict[str, str]) -> None:
    files = Files(
        {"production": None}, {"production": None}, render_map(present), render_slots(dict.fromkeys(present, "blue"))
    )
    assert parse_map(switch(files).after.map_text) == merged
    assert parse_pairs(switch(files).after.slots_text) == dict.fromkeys(merged, "blue")


def test_the_first_switch() -> None:
    assert FIRST.changed == ("production",)
    assert FIRST.after.notes["production"] == {
        "deployment": "production",
        "active": "blue",
        "generation": 1,
        "former": None,
        "step": None,
    }
    assert parse_map(FIRST.after.map_text) == {"staging.nectar.test": "staging", "production.nectar.test": "production"}


def test_the_same_again_changes_nothing() -> None:
    assert switch(after(FIRST)).changed == ()
    assert switch(after(SECOND), slot="green", generation=2).changed == ()


def test_something_older_is_refused() -> None:
    again = switch(after(SECOND), slot="blue", generation=1)
    assert (again.changed, list(again.refused)) == ((), ["production"])
    assert "slot green of generation 2 is newer than 1" in again.refused["production"]


def test_an_entry_that_was_lost_comes_back() -> None:
    lost = Files(FIRST.after.fragments, FIRST.after.notes, render_map({}), FIRST.after.slots_text)
    assert switch(lost).changed == ("production",)


def test_the_way_back_leads_to_what_was_there() -> None:
    back = plan_revert([deployment(slot="green", generation=2)], after(SECOND))
    assert back.after.fragments == FIRST.after.fragments
    assert back.after.map_text == FIRST.after.map_text
    assert back.after.notes["production"] == FIRST.after.notes["production"]


def test_the_way_back_from_the_first_switch_leads_to_nothing() -> None:
    back = plan_revert([deployment()], after(FIRST))
    assert (back.after.fragments["production"], back.after.notes["production"]) == (None, None)
    assert parse_map(back.after.map_text) == {"staging.nectar.test": "staging"}


def test_what_was_never_switched_here_is_not_taken_back() -> None:
    assert plan_revert([deployment(generation=3)], after(SECOND)).changed == ()


def test_the_diff_shows_fragment_and_map() -> None:
    assert [entry["before_header"] for entry in FIRST.diff] == ["60-production.cfg", "deployments.map", "slots.map"]
    assert [entry["before_header"] for entry in SECOND.diff] == ["60-production.cfg", "slots.map"]


def test_a_removal_takes_every_trace_and_no_other() -> None:
    gone = plan_removal(["production"], FIRST.after)
    assert (gone.after.fragments, gone.after.notes) == ({"production": None}, {"production": None})
    assert parse_map(gone.after.map_text) == {"staging.nectar.test": "staging"}
    assert plan_removal(["production"], after(gone)).changed == ()


def test_a_route_alone_is_removed_too() -> None:
    lost = Files({"production": None}, {"production": None}, FIRST.after.map_text)
    assert plan_removal(["production"], lost).changed == ("production",)


def test_a_switch_between_slots_changes_no_structure() -> None:
    assert (FIRST.structural, SECOND.structural) == (True, False)
    assert switch(FIRST.after, slot="green", generation=2, ready_path="/else").structural
    assert switch(FIRST.after, slot="green", generation=2, server_name="else.test").structural


def test_weights_are_all_that_a_structure_leaves_out() -> None:
    fragment = FIRST.after.fragments["production"] or ""
    assert structure(fragment) == structure(weigh(fragment, "green"))
    assert weigh(weigh(fragment, "green"), "blue") == fragment


STEP = {"index": 0, "hosts": ["app1"], "share": 10, "bake": 30}


def step(present: Files, **changes: Any) -> Switch:
    """Plan a step of the second release."""
    entry = {"slot": "green", "generation": 2, "revision": "r2", "token": 7, "step": STEP}
    return plan_steps([deployment(**{**entry, **changes})], present)


OPEN = step(FIRST.after)


@pytest.mark.parametrize(
    ("changes", "servers"),
    [
        pytest.param(
            {},
            {
                "app1-blue": (90, "ready"),
                "app1-green": (10, "ready"),
                "app2-blue": (100, "ready"),
                "app2-green": (0, "maint"),
            },
            id="a share of one host",
        ),
        pytest.param(
            {"step": {**STEP, "share": 100}},
            {
                "app1-blue": (0, "ready"),
                "app1-green": (100, "ready"),
                "app2-blue": (100, "ready"),
                "app2-green": (0, "maint"),
            },
            id="the former slot stays checked",
        ),
    ],
)
def test_weights_of_a_step(changes: dict[str, Any], servers: dict[str, tuple[int, str]]) -> None:
    planned = step(FIRST.after, **changes)
    assert read_servers(planned.after.fragments["production"] or "") == {
        name: Server(*values) for name, values in servers.items()
    }
    assert not planned.structural


def test_the_note_of_a_step() -> None:
    assert OPEN.after.notes["production"] == {
        "deployment": "production",
        "active": "blue",
        "generation": 1,
        "token": 7,
        "former": None,
        "step": {"index": 0, "hosts": ["app1"], "share": 10, "slot": "green", "revision": "r2", "generation": 2},
    }
    assert OPEN.after.slots_text == FIRST.after.slots_text


@pytest.mark.parametrize(
    ("present", "changes", "words"),
    [
        pytest.param(NOTHING, {}, "a first release takes no steps", id="nothing serves"),
        pytest.param(FIRST.after, {"token": None}, "token: a step needs", id="no lease"),
        pytest.param(FIRST.after, {"slot": "blue"}, "slot blue of generation 1 serves already", id="the active slot"),
        pytest.param(FIRST.after, {"step": {**STEP, "share": 0}}, "found 0, expected a percentage", id="no share"),
        pytest.param(
            FIRST.after, {"step": {**STEP, "hosts": ["app3"]}}, "app3 is not served here yet", id="a new host"
        ),
        pytest.param(OPEN.after, {"token": 6}, "token 6 is older than 7", id="a rollout that was overtaken"),
    ],
)
def test_refused_steps(present: Files, changes: dict[str, Any], words: str) -> None:
    planned = step(present, **changes)
    assert planned.changed == ()
    assert words in planned.refused["production"]


def test_an_open_step_keeps_its_weights_from_others() -> None:
    held = switch(OPEN.after)
    assert (held.changed, held.refused) == ((), {})
    assert "step 1 of a rollout is open here" in held.held["production"]
    assert "deploy again when it has ended" in switch(OPEN.after, slot="green", generation=2).refused["production"]
    assert "token 6 is older" in switch(OPEN.after, slot="green", generation=2, token=6).refused["production"]


def test_the_switch_ends_the_step() -> None:
    done = switch(OPEN.after, slot="green", generation=2, token=7)
    note = done.after.notes["production"] or {}
    assert (note["active"], note["token"], note["step"]) == ("green", 7, None)
    assert note["former"]["fragment"] == FIRST.after.fragments["production"]
    assert (done.after.fragments, done.after.slots_text) == (SECOND.after.fragments, SECOND.after.slots_text)
    assert not done.structural


@pytest.mark.parametrize("token", [7, 8, None])
def test_the_way_back_from_a_step(token: int | None) -> None:
    back = plan_revert([deployment(slot="green", generation=2, token=token)], OPEN.after)
    assert back.after.fragments == FIRST.after.fragments
    assert (back.after.notes["production"] or {})["step"] is None
    assert not back.structural


def test_an_overtaken_rollout_takes_nothing_back() -> None:
    back = plan_revert([deployment(slot="green", generation=2, token=6)], OPEN.after)
    assert (back.changed, list(back.refused)) == ((), ["production"])


def test_a_withdrawn_rollout_cannot_go_on() -> None:
    gone = plan_withdrawal(["production"], OPEN.after, "no heartbeat for 21 s", "2026-01-31T10:00:00Z")
    assert gone.after.fragments == FIRST.after.fragments
    assert (gone.after.notes["production"] or {})["withdrawn"]["reason"] == "no heartbeat for 21 s"
    assert plan_withdrawal(["production"], gone.after, "", "").changed == ()
    for late in (step(gone.after), switch(gone.after, slot="green", generation=2, token=7)):
        assert "withdrawn here at 2026-01-31T10:00:00Z: no heartbeat for 21 s" in late.refused["production"]
    again = step(gone.after, token=8)
    assert "withdrawn" not in (again.after.notes["production"] or {})


@pytest.mark.parametrize(
    ("host", "down", "weights"),
    [
        pytest.param("app1", (), {"app1-blue": 0, "app2-blue": 100}, id="the other one takes them"),
        pytest.param("app2", (), {"app1-blue": 100, "app2-blue": 0}, id="or this one"),
        pytest.param("app1", ("app2-blue",), {"app1-blue": 100, "app2-blue": 100}, id="the other one is down"),
        pytest.param("app3", (), {"app1-blue": 100, "app2-blue": 100}, id="it has none"),
    ],
)
def test_a_host_is_spared_where_another_takes_its_requests(
    host: str, down: tuple[str, ...], weights: dict[str, int]
) -> None:
    fragment = after(FIRST).fragments["production"] or ""
    spared = spare(fragment, host, down)
    servers = read_servers(spared)
    assert {name: server.weight for name, server in servers.items() if server.state == "ready"} == weights
    assert structure(spared) == structure(fragment)


def test_a_host_alone_keeps_its_requests() -> None:
    fragment = render_fragment(deployment(addresses={"app1": "192.0.2.21"}), "blue", 8010, 64)
    assert spare(fragment, "app1") == fragment
