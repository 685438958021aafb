# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that all modules share that change something through Patroni's REST API; the arguments themselves are in module_utils/patroni.py."""

from __future__ import annotations


class ModuleDocFragment:
    """How the members' REST API is reached, and what it lets change things."""

    DOCUMENTATION = r"""
options:
  servers:
    description: Addresses of the members; the first that answers is used.
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
  cert_file:
    description: Path of the certificate to show to the members.
    type: path
  key_file:
    description: Path of the key that belongs to O(cert_file).
    type: path
  username:
    description: Name that Patroni's REST API lets change things.
    type: str
    required: true
  password:
    description: Password of O(username).
    type: str
    required: true
"""
