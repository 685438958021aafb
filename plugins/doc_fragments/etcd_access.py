# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that all modules share that ask etcd on a database server."""

from __future__ import annotations


class ModuleDocFragment:
    """How etcd is reached."""

    DOCUMENTATION = r"""
options:
  environment:
    description: Name of the environment; everything lies below C(/nectar/<environment>/).
    type: str
    required: true
  etcd_addresses:
    description: Addresses of members of etcd, which are asked one after another until one answers.
    type: list
    elements: str
    default: [127.0.0.1]
  etcd_port:
    description: Port that the members serve clients on.
    type: int
    default: 2379
  etcd_ca_file:
    description: Path of the CA certificate that the members' certificates are checked with.
    type: path
    default: /etc/nectar/tls/ca.crt
  etcd_cert_file:
    description: Path of the certificate to show to the members.
    type: path
    default: /etc/nectar/tls/etcd.crt
  etcd_key_file:
    description: Path of the key that belongs to O(etcd_cert_file).
    type: path
    default: /etc/nectar/tls/etcd.key
  etcd_timeout:
    description: Seconds that one member may take to answer.
    type: float
    default: 4.0
"""
