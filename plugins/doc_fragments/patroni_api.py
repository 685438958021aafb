# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that modules share, beside those of patroni_members, that change something through Patroni's REST API."""

from __future__ import annotations


class ModuleDocFragment:
    """What Patroni's REST API lets change things."""

    DOCUMENTATION = r"""
options:
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
  former_password:
    description: What that password was; members that don't know the present one yet are asked by it.
    type: str
"""
