# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.upgrade_plan import (
    UpgradeError,
    choose_components,
    plan_upgrade,
)

HA = {
    "loadbalancers": ["lb1", "lb2"],
    "app_servers": ["app1", "app2"],
    "database_servers": ["db1", "db2", "db3"],
    "ops_servers": ["ops1"],
}
ONE = {group: ["one"] for group in HA}
VERSIONS = {
    "haproxy": "3.0.11-1",
    "keepalived": "1:2.3.3-1",
    "pgbouncer": "1.24.1-1",
    "etcd": "3.5.16-4",
    "patroni": "4.0.7-3",
    "postgresql": "17.11-0",
}
OF_GROUP = {
    "lb": ("haproxy", "keepalived"),
    "app": ("haproxy", "pgbouncer"),
    "db": ("etcd", "patroni", "postgresql"),
    "one": ("haproxy", "pgbouncer", "etcd", "patroni", "postgresql"),
}


def package(name: str, installed: str, candidate: str = "", whole: bool = True) -> dict[str, Any]:
    newer = bool(candidate) and candidate != installed
    return {
        "name": name,
        "installed": installed,
        "candidate": candidate or installed,
        "newer": newer,
        "whole": whole,
    }


def world(groups: dict[str, list[str]], **differing: Any) -> dict[str, Any]:
    """Everything up to date, lb1 holding the address, db2 leading the database and db1 etcd; but for what differs, as server__component."""
    facts: dict[str, Any] = {}
    for server in sorted({name for names in groups.values() for name in names} - {"ops1"}):
        names = OF_GROUP[server.rstrip("123")]
        facts[server] = {
            "components": {name: {"packages": [package(name, VERSIONS[name])], "stale": ""} for name in names},
            "holds": server == "lb1",
            "works": server.startswith(("db", "one")),
            "leads": server in ("db2", "one"),
            "etcd_works": server.startswith(("db", "one")),
            "leads_etcd": server in ("db1", "one"),
            "lists_age": 60,
        }
    for key, value in differing.items():
        server, _sep, name = key.partition("__")
        if isinstance(value, str):
            facts[server]["components"][name]["packages"] = [package(name, VERSIONS[name], value)]
        elif name in facts[server]["components"]:
            facts[server]["components"][name] |= value
        else:
            facts[server] |= value
    return facts


def turns(plan: dict[str, Any]) -> list[str]:
    return [turn["says"] for turn in plan["before"] + plan["after"]]


def test_where_all_is_up_to_date_there_is_nothing_to_do() -> None:
    plan = plan_upgrade(world(HA), HA)
    assert (turns(plan), plan["switchover"], plan["refusals"], plan["lines"][-1]) == ([], False, [], "nothing to do")
    assert {row["action"] for row in plan["rows"]} == {"nothing"}


def test_whoever_carries_most_comes_last() -> None:
    plan = plan_upgrade(world(HA), HA, force=True)
    assert turns(plan) == [
        "haproxy and keepalived on lb2",
        "haproxy and keepalived on lb1",
        "haproxy and pgbouncer on app1",
        "haproxy and pgbouncer on app2",
        "etcd on db2",
        "etcd on db3",
        "etcd on db1",
        "patroni and postgresql on db1",
        "patroni and postgresql on db3",
        "patroni and postgresql on db2",
    ]
    assert plan["switchover"] is True
    assert [turn["server"] for turn in plan["after"]] == ["db2"]
    assert [turn["order"] for turn in plan["before"] + plan["after"]] == list(range(1, 11))
    assert plan["before"][-1]["others"] == ["db1", "db2"]
    assert plan["outages"] == []


def test_what_does_not_work_comes_before_what_does() -> None:
    plan = plan_upgrade(world(HA, db3__works={"works": False}), HA, "postgresql", force=True)
    assert turns(plan) == ["postgresql on db3", "postgresql on db1", "postgresql on db2"]


def test_a_new_version_and_what_is_installed_with_it() -> None:
    packages = [package("postgresql-17", "17.11-0", "17.12-0"), package("libpq5", "17.11-0", "17.12-0")]
    plan = plan_upgrade(world(HA, db1__postgresql={"packages": packages}), HA)
    assert (turns(plan), plan["switchover"]) == (["postgresql on db1"], False)
    assert plan["before"][0]["packages"] == ["postgresql-17=17.12-0", "libpq5=17.12-0"]
    row = next(row for row in plan["rows"] if row["action"] == "upgrade")
    assert (row["installed"], row["candidate"], row["why"]) == ("17.11-0", "17.12-0", "with libpq5")


