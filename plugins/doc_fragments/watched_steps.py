# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that filters share that judge what load balancers counted during a step."""

from __future__ import annotations


class ModuleDocFragment:
    """What was watched, and what was seen."""

    DOCUMENTATION = r"""
options:
  _input:
    description: The deployments with their C(policy), as P(nectar.backend.steps_at#filter) returns them.
    type: list
    elements: dict
    required: true
  answers:
    description: What M(nectar.backend.rollout_watch) answered, by load balancer.
    type: dict
    required: true
  before:
    description: What P(nectar.backend.add_baselines#filter) added up, for a step that leaves the former release no requests.
    type: dict
    default: {}
"""
