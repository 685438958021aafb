# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that all modules of a deployment's host share."""

from __future__ import annotations


class ModuleDocFragment:
    """What the modules of slots have in common."""

    DOCUMENTATION = r"""
options:
  state_directory:
    description: Where records, slots and shared folders lie.
    type: path
    default: /var/lib/nectar
  configuration_directory:
    description: Where the environment files of the deployments lie.
    type: path
    default: /etc/nectar/deployments
  unit_directory:
    description: Where the units of the slots lie.
    type: path
    default: /etc/systemd/system
  releases_directory:
    description: Where releases lie.
    type: path
    default: /opt/nectar/releases
"""

    DEPLOYMENTS = r"""
options:
  deployments:
    description:
      - The deployments to work on, each as M(nectar.backend.deployment_plan) returns it in C(steps).
    type: list
    elements: dict
    required: true
"""
