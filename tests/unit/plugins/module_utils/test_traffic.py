# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fragments and the map: what is switched, what stays, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.traffic import (
    Files,
    Switch,
    merge_map,
    parse_map,
    plan_removal,
    plan_revert,
    plan_switches,
    render_fragment,
    render_map,
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
    return Files(switch.after.fragments, switch.after.notes, switch.after.map_text)


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
        "    default-server check inter 1s fastinter 300ms downinter 1s fall 2 rise 2 maxconn 64\n"
        "    server app1-blue 192.0.2.21:10002 weight 100 tcp-ut 2s disabled\n"
        "    server app1-green 192.0.2.21:10003 weight 100 tcp-ut 2s\n"
        "    server app2-blue [2001:db8::22]:10002 weight 100 tcp-ut 2s disabled\n"
        "    server app2-green [2001:db8::22]:10003 weight 100 tcp-ut 2s\n"
        "\n"
        "backend id_production from http\n"
        "    http-request set-path /production/green\n"
        "    server app1-green 192.0.2.21:8010 tcp-ut 2s track be_production/app1-green\n"
        "    server app2-green [2001:db8::22]:8010 tcp-ut 2s track be_production/app2-green\n"
    )


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
def test_merge(present: dict[str, str], merged: dict[str, str]) -> None:
    assert merge_map(present, [deployment()]) == merged


def test_the_first_switch() -> None:
    assert FIRST.changed == ("production",)
    assert FIRST.after.notes["production"] == {
        "deployment": "production",
        "active": "blue",
        "generation": 1,
        "former": None,
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
    lost = Files(FIRST.after.fragments, FIRST.after.notes, render_map({}))
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
    assert [entry["before_header"] for entry in FIRST.diff] == ["60-production.cfg", "deployments.map"]
    assert [entry["before_header"] for entry in SECOND.diff] == ["60-production.cfg"]


def test_a_removal_takes_every_trace_and_no_other() -> None:
    present = Files(FIRST.after.fragments, FIRST.after.notes, FIRST.after.map_text)
    gone = plan_removal(["production"], present)
    assert (gone.after.fragments, gone.after.notes) == ({"production": None}, {"production": None})
    assert parse_map(gone.after.map_text) == {"staging.nectar.test": "staging"}
    assert plan_removal(["production"], after(gone)).changed == ()


def test_a_route_alone_is_removed_too() -> None:
    lost = Files({"production": None}, {"production": None}, FIRST.after.map_text)
    assert plan_removal(["production"], lost).changed == ("production",)
