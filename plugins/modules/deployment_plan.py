#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide what a deploy has to do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_plan
short_description: Decide what a deploy has to do
version_added: "0.1.0"
description:
  - Runs on the controller. Names the release and the revision that each deployment should run, compares them with what the servers know,
    and says what is to be built, shipped, started and switched.
  - Refuses bad input with all its problems at once, before any server is touched.
  - Builds nothing, and writes nothing but what it fetches of a git source into the cache, for its commit and its lock name the release;
    so also in check mode.
author:
  - Nectar Backend maintainers (@nectar)
options:
  deployments:
    description: All deployments of the environment, by name.
    type: dict
    required: true
  applications:
    description: All applications of the environment, by name.
    type: dict
    required: true
  names:
    description: The deployments to deploy; none, together with no O(members), means all.
    type: list
    elements: str
    default: []
  members:
    description: The members whose deployments to deploy.
    type: list
    elements: str
    default: []
  addresses:
    description: The addresses of the application servers, by their names.
    type: dict
    required: true
  states:
    description: What M(nectar.backend.deployment_info) said on each application server that answered, by its name.
    type: dict
    required: true
  load_balancers:
    description: What M(nectar.backend.deployment_info) said on each load balancer that answered.
    type: list
    elements: dict
    default: []
  secrets:
    description: The secrets of each deployment, by its name.
    type: dict
    default: {}
  pooler:
    description: The way to the database for processes, as C(host), C(port) and C(query).
    type: dict
    required: true
  direct:
    description: The way to the database for migrations, as C(host), C(port) and C(query).
    type: dict
    required: true
  limits:
    description: What each process may use, as M(nectar.backend.slot_prepare) takes it.
    type: dict
    required: true
  identity_port:
    description: The port on the application servers that tells which revision a slot runs.
    type: int
    default: 8010
  max_connections:
    description: Requests that a load balancer gives one server at a time.
    type: int
    default: 64
  parallel:
    description: How many running deployments change slots at a time; each holds the memory of two slots meanwhile.
    type: int
    default: 2
  room:
    description:
      - Megabytes of memory that hosts keep free for slots that change, by host; at most so much of the deployments' shares changes at a time.
        A host that isn't named has no such limit.
    type: dict
    default: {}
  release:
    description:
      - What to release instead of the application's own source, in this run alone. A folder, C(git+URL@revision), a file that ends in C(.whl),
        or C(package==version).
      - O(names) or O(members) must name deployments of one application.
    type: str
    default: ""
  lock:
    description:
      - With O(release), the lock that goes with it. Omit it for the one that a folder or a git source holds under the name of the application's,
        or else for the application's own.
    type: path
    default: ""
  backward_compatible:
    description:
      - Whether what serves bears what the migrations of this run do. Where it doesn't, here or in the application's own C(backward_compatible),
        the rollout passes the gates C(window) and C(approval) before the database is touched, and a policy without a window is refused.
    type: bool
    default: true
  backups:
    description:
      - Whether the environment has backups. Then the gate C(database) is asked for a fresh proven one before a migration, unless the
        deployment's policy names that gate, and so says itself what it wants of it.
    type: bool
    default: false
  folder:
    description: Where relative paths in O(release) and O(lock) begin.
    type: path
    default: .
  same_release:
    description:
      - Release what serves anew with the settings and secrets of today, whatever the sources hold now. What never was released is left out.
      - A server that lacks the release gets it only where the controller keeps it.
    type: bool
    default: false
  catch_up:
    description:
      - Bring servers to what the others have promoted, and switch nothing. O(names) and O(members) are not asked.
      - What can't be made anew, for its source or its settings have changed since, is returned in RV(outdated).
    type: bool
    default: false
  rollback:
    description:
      - Go back to the last good revision, in the other slot or made anew from what servers kept, and build nothing. O(names) or O(members)
        must be given.
      - A revision that was marked bad is refused, unless O(revision) names it.
    type: bool
    default: false
  revision:
    description: With O(rollback), the revision to go back to, instead of the last good one.
    type: str
    default: ""
  bad:
    description:
      - Why revisions were marked bad, by deployment and revision, beside what the servers' copies tell. Omit it where etcd doesn't answer.
    type: dict
  cache_directory:
    description: Where built releases lie on the controller. Omit it for C(nectar) in the user's cache folder.
    type: path
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Plan the deploy
  nectar.backend.deployment_plan:
    deployments: "{{ deployments }}"
    applications: "{{ applications }}"
    names: [production]
    addresses: {app1: 192.0.2.21, app2: 192.0.2.22}
    states: {app1: "{{ hostvars.app1.state }}", app2: "{{ hostvars.app2.state }}"}
    pooler: {host: 127.0.0.1, port: 6432}
    direct: {host: primary.example.net, port: 5433}
    limits: {memory_max: 160, tasks_max: 64, stop_timeout: 30, migrate_timeout: 900}
  delegate_to: localhost
  run_once: true
  become: false
