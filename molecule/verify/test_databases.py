# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every deployment gets into its own database and into no other; asked of every member, so standbys prove it too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.databases import role_of_login

testinfra_hosts = ["ansible://database_servers"]

# Roles that are the cluster's own.
MAINTENANCE = {"postgres", "replicator", "rewind"}
OPEN_DOORS = """
SELECT coalesce(json_agg(json_build_array(r.rolname, d.datname)), '[]') FROM pg_roles r, pg_database d
WHERE r.rolcanlogin AND NOT r.rolsuper AND d.datallowconn AND has_database_privilege(r.oid, d.oid, 'CONNECT')
"""
ROLES = """
SELECT json_object_agg(rolname, json_build_object('password', left(rolpassword, 13), 'limit', rolconnlimit,
  'powers', rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls))
FROM pg_authid WHERE rolcanlogin
"""
DATABASES = """
SELECT json_object_agg(datname, pg_get_userbyid(datdba)) FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres'
"""
RULES = """
SELECT json_agg(json_build_array(type, database, user_name, auth_method)) FROM pg_hba_file_rules WHERE error IS NULL
"""


def query(host: Any, sql: str) -> Any:
    """Ask this member as the superuser, who comes by the socket."""
    with host.sudo("postgres"):
        return json.loads(host.check_output("psql -h /var/run/postgresql -d postgres -AtXc %s", sql))


def test_every_database_belongs_to_the_role_of_its_name(host: Any) -> None:
    owners = query(host, DATABASES)
    assert {"production", "staging", "records"} <= owners.keys()
    assert {database: owner for database, owner in owners.items() if database != owner} == {}


def test_roles_hold_no_power_and_a_limit(host: Any) -> None:
    roles = {name: role for name, role in query(host, ROLES).items() if role_of_login(name) not in MAINTENANCE}
    assert sorted(map(role_of_login, roles)) == sorted(query(host, DATABASES))
    for name, role in roles.items():
        assert (role["powers"], role["password"]) == (False, "SCRAM-SHA-256"), name
        assert role["limit"] > 0, name


def test_doors_are_open_to_their_owners_alone(host: Any) -> None:
    doors = {(role_of_login(role), database) for role, database in query(host, OPEN_DOORS)}
    own = {(name, name) for name in query(host, DATABASES)}
    assert doors == own | {("rewind", "postgres")}


def test_the_servers_rules_ask_for_tls_and_the_own_name(host: Any) -> None:
    for kind, databases, users, method in query(host, RULES):
        if kind == "local":
            assert MAINTENANCE.issuperset(map(role_of_login, users))
        elif method != "reject":
            assert (kind, method) == ("hostssl", "scram-sha-256")
            assert databases == ["samerole"] or MAINTENANCE.issuperset(map(role_of_login, users))


@pytest.mark.parametrize("database", ["postgres", "template1", "staging"])
def test_a_deployment_does_not_get_into_another_database(host: Any, database: str) -> None:
    with host.sudo():
        shown = host.check_output("patronictl --config-file /etc/patroni/config.yml list --format json")
    address = next(m["Host"] for m in json.loads(shown) if m["Member"] == host.check_output("hostname"))
    settings = f"host={address} user=production dbname={database} sslmode=require connect_timeout=20"
    attempt = host.run("psql --no-psqlrc --no-password %s", settings)
    assert attempt.rc != 0
    assert "no pg_hba.conf entry" in attempt.stderr


def test_statements_are_counted_and_passwords_are_not(host: Any) -> None:
    assert query(host, "SELECT json_agg(extname) FROM pg_extension WHERE extname = 'pg_stat_statements'")
    seen = "SELECT to_json(count(*)) FROM pg_stat_statements WHERE query ~* 'password'' *''?(scram|md5)'"
    assert query(host, seen) == 0


def test_roles_have_their_share(host: Any, planned: dict[str, Any]) -> None:
    asked = (
        "SELECT json_object_agg(rolname, json_build_array(rolconnlimit, array_to_string(rolconfig, ' '))) FROM pg_roles"
    )
    roles = query(host, asked)
    for name, deployment in planned["deployments"].items():
        share = deployment["share"]
        expected = [share["connection_limit"], f"statement_timeout={share['statement_timeout']}s"]
        # The second login also says whose sessions its are.
        logins = [login for login in roles if role_of_login(login) == deployment["database_role"]]
        for login in logins:
            limit, settings = roles[login]
            assert [limit, settings.replace(f"role={role_of_login(login)}", "").strip()] == expected, name
        assert logins
