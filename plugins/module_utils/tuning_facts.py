# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server is asked before its parameters are changed, and while a change is watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import Parameter

SETTINGS_QUERY = """
SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'standby', pg_is_in_recovery(),
  'data_directory', current_setting('data_directory'),
  'bytes', (SELECT sum(pg_database_size(oid))::bigint FROM pg_database),
  'databases', (SELECT json_agg(datname ORDER BY datname) FROM pg_database WHERE datallowconn AND NOT datistemplate),
  'tablespaces', (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')),
  'pending', (SELECT json_agg(name) FROM pg_settings WHERE pending_restart),
  'sources', (SELECT json_object_agg(name, source) FROM pg_settings),
  'settings', (SELECT json_agg(json_build_object('name', name, 'setting', setting, 'unit', unit, 'context', context, 'type', vartype,
    'least', min_val, 'most', max_val, 'choices', enumvals)) FROM pg_settings))
"""
# Counters over all databases, and each statement's calls and time, which a change may make longer.
WATCH_QUERY = """
SELECT json_build_object(
  'at', extract(epoch FROM clock_timestamp()),
  'primary', NOT pg_is_in_recovery(),
  'commits', (SELECT sum(xact_commit) FROM pg_stat_database),
  'rollbacks', (SELECT sum(xact_rollback) FROM pg_stat_database),
  'deadlocks', (SELECT sum(deadlocks) FROM pg_stat_database),
  'fatal', (SELECT sum(sessions_fatal + sessions_killed) FROM pg_stat_database),
  'temp_bytes', (SELECT sum(temp_bytes) FROM pg_stat_database),
  'wal', pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint)
"""
STATEMENTS_QUERY = """
SELECT coalesce(json_object_agg(id, json_build_array(calls, total)), '{}') FROM (
  SELECT queryid || '/' || dbid || '/' || userid AS id, sum(calls) AS calls, sum(total_exec_time) AS total FROM pg_stat_statements
  WHERE queryid IS NOT NULL GROUP BY 1 ORDER BY 3 DESC LIMIT 300) AS most
"""


def own_settings(parameters: Mapping[str, Parameter], sources: Mapping[str, str]) -> dict[str, str]:
    """What somebody set on the server, as a configuration file has it."""
    said = ("configuration file", "command line")
    return {
        name: parameter.show(parameter.setting)
        for name, parameter in parameters.items()
        if sources.get(name) in said and parameter.context != "internal"
    }


def preloaded(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """The libraries that are loaded."""
    text = parameters["shared_preload_libraries"].setting if "shared_preload_libraries" in parameters else ""
    return tuple(word.strip().strip('"') for word in text.split(",") if word.strip())


def per_statement(reply: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Each statement's calls and milliseconds."""
    return {name: (float(calls), float(total)) for name, (calls, total) in reply.items()}