"""

RETURN = r"""
steps:
  description: By deployment, all that the other modules need to know; nothing secret.
  type: dict
  returned: success
waves:
  description: The deployments that need work, in the groups in which they go.
  type: list
  elements: list
  returned: success
  sample: [[production], [staging, alice]]
current:
  description: The deployments that run what they should.
  type: list
  elements: str
  returned: success
  sample: [records]
behind:
  description: By deployment, the servers that didn't answer and get nothing.
  type: dict
  returned: success
  sample: {production: [app2]}
lines:
  description: The plan, for a person.
  type: list
  elements: str
  returned: success
  sample: ["alice: orders-0123456789ab, revision ba9876543210, into slot green", "  1. 10 % of the requests on app1, watched for 30 s"]
open:
  description: Deployments of which a load balancer still has a step open that somebody's rollout left, each with its C(step).
  type: list
  elements: dict
  returned: success
  sample: []
outdated:
  description: With O(catch_up), the servers of each deployment that wait for the next deploy.
  type: dict
  returned: success
  sample: {}
releases:
  description: The releases that must be brought to servers, each with C(hosts), C(archive) on the controller, and whether it is C(built).
  type: list
  elements: dict
  returned: success
target:
  description: What releases are built for.
  type: dict
  returned: success
  sample: {debian: "13", machine: x86_64, suite: trixie}
