# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that all modules share that run psql on a database server; the arguments themselves are in module_utils/psql.py."""

from __future__ import annotations


class ModuleDocFragment:
    """How the server's own PostgreSQL is reached."""

    DOCUMENTATION = r"""
options:
  login_user:
    description: User of the operating system who is PostgreSQL's superuser by peer authentication.
    type: str
    default: postgres
  socket_directory:
    description: Folder of PostgreSQL's socket.
    type: path
    default: /var/run/postgresql
"""