def test_a_companion_alone_is_named() -> None:
    packages = [package("etcd-server", "3.5.16-4"), package("etcd-client", "3.5.16-4", "3.5.16-5")]
    plan = plan_upgrade(world(HA, db1__etcd={"packages": packages}), HA)
    assert [(row["why"], row["candidate"]) for row in plan["rows"] if row["action"] == "upgrade"] == [
        ("etcd-client", "3.5.16-5")
    ]


def test_what_runs_an_old_program_is_restarted_so_that_an_interrupted_run_is_finished() -> None:
    plan = plan_upgrade(world(HA, db2__patroni={"stale": "runs since before its package was unpacked"}), HA)
    assert (turns(plan), plan["switchover"]) == (["patroni on db2"], True)
    assert plan["after"][0]["packages"] == []
    assert "before turn 1, db2 hands the lead over (playbooks/switchover.yml)" in plan["lines"]


@pytest.mark.parametrize(
    ("differing", "reason"),
    [
        pytest.param(
            {"lb1__haproxy": "3.2.1-1"},
            "haproxy on lb1: 3.2.1-1 is no minor upgrade of 3.0.11-1: expected 3.0, found 3.2",
            id="HAProxy's next line",
        ),
        pytest.param({"db1__etcd": "3.6.0-1"}, "expected 3.5, found 3.6", id="etcd's next line"),
        pytest.param({"db1__patroni": "4.1.0-1"}, "expected 4.0, found 4.1", id="Patroni's next line"),
        pytest.param({"app1__pgbouncer": "1.25.0-1"}, "expected 1.24, found 1.25", id="PgBouncer's next line"),
        pytest.param({"db1__postgresql": "18.1-0"}, "expected 17, found 18", id="another major"),
        pytest.param(
            {"db1__etcd": {"packages": [package("etcd-server", "3.5.16-4", whole=False)]}},
            "etcd on db1: etcd-server is half installed; run `sudo dpkg --configure -a` there first",
            id="dpkg was interrupted",
        ),
    ],
)
def test_what_is_no_minor_upgrade_is_refused(differing: dict[str, Any], reason: str) -> None:
    plan = plan_upgrade(world(HA, **differing), HA)
    assert (len(plan["refusals"]), turns(plan)) == (1, [])
    assert reason in plan["refusals"][0]


def test_a_component_that_is_left_out_refuses_nothing() -> None:
    plan = plan_upgrade(world(HA, lb1__haproxy="3.2.1-1"), HA, "etcd")
    assert (plan["refusals"], {row["component"] for row in plan["rows"]}) == ([], {"etcd"})


def test_alone_a_server_restarts_in_place_and_that_is_an_outage() -> None:
    plan = plan_upgrade(world(ONE), ONE, force=True)
    assert turns(plan) == [
        "haproxy on one",
        "pgbouncer on one",
        "etcd on one",
        "patroni and postgresql on one",
    ]
    assert plan["switchover"] is False
    assert plan["outages"] == [
        f"{names} on one, which nobody stands in for" for names in ("pgbouncer", "etcd", "patroni and postgresql")
    ]


def test_a_reload_alone_is_no_outage() -> None:
    assert plan_upgrade(world(ONE, one__haproxy="3.0.12-1"), ONE)["outages"] == []


def test_servers_that_were_not_looked_at_are_left_alone_yet_stand_in() -> None:
    facts = {"db3": world(HA)["db3"]}
    plan = plan_upgrade(facts, HA, "patroni", force=True)
    assert (turns(plan), plan["before"][0]["others"]) == (["patroni on db3"], ["db1", "db2"])


@pytest.mark.parametrize("age", [None, 90000])
def test_old_lists_are_told(age: int | None) -> None:
    lines = plan_upgrade(world(HA, lb1__lists={"lists_age": age}), HA)["lines"]
    assert any("the package lists of lb1 are older than a day" in line for line in lines)


def test_the_table_has_the_turns_in_their_order() -> None:
    plan = plan_upgrade(
        world(HA, lb1__haproxy="3.0.12-1", app2__pgbouncer={"stale": "does not run"}), HA, "haproxy,pgbouncer"
    )
    words = [line.split() for line in plan["lines"]]
    assert words[0][:2] == ["server", "component"]
    assert words[1] == ["lb1", "haproxy", "3.0.11-1", "3.0.12-1", "1", "upgrade"]
    assert words[2][:2] + words[2][4:] == ["app2", "pgbouncer", "2", "needs", "restart", "(does", "not", "run)"]
    assert all(line[4:] == ["-", "nothing"] for line in words[3:])


def test_components_that_nobody_knows_are_refused() -> None:
    assert choose_components(" etcd, haproxy") == ["etcd", "haproxy"]
    with pytest.raises(UpgradeError, match="components: nginx is none of haproxy, keepalived"):
        choose_components("nginx,etcd")