"""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.deployment_plans import (
    PlanError,
    Server,
    check_deployment,
    check_migration,
    common_target,
    find_behind,
    full_deployment,
    make_plan,
    needed_releases,
    one_application,
    open_steps,
    plan_deployment,
    plan_rollback,
    promoted_release,
    return_line,
)
from ansible_collections.nectar.backend.plugins.module_utils.given_source import (
    describe_origin,
    parse_release,
    replace_source,
)
from ansible_collections.nectar.backend.plugins.module_utils.outcome_copies import (
    bad_revisions,
    newest_copies,
    silent_lines,
)
from ansible_collections.nectar.backend.plugins.module_utils.release_git import Fetcher, git_fetcher
from ansible_collections.nectar.backend.plugins.module_utils.release_source import (
    Inputs,
    Lister,
    archive_path,
    cache_directory,
    describe_release,
    git_lister,
    is_whole,
)
from ansible_collections.nectar.backend.plugins.module_utils.releases import ReleaseError, Target
from ansible_collections.nectar.backend.plugins.module_utils.revisions import DatabaseEndpoint
from ansible_collections.nectar.backend.plugins.module_utils.slot_content import Endpoints, revision_of
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError, choose_deployments
from ansible_collections.nectar.backend.plugins.module_utils.units import Limits

ARGUMENT_SPEC: dict[str, Any] = {
    "deployments": {"type": "dict", "required": True},
    "applications": {"type": "dict", "required": True},
    "names": {"type": "list", "elements": "str", "default": []},
    "members": {"type": "list", "elements": "str", "default": []},
    "addresses": {"type": "dict", "required": True},
    "states": {"type": "dict", "required": True},
    "load_balancers": {"type": "list", "elements": "dict", "default": []},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "pooler": {"type": "dict", "required": True},
    "direct": {"type": "dict", "required": True},
    "limits": {"type": "dict", "required": True},
    "identity_port": {"type": "int", "default": 8010},
    "max_connections": {"type": "int", "default": 64},
    "parallel": {"type": "int", "default": 2},
    "room": {"type": "dict", "default": {}},
    "release": {"type": "str", "default": ""},
    "lock": {"type": "path", "default": ""},
    "folder": {"type": "path", "default": "."},
    "backward_compatible": {"type": "bool", "default": True},
    "backups": {"type": "bool", "default": False},
    "same_release": {"type": "bool", "default": False},
    "catch_up": {"type": "bool", "default": False},
    "rollback": {"type": "bool", "default": False},
    "revision": {"type": "str", "default": ""},
    "bad": {"type": "dict"},
    "cache_directory": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    fetcher = git_fetcher(module, module.params["cache_directory"] or cache_directory(os.environ))
    try:
        module.exit_json(changed=False, **plan(module.params, git_lister(module), fetcher))
    except (PlanError, ReleaseError, SlotError, OSError) as error:
        module.fail_json(msg=f"Nothing was deployed, for this can't be:\n{error}")


def plan(params: Mapping[str, Any], lister: Lister, fetcher: Fetcher) -> dict[str, Any]:
    """Read the sources, compare with the servers, and return the plan."""
    servers = {host: Server(address, params["states"].get(host)) for host, address in params["addresses"].items()}
    behind = find_behind(params["deployments"], servers) if params["catch_up"] else {}
    chosen = {
        name: params["deployments"][name]
        for name in (
            behind
            if params["catch_up"]
            else choose_deployments(params["deployments"], params["names"], params["members"])
        )
    }
    if params["catch_up"] and not chosen:
        return {**make_plan([], params["parallel"]), "open": [], "outdated": {}, "releases": [], "target": {}}
    if params["same_release"]:
        chosen = {name: entry for name, entry in chosen.items() if promoted_release(name, servers)}
        if not chosen:
            return {**make_plan([], params["parallel"]), "open": [], "outdated": {}, "releases": [], "target": {}}
    params = with_given_source(params, chosen)
    if params["rollback"]:
        return plan_returns(params, servers, chosen)
    target = common_target(servers)
    releases = read_releases(params, chosen, target, lister, fetcher)
    steps = [
        {**step, "origin": describe_origin(releases[step["application"]].source) if params["release"] else ""}
        for step in plan_steps(params, servers, releases, chosen)
    ]
    ready = [step for step in steps if not params["catch_up"] or can_follow(params, step, releases)]
    needed = needed_releases(ready, servers)
    if params["same_release"]:
        refuse_unkept(params, needed)
    by_name = {inputs.release: inputs for inputs in releases.values()}
    return {
        **make_plan(ready, params["parallel"], params["room"]),
        "open": open_steps(steps, params["load_balancers"]),
        "outdated": {step["name"]: behind[step["name"]] for step in steps if step not in ready},
        "releases": [ship(params, release, by_name.get(release), hosts) for release, hosts in needed.items()],
        "target": {**asdict(target), "suite": target.suite},
    }


def refuse_unkept(params: Mapping[str, Any], needed: Mapping[str, list[str]]) -> None:
    """Refuse a release that a server lacks and that can't be shipped: its source may hold something else by now."""
    lacking = {release: hosts for release, hosts in needed.items() if not is_whole(archive_of(params, release))}
    if lacking:
        shown = "; ".join(f"{release} on {' and '.join(hosts)}" for release, hosts in lacking.items())
        raise PlanError(
            f"what serves is not installed everywhere, nor kept on the controller ({shown}); deploy it first"
        )


