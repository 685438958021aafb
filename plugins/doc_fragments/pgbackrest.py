# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that all modules share that run pgBackRest."""

from __future__ import annotations


class ModuleDocFragment:
    """Which cluster is meant, and as whom pgBackRest runs."""

    DOCUMENTATION = r"""
options:
  stanza:
    description: What pgBackRest calls the cluster.
    type: str
    required: true
  login_user:
    description: User of the operating system who is PostgreSQL's superuser by peer authentication, and owns the repository.
    type: str
    default: postgres
  socket_directory:
    description: Folder of the living PostgreSQL's socket.
    type: path
    default: /var/run/postgresql
"""
