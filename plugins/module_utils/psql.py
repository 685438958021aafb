# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL as PostgreSQL's superuser, through the socket of the server itself."""

from __future__ import annotations

from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.databases import DatabasesError

PSQL_ARGUMENTS: dict[str, Any] = {
    "login_user": {"type": "str", "default": "postgres"},
    "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
}
# Statements that fail would be logged with their text, and the text holds verifiers.
QUIET = "SET log_min_error_statement = panic; SET log_min_duration_statement = -1; SET log_statement = none;"
SECONDS = 300


def run_psql(module: Any, sql: str, database: str = "postgres", seconds: int = SECONDS) -> str:
    """Run SQL as the superuser; it travels by standard input, where no process list shows it."""
    params = module.params
    command = ["timeout", str(seconds), "runuser", "--user", params["login_user"], "--"]
    command += ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
    command += ["--host", params["socket_directory"], "--dbname", database, "--file", "-"]
    try:
        code, out, errors = module.run_command(command, data=f"{QUIET}\n{sql}", cwd="/", handle_exceptions=False)
    except BrokenPipeError as error:
        where = f"PostgreSQL at {params['socket_directory']}"
        raise DatabasesError(f"psql ended before it had read what to do; see whether {where} runs") from error
    if code != 0:
        lines = [line for line in errors.splitlines() if "SCRAM-SHA-256" not in line]
        raise DatabasesError(f"psql ended with {code}: {' '.join(lines) or 'no message'}")
    return str(out)
