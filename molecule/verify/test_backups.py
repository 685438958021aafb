# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The log is archived, a backup is there and proven, and nobody else can read it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

testinfra_hosts = ["ansible://database_servers"]

PROOF = "/var/lib/nectar/backups/proof.json"


@pytest.fixture(autouse=True)
def stanza(host: Any) -> str:
    """Return what pgBackRest calls the cluster; without backups there is nothing to see."""
    if not host.file("/etc/systemd/system/nectar-backup-drill.timer").exists:
        pytest.skip("the environment declares no backups")
    with host.sudo():
        settings = host.file("/etc/pgbackrest.conf").content_string
    sections = [line.strip("[]") for line in settings.splitlines() if line.startswith("[")]
    return next(str(section) for section in sections if section != "global")


def info(host: Any, stanza: str) -> dict[str, Any]:
    """Return what the repository holds, as this server sees it."""
    with host.sudo("postgres"):
        shown = host.check_output("pgbackrest --stanza=%s --output=json info", stanza)
    return dict(json.loads(shown)[0])


def test_there_is_an_encrypted_backup(host: Any, stanza: str) -> None:
    found = info(host, stanza)
    assert found["status"]["message"] == "ok"
    assert found["cipher"] == "aes-256-cbc"
    assert [backup["label"] for backup in found["backup"] if not backup["error"]]


def test_the_log_is_archived_without_failures(host: Any, stanza: str) -> None:
    with host.sudo("postgres"):
        asked = "SELECT pg_is_in_recovery(), coalesce(last_archived_time > coalesce(last_failed_time, '-infinity'), false) FROM pg_stat_archiver"
        standby, archived = host.check_output("psql -h /var/run/postgresql -d postgres -AtXc %s", asked).split("|")
    assert standby == "t" or archived == "t"


def test_the_newest_backup_was_proven(host: Any, stanza: str) -> None:
    proof = json.loads(host.file(PROOF).content_string)
    assert proof["label"] in [backup["label"] for backup in info(host, stanza)["backup"]]
    assert 0 < proof["backup_ended"] < proof["proven"] < time.time() + 60
    assert proof["databases"] > 0
    assert proof["rows"] >= 0


def test_the_drill_left_nothing(host: Any) -> None:
    with host.sudo():
        assert not host.file("/var/lib/postgresql/scratch/drill").exists


def test_only_postgres_reads_the_secret(host: Any) -> None:
    with host.sudo():
        settings = host.file("/etc/pgbackrest.conf")
        assert (settings.user, settings.group, settings.mode) == ("root", "postgres", 0o640)


def test_timers_wait(host: Any) -> None:
    for name in ("nectar-backup-drill.timer", "nectar-archive-watch.timer"):
        assert host.service(name).is_enabled
        assert host.service(name).is_running


def test_nothing_much_waits_for_the_archive(host: Any) -> None:
    with host.sudo():
        host.check_output("systemctl start nectar-archive-watch.service")
    assert json.loads(host.file("/var/lib/nectar/backups/archive.json").content_string)["alarming"] is False
