# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a trial needs is at hand on every database server, and no clone was left; no tuning is half done."""

from __future__ import annotations

from typing import Any

testinfra_hosts = ["ansible://database_servers"]


def test_a_trial_could_run(host: Any) -> None:
    with host.sudo("postgres"):
        version = int(host.check_output("psql -h /var/run/postgresql -d postgres -AtXc 'SHOW server_version_num'"))
    for program in ("pgbench", "pg_basebackup", "postgres"):
        assert host.file(f"/usr/lib/postgresql/{version // 10000}/bin/{program}").is_file, program


def test_no_clone_is_left(host: Any) -> None:
    with host.sudo():
        assert not host.file("/var/lib/postgresql/nectar-tuning").exists
    assert host.run("systemctl is-active nectar-tuning-clone.service").stdout.strip() in ("inactive", "")


def test_no_tuning_is_half_done(host: Any) -> None:
    with host.sudo():
        assert not host.file("/var/lib/nectar/tuning/open.json").exists
