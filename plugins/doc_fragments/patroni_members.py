# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that all modules share that ask Patroni's REST API; the arguments themselves are in module_utils/patroni.py."""

from __future__ import annotations


class ModuleDocFragment:
    """How the members' REST API is reached."""

    DOCUMENTATION = r"""
options:
  servers:
    description: Addresses of the members; the first that answers is believed.
    type: list
    elements: str
    required: true
  port:
    description: Port of Patroni's REST API.
    type: int
    default: 8008
  ca_file:
    description: Path of the CA certificate that the members' certificates are checked with.
    type: path
    required: true
"""
