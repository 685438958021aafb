# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One member leads, the others hold every commit, and nobody gets in who shouldn't."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from client import eventually

testinfra_hosts = ["ansible://database_servers"]

AUTHORITY = "/etc/nectar/tls/ca.crt"
# What HAProxy on the application servers does, with the tools that a database server has.
ASK = """
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile=sys.argv[3])
request = urllib.request.Request(sys.argv[2], method=sys.argv[1], data=b"{}" if sys.argv[1] == "PATCH" else None)
try:
    print(urllib.request.urlopen(request, context=context, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def cluster(host: Any) -> dict[str, dict[str, Any]]:
    """Return the members by name, as patronictl shows them."""
    with host.sudo():
        shown = host.check_output("patronictl --config-file /etc/patroni/config.yml list --format json")
    return {member["Member"]: member for member in json.loads(shown)}


def own(host: Any) -> dict[str, Any]:
    """Return what the cluster says about this member."""
    return cluster(host)[host.check_output("hostname")]


def query(host: Any, sql: str) -> str:
    """Ask this member as the superuser, who comes by the socket."""
    with host.sudo("postgres"):
        return str(host.check_output("psql -h /var/run/postgresql -d postgres -AtXc %s", sql))


def ask(host: Any, method: str, path: str) -> str:
    """Ask this member's REST API without any credentials, and return the status."""
    url = f"https://{own(host)['Host']}:8008{path}"
    return str(host.check_output("python3 -c %s %s %s %s", ASK, method, url, AUTHORITY))


def test_one_member_leads_and_the_others_stream(host: Any) -> None:
    members = cluster(host)
    assert len(members) in (1, 3)
    assert [member["Role"] for member in members.values()].count("Leader") == 1

    def all_run() -> bool:
        return {member["State"] for member in cluster(host).values()} <= {"running", "streaming"}

    assert eventually(all_run, 60), cluster(host)


def test_only_the_leader_answers_as_primary(host: Any) -> None:
    assert ask(host, "GET", "/primary") == ("200" if own(host)["Role"] == "Leader" else "503")


def test_who_asks_for_the_primary_leaves_no_traceback_in_the_journal(host: Any) -> None:
    def last_seconds() -> str:
        with host.sudo():
            return str(host.check_output("journalctl --unit patroni --since -10s --output cat"))

    # Application servers ask once a second. Where one gives up on a machine that stalls, that is told, too, and passes.
    assert eventually(lambda: "Traceback" not in last_seconds(), 60), last_seconds()


def test_the_leader_alone_takes_writes(host: Any) -> None:
    assert query(host, "SELECT pg_is_in_recovery()") == ("f" if own(host)["Role"] == "Leader" else "t")


def test_with_three_members_commits_wait_for_a_standby_that_streams(host: Any) -> None:
    if own(host)["Role"] != "Leader":
        assert eventually(lambda: query(host, "SELECT status FROM pg_stat_wal_receiver") == "streaming", 60)
        return
    asked = "SELECT string_agg(sync_state, ',') FROM pg_stat_replication WHERE state = 'streaming'"
    expected = "quorum,quorum" if len(cluster(host)) == 3 else ""
    assert eventually(lambda: query(host, asked) == expected, 60), query(host, asked)
    names = query(host, "SHOW synchronous_standby_names")
    assert names.startswith("ANY 1 ") if len(cluster(host)) == 3 else names == ""


def test_the_lead_is_short_and_a_crash_hands_it_over_at_once(host: Any) -> None:
    with host.sudo():
        shown = host.check_output("patronictl --config-file /etc/patroni/config.yml show-config")
    settings = yaml.safe_load(shown)
    times = {name: settings[name] for name in ("ttl", "loop_wait", "retry_timeout", "primary_start_timeout")}
    assert times == {"ttl": 20, "loop_wait": 1, "retry_timeout": 5, "primary_start_timeout": 0}
    several = len(cluster(host)) == 3
    assert settings["failsafe_mode"] is True
    assert (settings["synchronous_mode"], settings["synchronous_mode_strict"]) == (
        ("quorum", True) if several else (False, False)
    )


def test_no_commit_is_acknowledged_before_it_is_safe(host: Any) -> None:
    for name in ("synchronous_commit", "fsync", "full_page_writes"):
        assert query(host, f"SHOW {name}") == "on"


def test_it_is_watched_how_long_commits_wait(host: Any) -> None:
    units = "nectar-write-watch.timer nectar-write-watch.service"
    shown = host.check_output(f"systemctl show --property ActiveState,UnitFileState,Result --value {units}").split(
        "\n\n"
    )
    watches = [sorted(unit.split()) for unit in shown]
    if len(cluster(host)) == 3:
        assert watches[0] == ["active", "enabled", "success"]
        assert "success" in watches[1]
    else:
        # Nothing can wait there.
        assert "enabled" not in watches[0]


def test_changes_take_a_password(host: Any) -> None:
    # Without a certificate Patroni answers 403, and without a password 401.
    assert ask(host, "PATCH", "/config") in ("401", "403")


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        pytest.param("user=postgres dbname=postgres sslmode=require", "pg_hba.conf", id="superuser over the network"),
        pytest.param("user=nobody dbname=nobody sslmode=disable", "no encryption", id="without TLS"),
        pytest.param("user=rewind dbname=template1 sslmode=require", "pg_hba.conf", id="another database"),
    ],
)
def test_the_network_is_refused(host: Any, settings: str, refusal: str) -> None:
    attempt = host.run("psql --no-psqlrc --no-password %s", f"host={own(host)['Host']} connect_timeout=20 {settings}")
    assert attempt.rc != 0
    assert refusal in attempt.stderr


def test_the_certificate_bears_the_primarys_name(host: Any) -> None:
    address = own(host)["Host"]
    names = host.check_output("openssl x509 -in /etc/nectar/tls/postgresql.crt -noout -ext subjectAltName")
    primary = next(name.strip() for name in names.replace(",", "\n").splitlines() if "DNS:primary." in name)
    shown = host.run(
        "timeout 10 openssl s_client -starttls postgres -connect %s -CAfile %s -verify_return_error "
        "-verify_hostname %s -brief < /dev/null",
        f"[{address}]:5432" if ":" in address else f"{address}:5432",
        AUTHORITY,
        primary.removeprefix("DNS:"),
    )
    assert "Verification: OK" in shown.stdout + shown.stderr


def test_data_and_log_have_filesystems_of_their_own(host: Any) -> None:
    data = query(host, "SHOW data_directory")
    with host.sudo():
        found = [
            host.check_output(f"findmnt --noheadings --output TARGET --target $(realpath {path})")
            for path in (data, f"{data}/pg_wal")
        ]
    assert found == ["/var/lib/postgresql", "/var/lib/postgresql-wal"]


def test_pages_have_checksums(host: Any) -> None:
    assert query(host, "SHOW data_checksums") == "on"


def test_it_runs_with_the_budgets_figures(host: Any, planned: dict[str, Any]) -> None:
    settings = {name: figure for name, figure in planned["budget"]["database"].items() if "setting" in figure}
    assert "shared_buffers" in settings
    shown = json.loads(query(host, "SELECT json_object_agg(name, current_setting(name)) FROM pg_settings"))
    differing = {}
    for name, figure in settings.items():
        sizes = f"SELECT pg_size_bytes('{shown[name]}') = pg_size_bytes('{figure['setting']}')"
        equal = query(host, sizes) == "t" if figure["unit"] else shown[name] == str(figure["setting"])
        if not equal:
            differing[name] = (shown[name], figure["setting"])
    assert differing == {}