def with_given_source(params: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the arguments with the given source in the place of the application's own, if one is given."""
    release, lock = params["release"], params["lock"]
    if not release and not lock:
        return params
    if lock and not release:
        raise PlanError(f"lock is {lock}, and no release is given that it goes with; add -e release=SOURCE")
    if params["same_release"]:
        raise PlanError(f"release is {release}, and what serves is to be released anew; leave release out")
    if params["rollback"]:
        raise PlanError(f"release is {release}, and a rollback goes back to what a slot holds; leave release out")
    name = one_application(chosen, bool(params["names"] or params["members"]))
    if name not in params["applications"]:
        return params
    folder = os.path.abspath(params["folder"])
    source = parse_release(release, folder)
    application = replace_source(params["applications"][name], source, os.path.join(folder, lock) if lock else "")
    return {**params, "applications": {**params["applications"], name: application}}


def plan_returns(
    params: Mapping[str, Any], servers: Mapping[str, Server], chosen: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Plan the way back of each deployment; what can't go back is said of all at once."""
    if not params["names"] and not params["members"]:
        raise PlanError("a rollback needs to know whose: name deployments, as in -e deployment=production")
    copies = newest_copies(params["states"])
    copied = {name: bad_revisions(copy) for name, copy in copies.items()}
    known = params["bad"] or {}
    lines = silent_lines(chosen, copies) if params["bad"] is None else []
    steps, problems = [], []
    for name, deployment in chosen.items():
        full = full_deployment(deployment, params["applications"][deployment["application"]], servers, "")
        try:
            bad = {**copied.get(name, {}), **known.get(name, {})}
            steps.append(plan_rollback(full, servers, notes_of(params, name), bad, params["revision"]))
        except SlotError as error:
            problems.append(str(error))
    if problems:
        raise PlanError("\n".join([*lines, *problems]))
    made = make_plan(steps, params["parallel"], params["room"])
    return {
        **made,
        "lines": [*lines, *map(return_line, steps), *made["lines"]],
        "open": open_steps(steps, params["load_balancers"]),
        "outdated": {},
        "releases": [],
        "target": {},
    }


def notes_of(params: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return where the load balancers send a deployment's requests."""
    return [info["traffic"][name] for info in params["load_balancers"] if name in info.get("traffic", {})]


def wanted_release(
    params: Mapping[str, Any],
    servers: Mapping[str, Server],
    releases: Mapping[str, Inputs],
    deployment: Mapping[str, Any],
) -> str:
    """Return the release of the present source, or the one that serves: to catch up, or to keep it."""
    if params["catch_up"] or params["same_release"]:
        return promoted_release(deployment["name"], servers)
    return releases[deployment["application"]].release


def can_follow(params: Mapping[str, Any], step: Mapping[str, Any], releases: Mapping[str, Inputs]) -> bool:
    """Say whether what serves can be made anew: its settings are still the registry's, and its release is kept or can be built."""
    is_source = releases[step["application"]].release == step["release"]
    return not step["switches"] and (is_source or is_whole(archive_of(params, step["release"])))


def read_releases(
    params: Mapping[str, Any],
    chosen: Mapping[str, Mapping[str, Any]],
    target: Target,
    lister: Lister,
    fetcher: Fetcher,
) -> dict[str, Inputs]:
    """Check everything that can be wrong, and name the release of each application concerned."""
    problems = [
        problem
        for name, entry in chosen.items()
        for problem in [
            *check_deployment(entry, params["applications"], params["secrets"].get(name) or {}),
            *check_migration(entry, params["applications"].get(entry["application"]) or {}, Limits(**params["limits"])),
        ]
    ]
    releases = {}
    for name in dict.fromkeys(
        entry["application"] for entry in chosen.values() if entry["application"] in params["applications"]
    ):
        try:
            releases[name] = describe_release(name, params["applications"][name], target, lister, fetcher)
        except ReleaseError as error:
            problems.append(str(error))
    if problems:
        raise PlanError("\n".join(problems))
    return releases


def plan_steps(
    params: Mapping[str, Any],
    servers: Mapping[str, Server],
    releases: Mapping[str, Inputs],
    chosen: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Plan each deployment's step; what can't be is said of all at once."""
    steps, problems = [], []
    for deployment in chosen.values():
        try:
            steps.append(step_of(params, servers, deployment, wanted_release(params, servers, releases, deployment)))
        except PlanError as error:
            problems.append(str(error))
    if problems:
        raise PlanError("\n".join(problems))
    return steps


def step_of(
    params: Mapping[str, Any], servers: Mapping[str, Server], deployment: Mapping[str, Any], release: str
) -> dict[str, Any]:
    """Return one deployment with its revision and what is to be done for it."""
    application = params["applications"][deployment["application"]]
    full = full_deployment(deployment, application, servers, release, params["backups"])
    full["max_connections"] = params["max_connections"]
    if not params["backward_compatible"]:
        full["backward_compatible"] = False
    endpoints = Endpoints(DatabaseEndpoint(**params["pooler"]), DatabaseEndpoint(**params["direct"]))
    secrets = params["secrets"].get(full["name"]) or {}
    revision = revision_of(
        full, secrets, endpoints, Limits(**params["limits"]), params["identity_port"], params["max_connections"]
    )
    return plan_deployment(full, revision, servers, notes_of(params, full["name"]))


def ship(params: Mapping[str, Any], release: str, inputs: Inputs | None, hosts: list[str]) -> dict[str, Any]:
    """Say where a release comes from and where it goes; without its source it is one that was built before."""
    archive = archive_of(params, release)
    return {
        "release": release,
        "source": inputs.source if inputs else {},
        "lock": inputs.lock if inputs else None,
        "hosts": hosts,
        "archive": archive,
        "built": is_whole(archive),
    }


def archive_of(params: Mapping[str, Any], release: str) -> str:
    """Return where a built release lies on the controller."""
    return archive_path(params["cache_directory"] or cache_directory(os.environ), release)


if __name__ == "__main__":
    main()
