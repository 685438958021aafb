# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that all modules of a load balancer share."""

from __future__ import annotations


class ModuleDocFragment:
    """Where HAProxy and its notes are."""

    DOCUMENTATION = r"""
options:
  haproxy_directory:
    description: HAProxy's configuration.
    type: path
    default: /etc/haproxy
  state_directory:
    description: Where it is noted which slots are sent requests.
    type: path
    default: /var/lib/nectar
  run_directory:
    description: Where the heartbeats and verdicts of open steps are.
    type: path
    default: /run/nectar
  master_socket:
    description: Where HAProxy's master takes commands for its workers.
    type: path
    default: /run/haproxy-master.sock
  lock_file:
    description: What keeps two runs from changing the files at a time.
    type: path
    default: /run/lock/nectar-haproxy.lock
"""
